"""Fill a book of results: each wanted run that is not in it, by as many processes as there are, one run by one process."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.book import Book, locked
from experiments.settings import agree, settings_of
from experiments.weights import identity
from vlmrl.training import TrainConfig

Named = dict[str, Any]
"""What names a row in the book: its task, condition, seed."""
Settings = Callable[[TrainConfig], dict[str, Any]]


def fill(
    book: Book,
    wanted: Iterable[tuple[Named, TrainConfig]],
    run: Callable[[Named, TrainConfig], dict[str, Any]],
    report: Callable[[], None],
    settings: Settings = settings_of,
) -> list[str]:
    """Run each wanted row that the book lacks, or has from other settings or weights of the encoder, and report after each.

    A run that another process has under way, which a lock beside its folder tells, is left to that process. A run that
    fails is said in one line, its traceback kept beside its folder as NAME.error, and the others go on: hand the lines,
    which are returned, to `end`.
    wanted: what names a row in the book, and its run's settings with the run folder. run: returns the row for the two.
    settings: what a row of a run holds as its settings.
    """
    failed = []
    for named, config in wanted:
        assert config.out is not None
        if is_done(book, named, config, settings):
            continue
        config.out.parent.mkdir(parents=True, exist_ok=True)
        with locked(config.out.with_name(f"{config.out.name}.lock"), wait=False) as mine:
            if not mine:
                print(f"{config.out.name}: another process runs it", flush=True)
            elif not is_done(book, named, config, settings):  # nobody has just ended it
                print(config.out.name, flush=True)
                config.out.with_name(f"{config.out.name}.error").unlink(missing_ok=True)
                try:
                    row = run(named, config)
                    book.add(row, **named, encoder=row["encoder"])
                    report()
                except Exception as error:
                    failed.append(failure(config.out, error))
    return failed


def failure(out: Path, error: Exception) -> str:
    """Say in one line, which is returned, why the run at `out` failed; its traceback goes into a file beside the folder."""
    out.with_name(f"{out.name}.error").write_text("".join(traceback.format_exception(error)))
    line = f"{out.name}: {type(error).__name__}: {' '.join(str(error).split())}"
    print(f"failed: {line}", file=sys.stderr, flush=True)
    return line


def end(failed: Sequence[str]) -> None:
    """List the runs that failed and leave with exit code 1, if any did."""
    if failed:
        print("\n".join([f"failed, {len(failed)} in all:", *failed]), file=sys.stderr)
        sys.exit(1)


def is_done(book: Book, named: Named, config: TrainConfig, settings: Settings) -> bool:
    """Tell whether the book has a run's row, of these settings and of the encoder's weights of now."""
    known = {**named, **identity(config.reward, config.encoder, config.task.alpha)}
    return any(agree(row.get("settings", {}), settings(config)) for row in book.matching(**known))
