"""One-line errors of the worlds."""

from __future__ import annotations


class WorldError(ValueError):
    """Input to a world that the caller can mend."""


def world_error(name: str, got: object, expected: str, remedy: str) -> WorldError:
    """Return a `WorldError` whose one line says name, got, expected and remedy."""
    text = " ".join(str(got).split())
    return WorldError(f"{name}: got {text[:200]}; expected {expected}; {remedy}")
