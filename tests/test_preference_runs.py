"""Runs whose reward is learned from preferences: asked in stages, kept in a store, stopped and taken up again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer
from fakes import FakeEncoder
from preference_fakes import count_oracle

from vlmrl import training
from vlmrl.agents.config import PPOConfig
from vlmrl.cli import parse
from vlmrl.errors import Stopped, UsageError
from vlmrl.preferences import PoolConfig, PreferenceStore, check_store
from vlmrl.preferences.account import label_accuracy
from vlmrl.preferences.chat import BudgetConfig, ChatConfig, ImageConfig, RetryConfig
from vlmrl.preferences.configs import (
    ConvConfig,
    FitConfig,
    HeadConfig,
    PixelPreferenceConfig,
    PreferenceConfig,
)
from vlmrl.preferences.human import label_run
from vlmrl.preferences.online import UselessLabelsWarning
from vlmrl.preferences.online_config import PreferencesConfig
from vlmrl.preferences.oracle import OracleConfig, OracleLabeller
from vlmrl.preferences.protocol import Answer
from vlmrl.preferences.store import PREDICTIONS, STORE
from vlmrl.report import preferring, write_run_report
from vlmrl.tasks import Task, get_task
from vlmrl.training import TrainConfig, load_run, train
from vlmrl_envs.batched import BatchedWorld

SMALL = PPOConfig(num_steps=8, num_epochs=1, num_minibatches=1, hidden_sizes=(16,))
FIT = FitConfig(max_epochs=15, patience=5, batch_size=16)
PREFERENCES = PreferencesConfig(
    pairs=60, first_pairs=20, stage_pairs=10, every=128, sampler="mixture",
    pool=PoolConfig(capacity=128, per_rollout=32), heads=PreferenceConfig(HeadConfig(2, (16,)), FIT),
    cnns=PixelPreferenceConfig(ConvConfig(2, (3,), (4,), (2,)), FIT),
)  # fmt: skip


def config(tmp_path: Path, **changes) -> TrainConfig:
    task = replace(get_task("cartpole"), horizon=6)
    base = TrainConfig(
        task=task, agent=SMALL, num_envs=8, total_steps=640, labeller="oracle", preferences=PREFERENCES,
        checkpoint_every=128, out=tmp_path / "run",
    )  # fmt: skip
    return replace(base, **changes)


def draw(self: BatchedWorld, states: np.ndarray, camera=None, size=None) -> np.ndarray:
    """Draw the pole the redder the more upright, the cart's place in blue."""
    red = np.clip(255 - 400 * np.abs(states[:, 2]), 0, 255)
    colours = np.stack([red, np.full(len(states), 128), np.clip(128 + 200 * states[:, 1], 0, 255)], axis=1)
    return np.broadcast_to(colours.astype(np.uint8)[:, None, None], (len(states), 8, 8, 3)).copy()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Draw small pictures and embed them by colour; count how often each pair is asked."""
    monkeypatch.setattr(BatchedWorld, "render_states", draw)
    monkeypatch.setattr("vlmrl.encoders.load_encoder", lambda *_: FakeEncoder())
    return count_oracle(monkeypatch)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_its_reward_in_stages_within_its_budget(tmp_path: Path, quick: Counter[str]) -> None:
    run = train(config(tmp_path))
    rows = rows_of(run.path)
    assert [row["learned/pairs_asked"] for row in rows] == [20, 30, 30, 40, 40, 50, 50, 60, 60, 60]
    assert [row["learned/stages"] for row in rows][-3:] == [5, 5, 5]
    last = rows[-1]
    assert last["learned/label_accuracy"] == last["learned/label_accuracy_wide"] == 1.0
    assert last["learned/validation_accuracy"] > 0.7 and 0 <= last["learned/ece"] < 0.5
    assert last["learned/progress_correlation"] > 0.7 and last["learned/abstained"] == 0
    assert set(quick.values()) == {1} and len(quick) == 60
    assert last["frames_scored"] > 640  # every state for its reward, and those of pairs again
    with PreferenceStore(run.path / STORE) as store:
        assert len(store.answered()) == 60 and check_store(store) == []
    assert json.loads((run.path / PREDICTIONS).read_text()).keys() == quick.keys()
    page = write_run_report(run.path).read_text()
    assert "60 in 5 stages" in page and "100.0%; 100.0% of the wider half" in page
    assert load_run(run.path).act(np.zeros((2, 5))).shape == (2, 1)
    shown = training.shown_reward(run, None)
    assert shown.fits == 5 and shown.reads == "frames"


def test_a_person_goes_over_a_runs_pairs(tmp_path: Path) -> None:
    enough = replace(PREFERENCES, first_pairs=60)  # for a reward that says something
    run = train(config(tmp_path, total_steps=64, preferences=enough))
    from test_label import later

    totals = label_run(run.path, person="ada", on_ready=later({2: "finish"}))
    assert totals["answered"] == 2 and totals["pending"] == 58 and totals["agreement_with_model"] is not None


@pytest.mark.parametrize("learn_from", ["embeddings", "pixels"])
def test_a_run_that_was_stopped_goes_on_to_the_bit_and_asks_nobody_twice(
    tmp_path: Path, quick: Counter[str], learn_from: str
) -> None:
    settings = replace(PREFERENCES, learn_from=learn_from)
    whole = train(config(tmp_path, out=tmp_path / "whole", preferences=settings))
    quick.clear()

    def stop(progress) -> None:
        if progress.global_step == 320:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, preferences=settings), stop)
    run = training.resume(tmp_path / "run")
    a, b = (r.folder.load_checkpoint() for r in (whole, run))
    assert a.tensors.keys() == b.tensors.keys() and a.global_step == b.global_step == 640
    for name in a.tensors:
        if name != "learned/stage":  # holds seconds
            np.testing.assert_array_equal(a.tensors[name], b.tensors[name], err_msg=name)
    timed = ("seconds", "steps_per_s", "learned/ask_seconds", "learned/fit_seconds")
    for one, other in zip(rows_of(whole.path), rows_of(run.path), strict=True):
        for key in one.keys() - set(timed):
            assert key.startswith("time/") or one[key] == other[key], key
    assert set(quick.values()) == {1} and len(quick) == 60


def test_a_kill_between_checkpoints_repeats_a_stage_from_the_store(
    tmp_path: Path, quick: Counter[str]
) -> None:
    run = train(config(tmp_path))
    before = (run.path / PREDICTIONS).read_bytes()
    names = sorted(path.name for path in (run.path / "checkpoints").iterdir() if path.is_dir())
    (run.path / "checkpoints" / "latest").write_text(
        names[0] + "\n"
    )  # as if it had been killed after that one
    again = training.resume(run.path)
    assert set(quick.values()) == {1} and len(quick) == 60
    assert (run.path / PREDICTIONS).read_bytes() == before
    assert rows_of(again.path)[-1]["learned/pairs_asked"] == 60


def test_a_store_that_lacks_the_answers_is_named(tmp_path: Path) -> None:
    run = train(config(tmp_path, total_steps=128))
    settings = (run.path / "config.json").read_text().replace('"total_steps": 128', '"total_steps": 256')
    (run.path / "config.json").write_text(settings)
    for file in run.path.glob(f"{STORE}*"):
        file.unlink()
    with pytest.raises(UsageError, match=r"pair: got|store: got"):
        training.resume(run.path)


def test_a_chat_model_over_http_teaches_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = ChatConfig(images=ImageConfig(min_side=16), budget=BudgetConfig(calls=70, tokens=10**9))
    settings = replace(PREFERENCES, chat=chat)
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("VLMRL_CHAT_MODEL", "tiny-vlm")
        with pytest.raises(Stopped, match=r"budget\.calls"):  # 30 pairs in both orders, then the limit
            train(config(tmp_path, labeller="chat", preferences=settings))
        first = len(server.seen)
        row = rows_of(training.resume(tmp_path / "run").path)[-1]
    assert (
        first <= 70 and len(server.seen) == 2 * row["learned/pairs_asked"] == 120
    )  # calls count anew in each sitting
    assert (
        row["learned/label_accuracy"] > 0.7 and row["learned/tokens"] == 107 * 120
    )  # its eye for red is not ours


def test_what_a_network_swallowed_is_asked_in_the_next_stage_also_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry = RetryConfig(attempts=2, base=1e-3)
    settings = replace(PREFERENCES, chat=ChatConfig(images=ImageConfig(min_side=16), workers=1, retry=retry))
    script = lambda number, *_: {0: "refusal", 1: "prose"}.get(number, "500" if number < 6 else "")  # noqa: E731

    def stop(progress) -> None:
        if progress.global_step == 64:
            raise KeyboardInterrupt

    with ChatServer(script) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("VLMRL_CHAT_MODEL", "tiny-vlm")
        with pytest.raises(KeyboardInterrupt):
            train(config(tmp_path, labeller="chat", preferences=settings), stop)
        run = training.resume(tmp_path / "run")
    first, *_, last = rows_of(run.path)
    assert (first["learned/pairs_asked"], first["learned/labels"], first["learned/unanswered"]) == (22, 20, 2)
    assert [last[f"learned/{name}"] for name in ("pairs_asked", "unanswered", "network_failures", "abstained",
                                                 "refused", "unparseable", "unsure", "look_alike")] == [
        60, 0, 2, 2, 1, 1, 0, 0]  # fmt: skip
    assert last["learned/calls"] == len(server.seen) and last["learned/unparseable_rate"] == 1 / 60
    assert (
        0 < last["learned/first_share"] < 1 and last["learned/flip_rate"] == 0 and last["learned/cost"] == 0
    )
    with PreferenceStore(run.path / STORE) as store:
        assert len(store.answered(abstained=True)) == 60
    page = write_run_report(run.path).read_text()
    assert "1.7% unparseable, 1 refused, 0 unsure" in page and "2; 0 pairs are still open" in page
    assert f"tokens in {len(server.seen)} calls" in page and "the first image was preferred in" in page


def test_what_another_run_paid_for_is_known_and_not_paid_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(PREFERENCES, chat=ChatConfig(images=ImageConfig(min_side=16)))
    knowing = replace(settings, known=(tmp_path / "run",))
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("VLMRL_CHAT_MODEL", "tiny-vlm")
        with pytest.raises(UsageError, match=r"preferences\.known: got .*run; expected a store"):
            train(config(tmp_path, out=tmp_path / "second", labeller="chat", preferences=knowing))
        assert not (tmp_path / "second").exists()
        first = train(config(tmp_path, labeller="chat", preferences=settings, total_steps=192))
        paid = len(server.seen)
        run = train(config(tmp_path, out=tmp_path / "second", labeller="chat", preferences=knowing))
    one, last = rows_of(first.path)[-1], rows_of(run.path)[-1]
    assert (one["learned/pairs_asked"], one["learned/reused"], one["learned/calls"]) == (30, 0, paid)
    assert (last["learned/pairs_asked"], last["learned/reused"]) == (60, 30)
    assert last["learned/calls"] == len(server.seen) - paid == 60 and last["learned/tokens"] == 107 * 60
    assert "60 in 5 stages, 30 answered in other runs" in write_run_report(run.path).read_text()
    assert training.resume(run.path).config.preferences.known == (tmp_path / "run",)


def test_flipped_labels_teach_the_opposite(tmp_path: Path) -> None:
    settings = replace(PREFERENCES, pairs=180, stage_pairs=40, oracle=OracleConfig(flip=1.0))
    row = rows_of(train(config(tmp_path, preferences=settings)).path)[-1]
    assert row["learned/label_accuracy"] == 0.0 and row["learned/progress_correlation"] < -0.7


def test_random_labels_leave_no_reward_and_the_run_says_so(tmp_path: Path) -> None:
    settings = replace(PREFERENCES, oracle=OracleConfig(flip=0.5))
    with pytest.warns(
        UselessLabelsWarning, match="labels: got 20 that say no more of one another than a coin"
    ) as said:
        run = train(config(tmp_path, preferences=settings, total_steps=320))
    assert sum(w.category is UselessLabelsWarning for w in said) == 1, "said at every stage"
    for row in rows_of(run.path):
        assert row["learned/is_flat"] == 1 and row["learned/evidence"] < 2.33
        assert row["vlm_reward"] == 0 and row["learned/progress_correlation"] is None
    assert "in 3 of 3 stages" in write_run_report(run.path).read_text()


def test_a_labeller_that_stops_leaves_a_run_that_goes_on(
    tmp_path: Path, monkeypatch, quick: Counter[str]
) -> None:
    counted = OracleLabeller.answer

    def breaks(self, pairs, question):
        if len(quick) >= 30:
            raise ConnectionError("the line is dead")
        return counted(self, pairs, question)

    monkeypatch.setattr(OracleLabeller, "answer", breaks)
    with pytest.raises(ConnectionError):
        train(config(tmp_path))
    monkeypatch.setattr(OracleLabeller, "answer", counted)
    assert rows_of(training.resume(tmp_path / "run").path)[-1]["learned/pairs_asked"] == 60
    assert set(quick.values()) == {1}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"query_share": 0.1}, "labeller: got oracle with a limit"),
        ({"reward": "constant"}, "labeller: got oracle with reward constant"),
        ({"labeller": "nobody"}, "labeller: got nobody"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, changes: dict, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        config(tmp_path, **changes)


def test_what_cannot_be_learned_from_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch
) -> None:
    for name, value in (("pairs", 0), ("every", 0), ("sampler", "best")):
        with pytest.raises(UsageError, match=f"preferences.{name}"):
            PreferencesConfig(**{name: value})
    with pytest.raises(UsageError, match="visual_gap on pixels"):
        PreferencesConfig(sampler="visual_gap", learn_from="pixels")
    stock = Task("stock", "CartPole-v1", ("pole upright",), ("pole and cart",), horizon=5)
    two = replace(get_task("cartpole"), goal=("a", "b"), baseline=("c", "d"))
    for name in ("OPENAI_BASE_URL", "VLMRL_CHAT_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for changes, match in (
        ({"task": stock}, "a World of vlmrl"), ({"task": two}, "goal: got 2 sentences"),
        ({"labeller": "chat"}, "base_url"), ({"labeller": "routed"}, "base_url"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=match):
            train(config(tmp_path, **changes))
        assert not (tmp_path / "run").exists()


def test_the_command_line_takes_a_labeller() -> None:
    command = parse(["train", "cartpole", "--labeller", "encoder", "--preferences.pairs", "500"])
    assert command.labeller == "encoder" and command.preferences.pairs == 500
    known = parse(["train", "cartpole", "--labeller", "chat", "--preferences.known", "a.sqlite", "runs/b"])
    assert known.preferences.known == (Path("a.sqlite"), Path("runs/b"))
    assert parse(["train", "cartpole"]).labeller is None


def test_labels_are_set_beside_progress_by_hand() -> None:
    from preference_fakes import pair

    pairs = [pair(10, 20), pair(90, 20), pair(5, 6), pair(7, 200)]
    labels = [1.0, 0.9, 0.5, None]
    answered = [(p, Answer(label, "x")) for p, label in zip(pairs, labels, strict=True)]
    assert label_accuracy(answered) == (pytest.approx(0.5), 1.0)  # wrong, right, a tie; the widest was right
    assert label_accuracy([]) == (None, None)


def test_the_report_says_nothing_of_preferences_where_there_are_none() -> None:
    assert preferring([{"global_step": 1}]) == []
    row = {"learned/pairs_asked": 12, "learned/stages": 2, "learned/abstained": 3.0, "learned/cost": 0.25,
           "learned/tokens": 4000.0}  # fmt: skip
    shown = dict(preferring([row]))
    assert shown["pairs asked"] == "12 in 2 stages, 3 without a label"
    assert shown["paid for answers"] == "0.25 for 4,000 tokens"
    heard = {"unparseable_rate": 0.125, "refused": 1.0, "unsure": 0.0, "first_share": 0.75, "flip_rate": 0.5,
             "calls": 24.0, "network_failures": 2.0, "unanswered": 1.0}  # fmt: skip
    shown = dict(preferring([row | {f"learned/{name}": value for name, value in heard.items()}]))
    assert shown["replies of the chat model without a label"] == "12.5% unparseable, 1 refused, 0 unsure"
    assert shown["questions that brought no reply"] == "2; 1 pairs are still open"
    assert shown["position bias: the first image was preferred in"] == (
        "75.0% of verdicts; 50.0% of pairs were judged otherwise when turned round"
    )
    assert shown["paid for answers"] == "0.25 for 4,000 tokens in 24 calls"
