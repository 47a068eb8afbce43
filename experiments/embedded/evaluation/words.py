"""Words that training never met: held-out compositions, held-out paraphrases, poses left out and said otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.embedded.evaluation import metrics
from experiments.embedded.evaluation.drawn import SEED, TRUE, Drawn, said
from experiments.embedded.evaluation.goals import MIN_STATES
from vlmrl_envs import held_out
from vlmrl_envs.captions import Grammar, Sentence, Term

SUBJECT = "a robot"
"""What a body is called that training never saw."""
FALSE = 0.3
"""Truth below which a sentence is said wrongly of a state; from `TRUE` on rightly; what lies between counts for neither."""


def compositions(drawn: Drawn, encoder: Any) -> list[dict[str, Any]]:
    """Return a row for each held-out pair of facts: AUC of states that show it, in wordings that training knows.

    `halves` is the AUC against states that show one of the two facts only.
    """
    grammar = drawn.grammar
    if grammar is None:
        return []
    rows = []
    rng = np.random.default_rng(SEED + 2)
    for pair in np.argwhere(np.triu(grammar.held_pairs)):
        if not all(grammar.wordings(int(c)) for c in pair):
            continue
        words = [grammar.wordings(int(c))[0] for c in pair]
        text = f"{grammar.subjects[0]} {', '.join(words)}"
        sentence = Sentence(text, tuple(Term(int(c)) for c in pair))
        row = _row(drawn, encoder, sentence, rng)
        if row is not None:
            row["facts"] = [grammar.facts[int(c)].name for c in pair]
            rows.append(row)
    return rows


def too_rare(drawn: Drawn) -> list[dict[str, Any]]:
    """Return a row for each held-out pair of facts that too few states show to be measured: how many, and how true at most."""
    grammar = drawn.grammar
    if grammar is None:
        return []
    rows = []
    for pair in np.argwhere(np.triu(grammar.held_pairs)):
        truth = drawn.degrees[:, pair].prod(axis=1)
        if (states := int((truth >= TRUE).sum())) < MIN_STATES:
            facts = [grammar.facts[int(c)].name for c in pair]
            rows.append(
                {"world": drawn.world, "facts": facts, "states": states, "most": round(float(truth.max()), 4)}
            )
    return rows


def paraphrases(drawn: Drawn, encoder: Any) -> list[dict[str, Any]]:
    """Return a row for each held-out wording: its AUC, and that of the fact's first wording (`usual`)."""
    grammar = drawn.grammar
    if grammar is None:
        return []
    rows = []
    rng = np.random.default_rng(SEED + 3)
    for column, fact in enumerate(grammar.facts):
        usual = _row(drawn, encoder, _sentence(grammar, column, fact.phrases[0]), rng)
        for scenes in (False, True):
            for wording in grammar.wordings(column, "held_out", scenes=scenes):
                row = _row(drawn, encoder, _sentence(grammar, column, wording, scenes), rng)
                if row is not None and usual is not None:
                    rows.append({**row, "facts": [fact.name], "usual": usual["auc"]})
    return rows


def left_out(drawn: Drawn, encoder: Any, poses: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each pose that the encoder's training left out: AUC by its description, judged by `success`.

    Of the goal states only those count that training could not see. `own_words` is the AUC by the pose's own words, which such an encoder cannot know.
    """
    from vlmrl_envs.humanoid.described import described, without

    rows, rng = [], np.random.default_rng(SEED + 4)
    unseen = (
        ~held_out.training_states(without(tuple(poses)), drawn.degrees) if drawn.world == "humanoid" else None
    )
    for pose in poses:
        task = next((task for task in drawn.tasks if task.kwargs.get("pose") == pose), None)
        if task is None or unseen is None:
            continue
        success = drawn.rules[task.name].success(drawn.states)
        goals = success & unseen
        if min(goals.sum(), (~success).sum()) < MIN_STATES:
            continue
        text = described(pose).text
        scores = drawn.embeddings["own"] @ said(encoder, [text, task.goal[0]]).T
        by_words = [metrics.auc_estimate(s[goals], s[~success], rng) for s in scores.T]
        rows.append({"world": drawn.world, "pose": pose, "sentence": text, "goals": int(goals.sum()),
                     "auc": by_words[0], "own_words": by_words[1]})  # fmt: skip
    return rows


def body_left_out(drawn: Drawn, encoder: Any, grammars: Mapping[str, Grammar]) -> list[dict[str, Any]]:
    """Return a row for each fact of a body that training never saw, said in words of the bodies it did see: its AUC.

    grammars: those that training heard. Facts that have no such wording are left out.
    """
    if drawn.grammar is None or drawn.world in grammars:
        return []
    known = frozenset().union(*(grammar.vocabulary() for grammar in grammars.values()))
    rows, rng = [], np.random.default_rng(SEED + 6)
    for column, fact in enumerate(drawn.grammar.facts):
        wording = next((text for text in fact.phrases if known.issuperset(held_out.words_of(text))), None)
        if wording is None:
            continue
        row = _row(drawn, encoder, Sentence(f"{SUBJECT} {wording}", (Term(column),)), rng)
        if row is not None:
            rows.append({**row, "facts": [fact.name]})
    return rows


def _sentence(grammar: Grammar, column: int, wording: str, scene: bool = False) -> Sentence:
    text = wording if scene else f"{grammar.subjects[0]} {wording}"
    return Sentence(text, (Term(column),))


def _row(drawn: Drawn, encoder: Any, sentence: Sentence, rng: np.random.Generator) -> dict[str, Any] | None:
    """Return the AUC of the states of which a sentence is true above those of which it is false; None without both."""
    truth = sentence.truth(drawn.degrees)
    true, false = truth >= TRUE, truth < FALSE
    if min(true.sum(), false.sum()) < MIN_STATES:
        return None
    scores = drawn.embeddings["own"] @ said(encoder, [sentence.text])[0]
    one = _one_of(drawn.degrees, sentence)
    measure: Callable[[np.ndarray], Any] = lambda other: metrics.auc_estimate(  # noqa: E731
        scores[true], scores[other], rng, 100
    )
    halves = measure(one) if len(sentence.terms) > 1 and one.sum() >= MIN_STATES else None
    return {"world": drawn.world, "sentence": sentence.text, "goals": int(true.sum()), "auc": measure(false),
            "halves": halves}  # fmt: skip


def _one_of(degrees: np.ndarray, sentence: Sentence) -> np.ndarray:
    """Tell which states show some but not all facts of a sentence, bool (B,)."""
    shown = degrees[:, [term.fact for term in sentence.terms]]
    return (shown.max(axis=1) >= TRUE) & (shown.min(axis=1) < FALSE)
