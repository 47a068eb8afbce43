"""The store: nothing asked twice, nothing lost by a kill or to another writer, every failure one line with a remedy."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_fakes import (
    QUESTION,
    BudgetSpent,
    CountingLabeller,
    StreamingFake,
    Unreachable,
    pair,
    segment,
    some_pairs,
)

from vlmrl.errors import UsageError
from vlmrl.preferences import schema
from vlmrl.preferences.answers import failures
from vlmrl.preferences.exchange import check_store, export_jsonl, import_jsonl, import_store
from vlmrl.preferences.known import KnownAnswers
from vlmrl.preferences.protocol import Answer, Pair, Question
from vlmrl.preferences.rows import REUSED
from vlmrl.preferences.store import PreferenceStore, StoreError

PAIRS = some_pairs(40)
ROOT = Path(__file__).parent.parent
WRITER = """
import sys, time
from preference_fakes import QUESTION, CountingLabeller, some_pairs
from vlmrl.preferences.store import PreferenceStore

path, log, count, delay, batch, streams = sys.argv[1:7]

class Slow(CountingLabeller):
    def note(self, pairs):
        time.sleep(float(delay))
        with open(log, "a") as file:
            file.write("".join(pair.key + "\\n" for pair in pairs))

    def answer(self, pairs, question):
        self.note(pairs)
        return super().answer(pairs, question)

class Streaming(Slow):
    def stream(self, pairs, question):
        for place, pair in enumerate(pairs):
            self.note([pair])
            yield [(place, CountingLabeller.answer(self, [pair], question)[0])]

labeller = (Streaming if streams == "1" else Slow)()
with PreferenceStore(path) as store:
    print("ready", flush=True)
    store.ask(labeller, some_pairs(int(count)), QUESTION, batch_size=int(batch))
"""


def start_writer(
    path: Path, log: Path, count: int, delay: float, batch: int, streams: bool = False
) -> subprocess.Popen:
    arguments = [str(x) for x in (path, log, count, delay, batch, int(streams))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "envs"), str(ROOT / "tests")]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()


@pytest.fixture
def store(tmp_path: Path):
    with PreferenceStore(tmp_path / "preferences.sqlite") as opened:
        yield opened


def test_the_same_question_has_the_same_answer_and_is_asked_once(store: PreferenceStore, tmp_path: Path):
    labeller = CountingLabeller()
    found = store.ask(labeller, PAIRS[:10], QUESTION)
    assert (found.asked, found.found) == (10, 0)
    assert [a.label for a in found.answers] == [labeller.label(p) for p in PAIRS[:10]]
    assert found.answers[0] == labeller.answer(PAIRS[:1], QUESTION)[0]  # every field comes back
    labeller.asked.clear()
    again = store.ask(labeller, PAIRS[:12], QUESTION)
    assert (again.asked, again.found) == (2, 10) and again.answers[:10] == found.answers
    store.close()
    with PreferenceStore(tmp_path / "preferences.sqlite") as reopened:
        assert reopened.ask(labeller, PAIRS[:12], QUESTION).asked == 0
    assert labeller.asked == [p.key for p in PAIRS[10:12]]


def test_duplicates_within_one_call_are_asked_once_and_the_turned_pair_is_another(store: PreferenceStore):
    labeller = CountingLabeller()
    twice = [
        PAIRS[0],
        PAIRS[1],
        pair(int(PAIRS[0].first.frames[0, 0, 0, 0]), int(PAIRS[0].second.frames[0, 0, 0, 0])),
    ]
    found = store.ask(labeller, [*twice, PAIRS[0].turned], QUESTION)
    assert found.asked == 3 and len(labeller.asked) == 3
    assert found.answers[0] == found.answers[2] != found.answers[3]


@pytest.mark.parametrize("change", ["goal", "baseline", "name", "model", "parameters"])
def test_whatever_the_answer_depends_on_is_part_of_its_key(store: PreferenceStore, change: str):
    labeller = CountingLabeller(temperature=0.0)
    store.ask(labeller, PAIRS[:3], QUESTION)
    other, question = CountingLabeller(temperature=0.0), QUESTION
    if change in ("goal", "baseline"):
        question = Question(**{"goal": "red", "baseline": "blue", change: "green"})
    elif change == "parameters":
        other.parameters = {"temperature": 0.1}
    else:
        setattr(other, change, "other")
    assert store.ask(other, PAIRS[:3], question).asked == 3
    assert store.ask(labeller, PAIRS[:3], QUESTION).asked == 0


def test_parameters_in_another_order_are_the_same_and_secrets_stay_out(
    store: PreferenceStore, tmp_path: Path
):
    store.ask(CountingLabeller(a=1, b=[1, 2], api_key="sk-canary-0123456789abcdef"), PAIRS[:1], QUESTION)
    other = CountingLabeller(b=(1, 2), a=1, api_key="sk-another-0123456789abcdef")
    assert store.ask(other, PAIRS[:1], QUESTION).asked == 0
    store.close()
    assert not any(b"canary" in path.read_bytes() for path in tmp_path.iterdir())


def test_abstentions_are_kept_are_no_ties_and_can_be_asked_again(store: PreferenceStore):
    class Shy(CountingLabeller):
        def label(self, pair):
            return None

    shy, bold = Shy(), CountingLabeller()
    assert [a.label for a in store.ask(shy, PAIRS[:3], QUESTION).answers] == [None] * 3
    assert store.ask(shy, PAIRS[:3], QUESTION).asked == 0
    assert store.answered() == [] and len(store.answered(abstained=True)) == 3
    assert store.ask(shy, PAIRS[:1], QUESTION, ask_again=True).answers[0].label is None
    found = store.ask(bold, PAIRS[:3], QUESTION, ask_again=True)
    assert found.asked == 3 and [a.label for a in found.answers] == [bold.label(p) for p in PAIRS[:3]]
    assert store.ask(shy, PAIRS[:3], QUESTION, ask_again=True).asked == 0
    (total,) = store.totals()
    assert total["tokens"] == 7 * 7 and total["cost"] == pytest.approx(
        0.07
    )  # 3 + 1 + 3 answers were paid for
    assert (total["answers"], total["abstentions"]) == (3, 0)


def test_a_question_that_nobody_answered_stays_open_and_what_it_cost_is_kept(
    store: PreferenceStore, tmp_path: Path
):
    labeller = Unreachable(PAIRS[1].key, PAIRS[2].key)
    found = store.ask(labeller, PAIRS[:4], QUESTION)
    assert [a.is_open for a in found.answers] == [False, True, True, False] and found.asked == 4
    assert store.find(labeller, PAIRS[:4], QUESTION)[1:3] == [None, None]
    assert store.pending(labeller, QUESTION) == [p.key for p in PAIRS[1:3]]
    assert len(store.answered(abstained=True)) == 2, "a network failure became an abstention"
    labeller.lost.remove(PAIRS[1].key)
    again = store.ask(labeller, PAIRS[:4], QUESTION)
    assert (again.asked, again.found) == (2, 2) and again.answers[1].label == labeller.label(PAIRS[1])
    (total,) = store.totals()
    assert (total["answers"], total["abstentions"], total["failures"]) == (3, 0, 3)
    assert total["tokens"] == 3 * 7 + 3 * 3
    assert [a.tokens for a in failures(store, labeller, QUESTION)] == [3] * 3
    assert export_jsonl(store, tmp_path / "out.jsonl") == 3 and check_store(store) == []
    with pytest.raises(UsageError, match=r"answer: got label 1\.0 of an open question"):
        Answer(1.0, "x", is_open=True)


def test_what_another_run_was_answered_is_taken_over_costs_nothing_and_is_counted(tmp_path: Path):
    class Shy(CountingLabeller):
        def label(self, pair):
            return None if pair.key == PAIRS[1].key else super().label(pair)

    labeller, question = Shy(temperature=0.0), QUESTION
    (tmp_path / "run").mkdir()
    other, path = tmp_path / "run" / "preferences.sqlite", tmp_path / "mine.sqlite"
    with PreferenceStore(other) as store:
        store.ask(labeller, PAIRS[:4], question)
        before = other.read_bytes()
        known = KnownAnswers([tmp_path / "run"])
        labeller.asked.clear()
        with PreferenceStore(
            path, elsewhere=known.find
        ) as mine:  # the other is open still, and written perhaps
            found = mine.ask(labeller, PAIRS[:6], question)
            assert (found.asked, found.found, found.reused) == (2, 0, 4)
            assert labeller.asked == [p.key for p in PAIRS[4:6]]
            assert [a.label for a in found.answers] == [labeller.label(p) for p in PAIRS[:6]]
            assert [a.cost for a in found.answers] == [0, 0, 0, 0, 0.01, 0.01] and found.answers[
                1
            ].label is None
            assert [REUSED in a.parameters for a in found.answers] == [True] * 4 + [False] * 2
            again = mine.ask(labeller, PAIRS[:6], question)
            assert (again.asked, again.found, again.reused) == (0, 6, 0) and again.answers == found.answers
            other_words = mine.ask(labeller, PAIRS[:1], Question("green", "blue"))
            labeller.parameters = {"temperature": 0.1}
            other_parameters = mine.ask(labeller, PAIRS[:1], question)
            assert (other_words.reused, other_parameters.reused) == (0, 0)
        assert other.read_bytes() == before and known._stores
    known.close()
    one, two = KnownAnswers([path, other]), CountingLabeller(temperature=0.0)
    with PreferenceStore(tmp_path / "third.sqlite", elsewhere=one.find) as third:
        assert third.ask(two, PAIRS[:6], question).reused == 6
        assert {a.parameters[REUSED] for _, a in third.answered(abstained=True)} == {str(path)}
        pending = third.ask(two, PAIRS[1:2], question, ask_again=True)
        assert pending.asked == 1 and pending.answers[0].label is not None
        assert check_store(third) == []


def test_samples_of_another_run_are_not_taken_over(tmp_path: Path):
    labeller = CountingLabeller(temperature=0.7)
    labeller.is_deterministic = False
    with PreferenceStore(tmp_path / "other.sqlite") as store:
        store.ask(labeller, PAIRS[:2], QUESTION)
    known = KnownAnswers([tmp_path / "other.sqlite"])
    with PreferenceStore(tmp_path / "mine.sqlite", elsewhere=known.find) as mine:
        assert mine.ask(labeller, PAIRS[:2], QUESTION).asked == 2


def test_what_is_no_store_to_know_from_is_refused_and_nothing_is_made(tmp_path: Path):
    (tmp_path / "text.sqlite").write_text("no database")
    (tmp_path / "empty").mkdir()
    for name, match in (
        ("nowhere.sqlite", "preferences.known: got"), ("empty", "preferences.known: got"),
        ("text.sqlite", "file is not a database"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=match) as error:
            KnownAnswers([tmp_path / name])
        one_line(error)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "text.sqlite"]


def test_a_store_from_before_failures_were_kept_is_taken_up(tmp_path: Path):
    with PreferenceStore(tmp_path / "old.sqlite") as old:
        old.ask(CountingLabeller(), PAIRS[:2], QUESTION)
        with old.writing() as connection:
            connection.execute("DROP TABLE failures")
    with PreferenceStore(tmp_path / "old.sqlite") as old:
        labeller = Unreachable(PAIRS[2].key)
        assert old.ask(labeller, PAIRS[:3], QUESTION).answers[2].is_open
        assert len(failures(old, labeller, QUESTION)) == 1


def test_pairs_come_back_bit_for_bit_with_their_progress(store: PreferenceStore):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (3, 16, 12, 3), dtype=np.uint8) for _ in range(4)]
    segments = [segment(1, 2, 3), segment(3, 2, 1)]
    pairs = [Pair(*segments), Pair(*(type(segments[0])(frames) for frames in noise[:2]))]
    store.add_pairs(pairs)
    back = store.pairs()
    assert [p.key for p in back] == [p.key for p in pairs]
    assert (back[1].first.frames == noise[0]).all() and back[1].first.progress is None
    assert (back[0].first.progress == segments[0].progress).all()
    (frames,) = store.rows("SELECT count(*) FROM frames")[0]
    assert frames == 3 + 6  # three colours shared by two segments
    with pytest.raises(UsageError, match="pair: got nothing"):
        store.pairs(["nothing"])


def test_a_frame_is_packed_once_and_pairs_are_read_by_key(store: PreferenceStore, monkeypatch):
    packed, pack = [], schema.pack
    monkeypatch.setattr(schema, "pack", lambda frame: packed.append(1) or pack(frame))
    store.add_pairs([Pair(segment(1, 2), segment(2, 3))])
    assert len(packed) == 3
    store.add_pairs([Pair(segment(3, 1), segment(2, 4)), pair(1, 4)])  # new segments of old frames
    assert len(packed) == 4
    keys = [p.key for p in store.pairs()]
    seen, rows = [], store.rows
    monkeypatch.setattr(store, "rows", lambda *query: seen.append(rows(*query)) or seen[-1])
    assert [p.key for p in store.pairs([keys[2], keys[0]])] == [keys[2], keys[0]]
    assert len(seen[0]) == 2


def test_float_frames_are_refused(store: PreferenceStore):
    """RL-VLM-F keeps frames as floats, at 70 GiB a run."""
    bad = Pair(*(type(segment(1))(segment(red).frames / 255) for red in (1, 2)))
    with pytest.raises(UsageError, match=r"segment: got float64.*uint8"):
        store.add_pairs([bad])
    assert store.pairs() == []


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_packing_loses_nothing(height, width, seed):
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = schema.pack(frame)
    assert (schema.unpack(data, height, width) == frame).all()
    for damaged, size in ((data[:-5], height), (data, height + 1), (b"no", height)):
        with pytest.raises(ValueError):
            schema.unpack(damaged, size, width)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda x: st.lists(x, max_size=3)
)


@settings(max_examples=60, deadline=None)
@given(
    st.none() | st.floats(0, 1), st.text(), st.text(), st.dictionaries(st.text(), JSON, max_size=3),
    st.floats(0, 1e9), st.integers(0, 10**9),
)  # fmt: skip
def test_answers_come_back_as_they_were(label, reason, model, parameters, number, tokens):
    answer = Answer(label, "x", reason, model, parameters, number, tokens, number)
    with tempfile.TemporaryDirectory() as folder, PreferenceStore(Path(folder) / "s") as store:
        labeller = CountingLabeller("x", **{"p": parameters})
        store.record(labeller, PAIRS[:1], QUESTION, [answer])
        (found,) = store.find(labeller, PAIRS[:1], QUESTION)
        assert found == answer
        export_jsonl(store, Path(folder) / "out")
        with PreferenceStore(Path(folder) / "other") as other:
            assert import_jsonl(other, Path(folder) / "out") == 1
            assert other.find(labeller, PAIRS[:1], QUESTION) == [answer]


def test_what_a_model_says_may_be_no_proper_text(store: PreferenceStore, tmp_path: Path):
    odd = Answer(1.0, "x", "half \ud83d and \x00", parameters={"said": "\ud83d"})
    store.record(CountingLabeller("x"), PAIRS[:1], QUESTION, [odd])
    (found,) = store.find(CountingLabeller("x"), PAIRS[:1], QUESTION)
    assert found.label == 1.0 and found.reason == "half ? and \x00" and found.parameters == odd.parameters
    assert export_jsonl(store, tmp_path / "out.jsonl") == 1


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_labeller_that_stops_in_the_middle_keeps_what_was_paid_for(store: PreferenceStore, batch_size: int):
    class Poor(CountingLabeller):
        budget = 5

        def answer(self, pairs, question):
            answers = super().answer(pairs[: self.budget], question)
            self.budget -= len(answers)
            if len(answers) < len(pairs):
                raise BudgetSpent([*answers, None])
            return answers

    poor = Poor()
    with pytest.raises(BudgetSpent):
        store.ask(poor, PAIRS[:10], QUESTION, batch_size=batch_size)
    assert len(store.answered()) == 5
    rich = CountingLabeller()
    assert store.ask(rich, PAIRS[:10], QUESTION).asked == 5
    assert set(rich.asked).isdisjoint(poor.asked) and len(store.answered()) == 10


def test_a_stream_is_kept_answer_by_answer(store: PreferenceStore):
    failing = StreamingFake(until=4)
    with pytest.raises(RuntimeError, match="the line is dead"):
        store.ask(failing, PAIRS[:10], QUESTION)
    assert len(store.answered()) == 4
    whole = StreamingFake()
    found = store.ask(whole, PAIRS[:10], QUESTION)
    assert (found.asked, found.found) == (6, 4)
    assert [a.label for a in found.answers] == [whole.label(p) for p in PAIRS[:10]]


def test_a_labeller_that_returns_nonsense_is_named_and_nothing_is_kept(store: PreferenceStore):
    class Short(CountingLabeller):
        def answer(self, pairs, question):
            return super().answer(pairs, question)[1:]

    class Numbers(CountingLabeller):
        def answer(self, pairs, question):
            return [1.0 for _ in pairs]

    with pytest.raises(UsageError, match="labeller: got 2 answers of counting; expected 3"):
        store.ask(Short(), PAIRS[:3], QUESTION)
    with pytest.raises(UsageError, match="answer: got float of counting"):
        store.ask(Numbers(), PAIRS[:3], QUESTION)

    class Stutters(CountingLabeller):
        def stream(self, pairs, question):
            yield [(1, Answer(1.0, "x"))]
            yield [(1, Answer(0.0, "x"))]

    with pytest.raises(UsageError, match="labeller: got pair 1 of counting; expected each of 3 pairs once"):
        store.ask(Stutters(model="other"), PAIRS[:3], Question("stutter"))
    assert [a.label for _, a in store.answered(Question("stutter"))] == [1.0]
    with pytest.raises(UsageError, match="batch_size"):
        store.ask(CountingLabeller(), PAIRS[:3], QUESTION, batch_size=0)
    with pytest.raises(UsageError, match="answers: got 0"):
        store.record(CountingLabeller(), PAIRS[:3], QUESTION, [])
    assert store.answered(QUESTION, abstained=True) == []


def test_pairs_wait_for_a_page_and_its_answers_are_recorded_once(store: PreferenceStore):
    labeller = CountingLabeller("human")
    store.add_pairs(PAIRS[:3])
    assert store.pending(labeller, QUESTION) == [p.key for p in PAIRS[:3]]
    for label in (None, 1.0, 0.0):  # skipped, answered, too late
        store.record(labeller, PAIRS[:1], QUESTION, [Answer(label, "human", seconds=1.0)])
    assert store.pending(labeller, QUESTION) == [p.key for p in PAIRS[1:3]]
    assert store.find(labeller, PAIRS[:2], QUESTION) == [Answer(1.0, "human", seconds=2.0), None]
    assert [a.label for _, a in store.answered(QUESTION, "human")] == [1.0]
    assert store.answered(Question("other")) == [] and store.answered(labeller="other") == []


# -- two writers, a kill -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
def test_two_processes_ask_each_pair_once_between_them(tmp_path: Path, streams: bool):
    path, log = tmp_path / "store.sqlite", tmp_path / "asked"
    writers = [start_writer(path, log, 40, 0.02, 4, streams) for _ in range(2)]
    for writer in writers:
        finish(writer)
    asked = log.read_text().split()
    assert sorted(asked) == sorted({p.key for p in some_pairs(40)})
    with PreferenceStore(path) as store:
        assert store.ask(CountingLabeller(), some_pairs(40), QUESTION).asked == 0
        assert len(store.answered()) == 40 and check_store(store) == []


@pytest.mark.parametrize("streams", [False, True])
def test_a_kill_loses_at_most_the_batch_in_flight_and_nothing_is_paid_twice(tmp_path: Path, streams: bool):
    path, log = tmp_path / "store.sqlite", tmp_path / "asked"
    writer = start_writer(path, log, 200, 0.03, 1 if streams else 5, streams)
    assert writer.stdout.readline() == b"ready\n"
    while not log.exists() or len(log.read_text().split()) < 12:
        assert writer.poll() is None
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    paid = log.read_text().split()
    with PreferenceStore(path) as store:
        kept = {p.key for p, _ in store.answered()}
        assert check_store(store) == []
        assert kept <= set(paid) and len(paid) - len(kept) <= (1 if streams else 5)
        labeller = CountingLabeller()
        store.ask(labeller, some_pairs(200), QUESTION)  # the dead process holds no claim
        assert set(labeller.asked).isdisjoint(kept) and len(store.answered()) == 200


def test_a_kill_at_any_moment_leaves_a_whole_store(tmp_path: Path):
    path, log = tmp_path / "store.sqlite", tmp_path / "asked"
    for number, delay in enumerate((0.0, 0.03, 0.07, 0.11)):
        writer = start_writer(path, log, 400, 0.0, 2)
        writer.stdout.readline()
        while number and (not log.exists() or len(log.read_text().split()) < 20 * number):
            assert writer.poll() is None
            time.sleep(0.002)
        time.sleep(delay)
        writer.kill()
        writer.communicate()
        with PreferenceStore(path) as store:
            assert check_store(store) == []
    paid = log.read_text().split()
    with PreferenceStore(path) as store:
        kept = [p.key for p, _ in store.answered()]
        assert len(kept) == len(set(kept)) and set(kept) <= set(paid) and len(set(paid)) - len(kept) <= 4 * 2


def test_many_processes_may_make_the_store_at_once(tmp_path: Path):
    path, log = tmp_path / "store.sqlite", tmp_path / "asked"
    writers = [start_writer(path, log, 3, 0.0, 3) for _ in range(4)]
    for writer in writers:
        finish(writer)
    assert len(log.read_text().split()) == 3


def test_threads_of_one_process_ask_each_pair_once(store: PreferenceStore):
    class Slow(CountingLabeller):
        def answer(self, pairs, question):
            time.sleep(0.01)
            return super().answer(pairs, question)

    labeller = Slow()
    with ThreadPoolExecutor(4) as threads:
        found = list(
            threads.map(lambda _: store.ask(labeller, PAIRS, QUESTION, batch_size=5).answers, range(4))
        )
    assert sorted(labeller.asked) == sorted(p.key for p in PAIRS) and all(f == found[0] for f in found)


# -- out and in ---------------------------------------------------------------------------------------------------


def test_export_and_import_are_whole_and_idempotent(store: PreferenceStore, tmp_path: Path):
    store.ask(CountingLabeller(x=1), PAIRS[:6], QUESTION)
    store.add_pairs(PAIRS[6:8])
    assert export_jsonl(store, tmp_path / "out.jsonl") == 6
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        assert import_jsonl(other, tmp_path / "out.jsonl") == 6
        assert import_jsonl(other, tmp_path / "out.jsonl") == 0
        assert other.ask(CountingLabeller(x=1), PAIRS[:6], QUESTION).asked == 0
        assert [p.key for p in other.pairs()] == [p.key for p in PAIRS[:8]]
        assert other.totals() == store.totals() and check_store(other) == []
        export_jsonl(other, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    assert not list(tmp_path.glob(".tmp-*"))


def test_another_store_is_taken_over(store: PreferenceStore, tmp_path: Path):
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        other.ask(CountingLabeller(), PAIRS[:5], QUESTION)
    store.record(CountingLabeller(), PAIRS[:2], QUESTION, [Answer(None, "counting"), Answer(0.5, "counting")])
    assert import_store(store, tmp_path / "other.sqlite") == 4  # an abstention gives way, a label stays
    assert import_store(store, tmp_path / "other.sqlite") == 0
    labels = [a.label for a in store.ask(CountingLabeller(), PAIRS[:5], QUESTION).answers]
    assert labels == [
        CountingLabeller().label(PAIRS[0]),
        0.5,
        *(CountingLabeller().label(p) for p in PAIRS[2:5]),
    ]
    with pytest.raises(UsageError, match="which is no file"):
        import_store(store, tmp_path / "nowhere.sqlite")


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda lines: [*lines[:-1], lines[-1][:40]], r"line \d+ \("),
        (lambda lines: lines[1:], r"line 1 \(expected"),
        (lambda lines: [lines[0], "[]"], "line 2"),
        (lambda lines: [lines[0], '{"table": "nothing"}'], "line 2"),
        (lambda lines: [lines[0], *lines[2:]], "is missing"),
        (lambda lines: [line.replace('"label": 1.0', '"label": 7') for line in lines], "label: got 7"),
        (lambda lines: [line.replace('"label": 1.0', '"label": "x"') for line in lines], r"line \d+"),
        (lambda lines: [lines[0], lines[1].replace('"width": 8', '"width": 9')], "line 2"),
        (lambda lines: [], "which is empty"),
    ],
)
def test_a_damaged_export_is_named_by_its_line_and_nothing_is_taken(
    store: PreferenceStore, tmp_path: Path, damage, match: str
):
    store.ask(CountingLabeller(), PAIRS[:4], QUESTION)
    export_jsonl(store, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    (tmp_path / "bad.jsonl").write_text("\n".join(damage(lines)))
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        with pytest.raises(UsageError, match=match):
            import_jsonl(other, tmp_path / "bad.jsonl")
        assert other.pairs() == [] and check_store(other) == []


def test_an_export_whose_frame_was_swapped_is_refused(store: PreferenceStore, tmp_path: Path):
    store.ask(CountingLabeller(), PAIRS[:1], QUESTION)
    export_jsonl(store, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    lines[1]["data"], lines[2]["data"] = lines[2]["data"], lines[1]["data"]
    (tmp_path / "out.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with (
        PreferenceStore(tmp_path / "other.sqlite") as other,
        pytest.raises(UsageError, match=r"line 2 .*not what"),
    ):
        import_jsonl(other, tmp_path / "out.jsonl")


def test_an_import_or_export_that_cannot_be_read_or_written(store: PreferenceStore, tmp_path: Path):
    with pytest.raises(UsageError, match="import: got"):
        import_jsonl(store, tmp_path / "nothing.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="import: got"):
        import_jsonl(store, tmp_path / "binary")
    with pytest.raises(UsageError, match="export: got"):
        export_jsonl(store, tmp_path / "nowhere" / "out.jsonl")


# -- bad files and disks ------------------------------------------------------------------------------------------


def one_line(error: pytest.ExceptionInfo[UsageError]) -> str:
    text = str(error.value)
    assert "\n" not in text and "; expected " in text and text.count("; ") >= 2
    return text


@pytest.mark.parametrize("version", [schema.VERSION + 1, 0])
def test_a_store_of_another_version(tmp_path: Path, version: int):
    path = tmp_path / "store.sqlite"
    PreferenceStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StoreError) as error:
        PreferenceStore(path)
    assert f"of version {version}; expected version {schema.VERSION}" in one_line(error)


def test_files_that_are_no_store_are_not_touched(tmp_path: Path):
    text, foreign = tmp_path / "text", tmp_path / "foreign.sqlite"
    text.write_text("not a database, and longer than a header of one would be" * 20)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE notes (x)")
    connection.commit()
    connection.close()
    for path, match in ((text, "file is not a database"), (foreign, "another program's database")):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=match) as error:
            PreferenceStore(path)
        one_line(error)
        assert path.read_bytes() == before
    for path in (tmp_path, tmp_path / "nowhere" / "store.sqlite"):
        with pytest.raises(StoreError, match="unable to open") as error:
            PreferenceStore(path)
        one_line(error)


def test_a_store_that_may_only_be_read_says_so_before_anything_is_asked(tmp_path: Path, monkeypatch):
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store:
        store.ask(CountingLabeller(), PAIRS[:1], QUESTION)
    connect = sqlite3.connect  # opened read-only: root, which may run the tests, heeds no permissions
    monkeypatch.setattr(
        sqlite3, "connect", lambda p, **kwargs: connect(f"file:{p}?mode=ro", uri=True, **kwargs)
    )
    with pytest.raises(StoreError, match="readonly") as error:
        PreferenceStore(path)
    assert "change its permissions" in one_line(error)


def test_a_full_disk_is_named_keeps_what_was_there_and_hands_back_what_was_paid_for(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store:
        store.ask(CountingLabeller(), PAIRS[:3], QUESTION)
        (pages,) = store.rows("PRAGMA page_count")[0]
        store.rows(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk full"
        wordy = CountingLabeller()
        store.add_pairs(PAIRS[:4])
        answers = [Answer(1.0, "counting", "long " * 5000)]
        with pytest.raises(StoreError, match="full") as error:
            store._write([(PAIRS[3].key, answers[0])], ("{}", "counting", "", "{}"))
        assert "free some disk space" in one_line(error) and error.value.answers == answers
        with pytest.raises(StoreError, match="full"):
            store.ask(wordy, some_pairs(300, seed=5, side=32), QUESTION)
        assert wordy.asked == [], "frames are kept before anything is paid for"
        store.rows("PRAGMA max_page_count = 100000")
        assert store.ask(wordy, PAIRS[:4], QUESTION).asked == 1 and check_store(store) == []


def test_a_damaged_store_is_found(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store:
        store.ask(CountingLabeller(), PAIRS[:3], QUESTION)
        store.rows("UPDATE frames SET data = x'00' WHERE key = (SELECT min(key) FROM frames)")
        (finding,) = check_store(store)
        assert finding.startswith("frame ")
        with pytest.raises(UsageError, match="pixels"):
            store.pairs()
        store.rows("DELETE FROM frames WHERE key = (SELECT max(key) FROM frames)")
        assert any("is missing" in line for line in check_store(store))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(StoreError) as error:
        PreferenceStore(path)
    one_line(error)


def test_a_writer_that_never_ends_is_waited_for_so_long(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    PreferenceStore(path).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as error:
        PreferenceStore(path, timeout_s=0.1)
    assert "end the process that holds it" in one_line(error)
    holder.close()
