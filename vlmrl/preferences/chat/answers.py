"""Strict reading of answers: exactly an answer, or none; log-probabilities as soft labels; both orders combined."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.preferences.chat.prompts import Prompt

GAVE_UP = "gave up"
"""The kind of what brought no reply at all, however often it was asked."""
HEARD = "heard"
"""Where an answer's parameters say what it was made of: the kind of its abstention or "", P(Image 1 preferred) of each
order that was asked (None where that order did not decide), and the requests it took."""
MIN_MASS = 0.5
"""Least probability that the allowed answers must hold together for log-probabilities to count."""


@dataclass(frozen=True)
class Choice:
    """What one reply says, in one order of the segments."""

    option: str | None
    """The allowed answer it is, or None."""
    label: float | None
    """P(Image 1 preferred), or None to abstain."""
    kind: str = ""
    """Why it abstains: unsure, unparseable, refusal, cut off; or that there was no reply: gave up."""
    detail: str = ""
    """More about it, for people."""

    @property
    def why(self) -> str:
        """Why it abstains, in words."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True)
class Verdict:
    """What both orders of a pair come to."""

    label: float | None
    """P(first preferred), or None to abstain."""
    reason: str
    """What was said, for people."""
    kind: str = ""
    """The kind of an abstention, or of what stayed open, as `Choice.kind`."""
    flipped: bool | None = None
    """Whether the two orders disagree; None if one of them did not decide."""


def find_answer(text: str, prompt: Prompt, json_schema: bool) -> tuple[str, int] | None:
    """Return the allowed answer that `text` is, and where it stands in it; None if it is anything else.

    With `json_schema` exactly {"answer": ...}, else the bare word or number; white space around it does not count.
    Prose, code fences, other keys, a second answer, capital letters: all None.
    """
    if len(text) > 1000:
        return None
    names = "|".join(re.escape(name) for name, _ in prompt.options)
    quote = '"' if prompt.words else ""
    space = r"[ \t\r\n]*"
    if json_schema:
        pattern = rf'{space}\{{{space}"answer"{space}:{space}{quote}({names}){quote}{space}\}}{space}'
    else:
        pattern = rf"{space}({names}){space}"
    found = re.fullmatch(pattern, text)
    return (found.group(1), found.start(1)) if found else None


def read_choice(
    text: str, finish: str, refusal: str, logprobs: Sequence[Mapping[str, Any]], prompt: Prompt, schema: bool
) -> Choice:
    """Return what a reply says; whatever is not exactly an answer abstains.

    finish: the server's finish_reason. refusal: its refusal, or "". logprobs: its tokens, or ().
    """
    if refusal:
        return Choice(None, None, "refusal")
    if finish == "content_filter":
        return Choice(None, None, "refusal")
    if finish == "length":
        return Choice(None, None, "cut off")
    found = find_answer(text, prompt, schema) if finish in ("stop", "") else None
    if found is None:
        return Choice(None, None, "unparseable")
    option, start = found
    label = dict(prompt.options)[option]
    if label is None:
        return Choice(option, None, "unsure")
    if label != 0.5:
        soft = soft_label(logprobs, text, start, prompt)
        # A soft label on the other side of what was said is no refinement of it.
        if soft is not None and (soft > 0.5) == (label > 0.5) and soft != 0.5:
            label = soft
    return Choice(option, label)


def soft_label(tokens: Sequence[Mapping[str, Any]], text: str, start: int, prompt: Prompt) -> float | None:
    """Return P(Image 1 preferred) from the log-probabilities of the token at `start`; None where they do not tell.

    tokens: entries {"token", "logprob", "top_logprobs": [{"token", "logprob"}]} that together spell `text`.
    The mass of each allowed answer is that of the alternatives that begin it and no other; ties count half, and
    abstaining answers not at all. Source: TOPReward (2602.19313) reads one token's probability; the rest is ours.
    """
    place, offset = None, 0
    for entry in tokens:
        token = entry.get("token")
        if not isinstance(token, str):
            return None
        if place is None and offset <= start < offset + len(token):
            place = (entry, start - offset)
        offset += len(token)
    if place is None or "".join(entry["token"] for entry in tokens) != text:
        return None
    entry, lead = place
    mass: dict[str, float] = {}
    for other in entry.get("top_logprobs") or ():
        option = _begun(other, entry["token"][:lead], prompt)
        if option is not None:
            mass[option] = mass.get(option, 0.0) + math.exp(other["logprob"])
    labels = dict(prompt.options)
    decided = {name: share for name, share in mass.items() if labels[name] is not None}
    total = sum(decided.values())
    if not MIN_MASS <= total <= 1.001:
        return None
    return min(1.0, sum(share * (labels[name] or 0.0) for name, share in decided.items()) / total)


def _begun(other: Any, lead: str, prompt: Prompt) -> str | None:
    """Return the one answer that the alternative token begins after `lead`, if it begins exactly one."""
    if not isinstance(other, Mapping):
        return None
    token, logprob = other.get("token"), other.get("logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, (int, float)):
        return None
    if not (math.isfinite(logprob) and logprob <= 1e-3 and token.startswith(lead)):
        return None
    rest = token[len(lead) :]
    begun = [
        name
        for name, _ in prompt.options
        if rest and (name.startswith(rest) or (rest.startswith(name) and not rest[len(name)].isalnum()))
    ]
    return begun[0] if len(begun) == 1 else None


def combine(first: Choice, turned: Choice | None) -> Verdict:
    """Return what becomes of a pair from its answer and the answer to the pair turned round (None: not asked).

    Either abstains: so does the pair. Opposite or unequal verdicts are a tie, 0.5. Equal ones: the mean.
    """
    if first.label is None:
        return Verdict(None, first.why, first.kind)
    if turned is None:
        return Verdict(first.label, f"said {first.option}")
    if turned.label is None:
        return Verdict(None, turned.why, turned.kind)
    back = 1.0 - turned.label
    said = f"{first.option}, turned {turned.option}"
    if (first.label > 0.5) != (back > 0.5) or (first.label < 0.5) != (back < 0.5):
        return Verdict(0.5, f"orders disagree: {said}", flipped=True)
    return Verdict((first.label + back) / 2, f"said {said}", flipped=False)
