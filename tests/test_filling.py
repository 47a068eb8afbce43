"""Many runs, several processes, one book: no run is done twice, no row is lost, no bad run stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.book import Book, locked
from experiments.filling import end, fill
from experiments.settings import settings_of
from vlmrl.errors import UsageError
from vlmrl.tasks import get_task
from vlmrl.training import TrainConfig

Wanted = list[tuple[dict, TrainConfig]]


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    base = TrainConfig(task=get_task("cartpole"), reward="constant")
    return [({"seed": seed}, replace(base, seed=seed, out=tmp_path / "runs" / f"run-{seed}")) for seed in range(3)]  # fmt: skip


def runner(ran: list[int]) -> Callable[[dict, TrainConfig], dict]:
    def run(named: dict, config: TrainConfig) -> dict:
        ran.append(config.seed)
        return {**named, "encoder": None, "settings": settings_of(config)}

    return run


def test_rows_that_two_processes_add_at_once_are_all_kept(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    books = [Book(tmp_path / "book.json") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:  # each opens the lock anew, as processes do
        list(pool.map(lambda i: books[i % 2].add({"seed": i}), range(40)))
    assert sorted(row["seed"] for row in books[0].rows) == list(range(40))
    assert [path.name for path in tmp_path.iterdir()] == ["book.json"]


def test_a_run_that_another_process_has_under_way_is_left_to_it(
    wanted: Wanted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fcntl")
    book, ran = Book(tmp_path / "book.json"), []
    (tmp_path / "runs").mkdir()
    with locked(tmp_path / "runs" / "run-1.lock") as held:
        assert held
        fill(book, wanted, runner(ran), lambda: None)
    assert ran == [0, 2] and "run-1: another process runs it" in capsys.readouterr().out
    fill(book, wanted, runner(ran), lambda: None)
    assert ran == [0, 2, 1]


def test_a_run_that_has_just_ended_elsewhere_is_not_run_again(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, ran = Book(tmp_path / "book.json"), []
    fill(book, wanted[:1], runner(ran), lambda: None)
    found, known = book.matching, iter([[]])  # the row comes between the first look and the lock
    monkeypatch.setattr(book, "matching", lambda **keys: next(known, found(**keys)))
    fill(book, wanted[:1], runner(ran), lambda: None)
    assert ran == [0]


def test_a_bad_run_does_not_stop_the_others(
    wanted: Wanted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book, ran = Book(tmp_path / "book.json"), []
    good = runner(ran)

    def run(named: dict, config: TrainConfig) -> dict:
        if config.seed == 0:
            raise FloatingPointError("reward: got nan\nat step 3")
        return good(named, config)

    failed = fill(book, wanted, run, lambda: None)
    assert ran == [1, 2] and failed == ["run-0: FloatingPointError: reward: got nan at step 3"]
    assert "in run\n" in (tmp_path / "runs" / "run-0.error").read_text()
    assert capsys.readouterr().err == f"failed: {failed[0]}\n"
    with pytest.raises(SystemExit) as caught:
        end(failed)
    assert caught.value.code == 1 and failed[0] in capsys.readouterr().err
    assert fill(book, wanted, good, lambda: None) == [] and ran == [1, 2, 0]
    assert not (tmp_path / "runs" / "run-0.error").exists()
    end([])


def test_a_person_and_settings_that_cannot_be_stop_all(wanted: Wanted, tmp_path: Path) -> None:
    def interrupted(*_: object) -> dict:
        raise KeyboardInterrupt

    def refused() -> Iterator[tuple[dict, TrainConfig]]:
        raise UsageError("condition: got often")
        yield

    book = Book(tmp_path / "book.json")
    with pytest.raises(KeyboardInterrupt):
        fill(book, wanted, interrupted, lambda: None)
    with pytest.raises(UsageError):
        fill(book, refused(), interrupted, lambda: None)
