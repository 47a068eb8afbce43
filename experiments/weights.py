"""Which weights a row of results was measured with: an encoder's name stays when its weights change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vlmrl.encoders import words
from vlmrl.encoders.slow import PREFIX
from vlmrl.encoders.sources import EMBEDDED, PREFERRED

EARLIER = "†"
"""Mark of rows that `is_earlier` tells."""
SEES = ("vlm", "swapped_goal", "blank")
"""Rewards that depend on an encoder's weights."""


def fingerprint(encoder: str) -> str | None:
    """Return 12 hexadecimal digits of the SHA-256 of an encoder's weights; None where its name says all (tags, random)."""
    name, _, rest = encoder.partition(":")
    if name not in ("embedded", "local-dir", PREFIX):
        return None
    folder = Path(rest).expanduser() if name == "local-dir" else EMBEDDED
    found = (folder / file for file in PREFERRED if (folder / file).is_file())
    path = next(found, None)
    return None if path is None else _hashed(path, path.stat().st_mtime_ns)


@cache
def _hashed(path: Path, changed: int) -> str:
    """Hash a file once for as long as it was last changed at `changed`: tables ask for every row."""
    return words.fingerprint(path)


def identity(reward: str, encoder: str, alpha: float) -> dict[str, Any]:
    """Return what a row holds, besides its condition and seed, if it need not be measured again."""
    known = {"encoder": encoder, "weights": fingerprint(encoder), "alpha": alpha}
    return known if reward in SEES else {}


def is_earlier(row: dict[str, Any]) -> bool:
    """Tell whether a row was measured with other weights than those that ship under its encoder's name now."""
    return row.get("weights") not in (None, fingerprint(row.get("encoder") or "embedded"))


def footnote(rows: Sequence[dict[str, Any]]) -> str:
    """Return what a table says below rows that are marked; nothing where none is."""
    found = any(is_earlier(row) for row in rows)
    return (
        f"\n{EARLIER} some or all seeds with earlier weights of the encoder than those that ship now\n"
        if found
        else ""
    )
