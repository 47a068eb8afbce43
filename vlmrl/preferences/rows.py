"""Rows of the store: what an answer is kept under, and how answers, segments and questions are written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from vlmrl.configs import redact, to_plain
from vlmrl.errors import usage_error
from vlmrl.preferences.formulas import pixels_key
from vlmrl.preferences.protocol import Answer, Labeller, Question, Segment

Key = tuple[str, str, str, str]
COLUMNS = "label, answered_by, reason, answered_model, answered_parameters, seconds, tokens, cost"
"""An answer, in the order of `answer_rows`."""
KEPT = "pair, question, labeller, model, parameters"
"""What an answer is kept under."""
UNDER = "question = ? AND labeller = ? AND model = ? AND parameters = ?"
"""What an answer is kept under besides its pair, as a condition on an `answer_key`."""
REUSED = "taken_from"
"""Where an answer's parameters name the store of another run that it was taken from."""
ANSWER_NAMES = f"{KEPT}, {COLUMNS}, created"
_TAKE_OVER = f"""ON CONFLICT ({KEPT}) DO UPDATE SET label = excluded.label, answered_by = excluded.answered_by,
    reason = excluded.reason, answered_model = excluded.answered_model,
    answered_parameters = excluded.answered_parameters, seconds = answers.seconds + excluded.seconds,
    tokens = answers.tokens + excluded.tokens, cost = answers.cost + excluded.cost, created = excluded.created
WHERE answers.label IS NULL AND (excluded.label IS NOT NULL OR {{again}})"""
MERGE = _TAKE_OVER.format(again=0)
"""The first answer stays; only an abstention gives way to a label, whose cost then comes on top."""
INSERT = f"INSERT INTO answers ({ANSWER_NAMES}) VALUES ({', '.join('?' * 14)}) {MERGE}"
INSERT_AGAIN = INSERT.replace(MERGE, _TAKE_OVER.format(again=1))
"""As INSERT, for what was asked again: a second abstention was paid for, too."""
INSERT_FAILURE = f"INSERT INTO failures ({ANSWER_NAMES}) VALUES ({', '.join('?' * 14)})"
"""For an answer that is open."""


def answer_key(labeller: Labeller, question: Question) -> Key:
    """Return (question, labeller, model, parameters) as the store writes them: canonical JSON, secrets taken out."""
    parameters = canonical(redact(to_plain(labeller.parameters)))
    return question_text(question), labeller.name, labeller.model, parameters


def question_text(question: Question) -> str:
    """Return a question as canonical JSON."""
    return canonical({"goal": question.goal, "baseline": question.baseline})


def canonical(value: Any) -> str:
    """Return JSON that is the same for equal values; ASCII, so that half a surrogate pair does no harm."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(pair: str, key: Key) -> str:
    """Return a short name of all that an answer is kept under, hexadecimal."""
    return hashlib.sha256(canonical([pair, *key]).encode()).hexdigest()


def answer_rows(answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    """Return answers as the values of `COLUMNS`, secrets taken out."""
    # A labeller gives most of its answers the same parameters: they are written down once.
    different = {id(answer.parameters): answer.parameters for answer in answers}
    parameters = {key: canonical(redact(to_plain(value))) for key, value in different.items()}
    return [_answer_row(answer, parameters[id(answer.parameters)]) for answer in answers]


def _answer_row(answer: Answer, parameters: str) -> tuple[Any, ...]:
    label = None if answer.label is None else float(answer.label)
    reason = str(redact(answer.reason)) if answer.reason else ""
    by = (_text(answer.labeller), _text(reason), _text(answer.model), parameters)
    return label, *by, float(answer.seconds), int(answer.tokens), float(answer.cost)


def _text(text: str) -> str:
    """Return text that can be written: what a model said may hold half a surrogate pair, which UTF-8 has no form for."""
    return text.encode("utf-8", "replace").decode()


def answer_of(row: Sequence[Any]) -> Answer:
    """Return an answer that `answer_rows` wrote."""
    label, by, reason, model, parameters, seconds, tokens, cost = row
    return Answer(label, by, reason, model, json.loads(parameters), seconds, tokens, cost)


def segment_row(segment: Segment, frames: dict[str, np.ndarray]) -> tuple[str, str, str | None]:
    """Return a segment as (key, its frames' keys, progress); its frames are put into `frames` by key.

    Raises: UsageError for frames that are not uint8 (L, H, W, 3).
    """
    shape = segment.frames.shape
    if segment.frames.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or not len(segment.frames):
        remedy = "render as uint8; values in [0, 1] are (x * 255).round().astype('uint8')"
        raise usage_error("segment", f"{segment.frames.dtype} {shape}", "uint8 (L, H, W, 3), L >= 1", remedy)
    keys = [pixels_key(frame) for frame in segment.frames]
    frames |= dict(zip(keys, segment.frames, strict=True))
    progress = None if segment.progress is None else canonical([float(p) for p in segment.progress])
    return segment.key, canonical(keys), progress
