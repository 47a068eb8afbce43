"""Say the same in other words by rule: "with its knees bent", "whose knees are bent", "with bent knees".

What a grammar lists is a handful of wordings of each fact. Rules that change the words and not the meaning make many of few, for
every fact alike, so that a text tower meets each turn of phrase with many facts. A held-out wording is never made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import numpy as np

from vlmrl_envs import held_out

SIDE = r"(?:left |right )?"
PARTS = "knees|legs|arms|hands|feet|elbows|hips|shins|knee|leg|arm|hand|foot|elbow|head|torso|back|upper body|bottom"
STATES = "bent|straight|raised|lowered|folded|crossed|upright|twisted|apart|together|low|high|lifted"
OPPOSITE = {"higher than": "lower than", "lower than": "higher than", "above": "below", "below": "above"}
Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], list[str]]]


def _are(part: str) -> str:
    return "are" if (part.endswith("s") and part != "hips ") or part in ("feet",) else "is"


def _its(match: re.Match[str]) -> list[str]:
    part, state = match["part"], match["state"]
    options = [f"with its {part} {state}", f"whose {part} {_are(part)} {state}"]
    if state in ("bent", "straight", "raised", "lowered", "folded", "crossed", "twisted"):
        article = "" if _are(part) == "are" else "a "
        options.append(f"with {article}{state} {part}")
    verbs = {
        "bent": "bending",
        "raised": "raising",
        "crossed": "crossing",
        "folded": "folding",
        "twisted": "twisting",
    }
    if state in verbs:
        options.append(f"{verbs[state]} its {part}")
    return options


def _verb(match: re.Match[str]) -> list[str]:
    states = {"bending": "bent", "raising": "raised", "twisting": "twisted"}
    state, part = states[match["verb"]], match["part"]
    return [f"with its {part} {state}", f"whose {part} {_are(part)} {state}"]


def _relation(match: re.Match[str]) -> list[str]:
    first, how, second = match["first"], match["how"], match["second"]
    near = {"higher than": "above", "lower than": "below", "above": "higher than", "below": "lower than"}
    other = OPPOSITE[how]
    return [
        f"with its {first} {near[how]} its {second}", f"with its {second} {other} its {first}",
        f"with its {second} {near[other]} its {first}", f"whose {first} {_are(first)} {how} its {second}",
        f"whose {second} {_are(second)} {other} its {first}", f"whose {second} {_are(second)} {near[other]} its {first}",
    ]  # fmt: skip


RULES: tuple[Rule, ...] = (
    (re.compile(rf"with (?:its|both) (?P<first>{PARTS}) (?P<how>higher than|lower than|above|below) its (?P<second>{PARTS})"), _relation),
    (re.compile(rf"whose (?P<first>{PARTS}) (?:is|are) (?P<how>higher than|lower than|above|below) its (?P<second>{PARTS})"), _relation),
    (re.compile(rf"with (?:its|both) (?P<part>{SIDE}(?:{PARTS})) (?P<state>{STATES})\b"), _its),
    (re.compile(rf"whose (?P<part>{SIDE}(?:{PARTS})) (?:is|are) (?P<state>{STATES})\b"), _its),
    (re.compile(rf"with (?:a )?(?P<state>bent|straight|raised|lowered|folded|crossed|twisted) (?P<part>{PARTS})\b"), _its),
    (re.compile(rf"\b(?P<verb>bending|raising|twisting) its (?P<part>{SIDE}(?:{PARTS}))\b"), _verb),
)  # fmt: skip
"""What a phrase may look like, and how else it can be said."""


def reworded(rng: np.random.Generator, text: str, never: Collection[str] = ()) -> str:
    """Return a text with one phrase said otherwise by rule; the text itself where no rule fits.

    never: wordings that are not to be made. The meaning, and so the truth of any state, stays.
    """
    found = [(match, make) for pattern, make in RULES for match in pattern.finditer(text)]
    if not found:
        return text
    match, make = found[rng.integers(len(found))]
    options = [text[: match.start()] + said + text[match.end() :] for said in make(match)]
    options = [option for option in options if option != text and not held_out.holds(option, never)]
    return options[rng.integers(len(options))] if options else text
