"""What a world hands over, checked before anything is learnt from it: states, degrees of facts, captions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from vlmrl.errors import usage_error

ROUNDING = 1e-6
"""A degree may lie so far outside 0..1."""


def in_range(degrees: np.ndarray) -> bool:
    """Tell whether all degrees are numbers from 0 to 1, rounding aside."""
    low, high = degrees.min(initial=0.0), degrees.max(initial=1.0)  # NaN if one is
    return bool(low >= -ROUNDING and high <= 1 + ROUNDING)


def checked_states(world: str, states: Any, n: int) -> np.ndarray:
    """Return the states (n, S) that a world's `sample_states` drew. Raises: UsageError for another number of them."""
    found = np.asarray(states)
    if found.shape[:1] != (n,):
        got = f"{world}, whose sample_states gives shape {found.shape} for n={n}"
        raise usage_error("world", got, f"({n}, S), a row for each state", "let it draw n states")
    return found


def checked_degrees(world: str, degrees: Any, n: int, facts: int | None) -> np.ndarray:
    """Return the degrees float64 (n, F) that a world's `fact_degrees` gives for n states.

    Raises: UsageError for another shape than n rows and a column for each of the grammar's `facts` (None: any
        number of them), or numbers that are not from 0 to 1.
    """
    who = f"{world}, whose fact_degrees gives"
    try:
        found = np.asarray(degrees, np.float64)
    except (TypeError, ValueError) as error:
        raise usage_error("world", f"{who} {degrees!r}", "an array of numbers", "return one") from error
    if found.ndim != 2 or len(found) != n or facts not in (None, found.shape[1]):
        expected = f"({n}, {facts or 'F'}), a degree of each fact of its grammar for each state"
        raise usage_error("world", f"{who} shape {found.shape}", expected, "return one row for each state")
    if not in_range(found):
        wrong = found[~((found >= -ROUNDING) & (found <= 1 + ROUNDING))]
        raise usage_error("world", f"{who} {wrong[0]:g}", "finite numbers from 0 to 1", "scale or clip them")
    return found


def checked_captions(world: str, captions: Any) -> dict[str, float]:
    """Return the truth, 0..1, by text of what a world's `describe` says of one state.

    Raises: UsageError if it says nothing, or anything but texts with degrees from 0 to 1.
    """
    if isinstance(captions, str) or not isinstance(captions, Iterable):
        captions = [captions]
    found: dict[str, float] = {}
    for caption in captions:
        text, degree = getattr(caption, "text", None), _number(getattr(caption, "degree", None))
        if not isinstance(text, str) or not text.strip() or not -ROUNDING <= degree <= 1 + ROUNDING:
            expected = "captions, each with a text that is not blank and a degree from 0 to 1"
            remedy = "return a list of vlmrl_envs.rules.Caption"
            raise usage_error("world", f"{world}, whose describe gives {caption!r}", expected, remedy)
        found[text] = degree
    if not found:
        remedy = "let it say something of every state that sample_states draws"
        raise usage_error("world", f"{world}, without a caption for a state", "one or more", remedy)
    return found


def _number(value: Any) -> float:
    """Return a number as a float, NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
