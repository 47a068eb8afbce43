"""One stage of asking: draw pairs, ask, and draw again for what was abstained from, until there are enough labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question
from vlmrl.preferences.samplers import PairSampler, too_few
from vlmrl.preferences.segments import SegmentPool
from vlmrl.preferences.store import PreferenceStore


@dataclass
class Stage:
    """What a stage brought."""

    answered: list[tuple[Pair, Answer]] = field(default_factory=list)
    """All pairs with their answers, abstentions included."""
    asked: int = 0
    """Pairs that the labeller was asked now; the others were in the store."""
    open: list[Pair] = field(default_factory=list)
    """Pairs that nobody answered: neither labels nor abstentions, to be asked another time."""

    @property
    def pairs(self) -> int:
        """Return how many pairs were looked at, answered or not."""
        return len(self.answered) + len(self.open)

    @property
    def labels(self) -> int:
        """Return how many answers can be learned from."""
        return sum(answer.label is not None for _, answer in self.answered)


def gather(
    pool: SegmentPool,
    sampler: PairSampler,
    store: PreferenceStore,
    labeller: Labeller,
    question: Question,
    count: int,
    rng: np.random.Generator,
    *,
    max_pairs: int | None = None,
    exclude: list[Pair] | None = None,
    first: Sequence[Pair] = (),
) -> Stage:
    """Ask until `count` labels can be learned from, or `max_pairs` (default: twice `count`) pairs were asked.

    An abstention, or a question that nobody answered, costs a pair of `max_pairs` and never one of `count`: it is made up
    for by another pair. When the pool has no more pairs, the stage ends with what there is. first: pairs that an earlier
    stage left open, asked before any is drawn.
    Raises: UsageError if the pool has no pair of different frames at all, or lacks what the sampler needs; what the
        labeller raises (answers given until then are in the store).
    """
    most = 2 * count if max_pairs is None else max_pairs
    if count < 1 or most < count:
        got = f"{count} labels of at most {most} pairs"
        raise usage_error("stage", got, "1 label or more, and as many pairs", "raise max_pairs")
    stage, before, waiting = Stage(), list(exclude or []), list(first)
    while stage.labels < count and stage.pairs < most:
        wanted = min(count - stage.labels, most - stage.pairs)
        known = [*before, *stage.open, *(pair for pair, _ in stage.answered)]
        pairs, waiting = waiting[:wanted], waiting[wanted:]
        pairs = pairs or sampler.available(pool, wanted, rng, known)
        if not pairs and not known:
            raise too_few(pool, 0, wanted)
        if not pairs:
            break
        found = store.ask(labeller, pairs, question)
        for pair, answer in zip(pairs, found.answers, strict=True):
            if answer.is_open:
                stage.open.append(pair)
            else:
                stage.answered.append((pair, answer))
        stage.asked += found.asked
    stage.open += waiting
    return stage
