"""Fill a book of results: each wanted run that is not in it, by as many processes as there are, one run by one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from experiments.book import Book, locked
from experiments.settings import agree, settings_of
from experiments.weights import identity
from vlmrl.training import TrainConfig

Named = dict[str, Any]
"""What names a row in the book: its task, condition, seed."""


def fill(
    book: Book,
    wanted: Iterable[tuple[Named, TrainConfig]],
    run: Callable[[Named, TrainConfig], dict[str, Any]],
    report: Callable[[], None],
) -> None:
    """Run each wanted row that the book lacks, or has from other settings or weights of the encoder; then report.

    A run that another process has under way, which a lock beside its folder tells, is left to that process.
    wanted: what names a row in the book, and its run's settings with the run folder. run: returns the row for the two.
    """
    for named, config in wanted:
        assert config.out is not None
        if is_done(book, named, config):
            continue
        config.out.parent.mkdir(parents=True, exist_ok=True)
        with locked(config.out.with_name(f"{config.out.name}.lock"), wait=False) as mine:
            if not mine:
                print(f"{config.out.name}: another process runs it", flush=True)
            elif not is_done(book, named, config):  # nobody has just ended it
                print(config.out.name, flush=True)
                row = run(named, config)
                book.add(row, **named, encoder=row["encoder"])
                report()


def is_done(book: Book, named: Named, config: TrainConfig) -> bool:
    """Tell whether the book has a run's row, of these settings and of the encoder's weights of now."""
    known = {**named, **identity(config.reward, config.encoder, config.task.alpha)}
    return any(agree(row.get("settings", {}), settings_of(config)) for row in book.matching(**known))
