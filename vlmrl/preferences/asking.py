"""Ask a labeller, whichever way it answers, and lose nothing that it said before it failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vlmrl.errors import usage_error
from vlmrl.preferences.protocol import Answer, Group, Labeller, Pair, Question


def is_deterministic(labeller: Labeller) -> bool:
    """Return whether a labeller says the same of the same pair again, as one does that does not say otherwise.

    Another's answers are samples: those of one run are not those that another would have got.
    """
    return bool(getattr(labeller, "is_deterministic", True))


def answer_groups(labeller: Labeller, pairs: Sequence[Pair], question: Question) -> Iterator[Group]:
    """Yield groups of (place in `pairs`, answer) as they come; each place comes once.

    Of a labeller that fails, what its error carries (`answers`: in order, None where there is none) comes first.
    Raises: what the labeller raises; UsageError for one that answers too few or too many pairs, or with no `Answer`.
    """
    given: set[int] = set()
    for group in _groups(labeller, pairs, question):
        for place, answer in group:
            if not isinstance(answer, Answer):
                got = f"{type(answer).__name__} of {labeller.name}"
                raise usage_error("answer", got, "an Answer", "mend the labeller")
            if place in given or not 0 <= place < len(pairs):
                expected = f"each of {len(pairs)} pairs once"
                raise usage_error(
                    "labeller", f"pair {place} of {labeller.name}", expected, "mend the labeller"
                )
            given.add(place)
        yield group
    if len(given) != len(pairs):
        got = f"{len(given)} answers of {labeller.name}"
        raise usage_error("labeller", got, f"{len(pairs)}, one for each pair", "abstain where there is none")


def collected(stream: Iterable[Group], count: int) -> list[Answer]:
    """Return the answers of a stream to `count` pairs, in the pairs' order.

    Raises: what the stream raises, Ctrl-C too; the error then carries `answers`, None where none was given.
    """
    answers: list[Answer | None] = [None] * count
    try:
        for group in stream:
            for place, answer in group:
                answers[place] = answer
    except BaseException as error:  # what was paid for is handed over
        error.answers = answers  # type: ignore[attr-defined]
        raise
    return [answer for answer in answers if answer is not None]


def _groups(labeller: Labeller, pairs: Sequence[Pair], question: Question) -> Iterator[Group]:
    stream = getattr(labeller, "stream", None)
    if callable(stream):
        yield from stream(pairs, question)
        return
    try:
        answers = labeller.answer(pairs, question)
    except BaseException as error:  # an interrupted labeller, too, may carry what was paid for
        carried = getattr(error, "answers", None)
        kept = list(carried)[: len(pairs)] if isinstance(carried, Sequence) else []
        yield [(place, answer) for place, answer in enumerate(kept) if isinstance(answer, Answer)]
        raise
    if len(answers) != len(pairs):  # in which order, then?
        got = f"{len(answers)} answers of {labeller.name}"
        raise usage_error("labeller", got, f"{len(pairs)}, one for each pair", "abstain where there is none")
    yield list(enumerate(answers))
