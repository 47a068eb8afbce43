"""One-line errors: name, what was got, what was expected, the remedy."""

from __future__ import annotations


class UsageError(ValueError):
    """Input that the caller can mend; the command line turns it into exit code 2."""


def usage_error(name: str, got: object, expected: str, remedy: str) -> UsageError:
    """Return a `UsageError` whose one line says name, got, expected and remedy.

    Source: house style (one line, no traceback needed to act on it).
    """
    text = " ".join(str(got).split())
    shown = text if len(text) <= 200 else text[:197] + "..."
    return UsageError(f"{name}: got {shown}; expected {expected}; {remedy}")
