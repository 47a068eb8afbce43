"""`vlmrl label` without a browser: files, who is shown what, undo, resuming, the server's refusals."""

from __future__ import annotations

import errno
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from vlmrl.cli import main
from vlmrl.errors import UsageError
from vlmrl.preferences.human import (
    FolderSink,
    HumanLabeller,
    LabellingStopped,
    MemorySink,
    StoreSink,
    label_run,
    write_pairs,
)
from vlmrl.preferences.human import folder as folder_module
from vlmrl.preferences.human.clips import filmstrip
from vlmrl.preferences.human.server import LabelServer
from vlmrl.preferences.human.session import LEASE, LabelSession, agreement, is_turned
from vlmrl.preferences.human.sink import Given
from vlmrl.preferences.human.store_sink import PredictionFile
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment, task_question
from vlmrl.preferences.store import PREDICTIONS, STORE, PreferenceStore
from vlmrl.runs import RunFolder
from vlmrl.tasks import get_task

QUESTION = Question("to open the drawer", "a drawer")


def make_pairs(count: int, length: int = 3) -> list[Pair]:
    rng = np.random.default_rng(0)
    clips = [Segment(rng.integers(0, 255, (length, 12, 16, 3), np.uint8)) for _ in range(2 * count)]
    return [Pair(clips[2 * i], clips[2 * i + 1]) for i in range(count)]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run" / "preferences"
    write_pairs(path, make_pairs(4), QUESTION, [0.9, 0.2, None, 0.5])
    return path


def wanted(key: str, first: bool) -> str:
    """Return the choice that prefers the first segment, or the second."""
    return "left" if first != is_turned(key) else "right"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# Files ----------------------------------------------------------------------------------------------------


def test_pairs_are_kept_once_and_without_loss(folder):
    pairs = make_pairs(4)
    assert write_pairs(folder, pairs, QUESTION) == 0
    sink = FolderSink(folder)
    assert sink.pending() == [pair.key for pair in pairs]
    shown = sink.shown(pairs[1].key)
    assert shown.pair.key == pairs[1].key and shown.question == QUESTION and shown.prediction == 0.2
    sink.close()


def test_answers_survive_and_undo_too(folder):
    keys = [pair.key for pair in make_pairs(4)]
    sink = FolderSink(folder)
    assert sink.put(keys[0], Answer(1.0, "human")) and not sink.put(keys[0], Answer(0.0, "human"))
    assert sink.put(keys[1], Answer(None, "human", "skipped")) and sink.put(keys[2], Answer(0.5, "human"))
    assert (
        sink.take_back(keys[0])
        and not sink.take_back(keys[0])
        and not sink.put("unknown", Answer(1.0, "human"))
    )
    sink.close()
    with (folder / "answers.jsonl").open("ab") as file:
        file.write(b'{"key": "cut off')
    sink = FolderSink(folder)
    assert sink.given() == [Given(keys[1], None, 0.2), Given(keys[2], 0.5, None)]
    assert sink.pending() == [keys[0], keys[3]]
    sink.put(keys[0], Answer(0.0, "human"))
    sink.close()
    assert [g.key for g in FolderSink(folder).given()] == [keys[1], keys[2], keys[0]]


def test_a_full_disk_loses_nothing_and_is_said(folder, monkeypatch):
    keys = [pair.key for pair in make_pairs(4)]
    sink = FolderSink(folder)
    sink.put(keys[0], Answer(1.0, "human"))
    before = (folder / "answers.jsonl").read_bytes()
    write, calls = os.write, []

    def full(descriptor: int, data) -> int:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:7])

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            LabelSession(sink).answer("t", keys[1], "left")
    assert (folder / "answers.jsonl").read_bytes() == before and keys[1] in sink.pending()
    assert LabelSession(sink).answer("t", keys[1], "left") == ""


def test_bad_files_are_named(folder):
    with pytest.raises(UsageError, match="preferences"):
        FolderSink(folder.parent)
    (folder / "answers.jsonl").write_text('{"key": 3}\n')
    with pytest.raises(UsageError, match=r"line 1 of .*answers.jsonl"):
        FolderSink(folder)
    (folder / "answers.jsonl").write_text('{"key": "a", "label": 2}\n')
    with pytest.raises(UsageError, match="label: got 2"):
        FolderSink(folder)
    (folder / "answers.jsonl").unlink()
    file = next((folder / "segments").iterdir())
    file.write_bytes(file.read_bytes()[:-5])
    sink = FolderSink(folder)
    with pytest.raises(UsageError, match="segment"):
        for key in sink.pending():
            sink.shown(key)
    with pytest.raises(UsageError, match="predictions"):
        write_pairs(folder, make_pairs(2), QUESTION, [0.5])


def test_two_processes_do_not_share_a_folder(folder):
    pytest.importorskip("fcntl")
    sink = FolderSink(folder)
    with pytest.raises(UsageError, match="another vlmrl label"):
        FolderSink(folder)
    sink.close()
    FolderSink(folder).close()


# Who is shown what ----------------------------------------------------------------------------------------


def test_labels_follow_the_sides(folder):
    keys = [pair.key for pair in make_pairs(4)]
    sink = FolderSink(folder)
    session = LabelSession(sink, person="ada")
    for key, first in zip(keys, (True, False, True, False), strict=True):
        assert session.state("t")["pair"]["key"] == key
        assert session.answer("t", key, wanted(key, first)) == ""
    assert [g.label for g in sink.given()] == [1.0, 0.0, 1.0, 0.0]
    state = session.state("t")
    assert state["pair"] is None and state["answered"] == 4 and state["agreement"] == {"same": 2, "of": 2}
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert rows[0]["labeller"] == "human" and rows[0]["model"] == "ada" and rows[0]["parameters"]
    sides = {is_turned(pair.key) for pair in make_pairs(40)}
    assert sides == {True, False}
    pair = make_pairs(1)[0]
    left = session.frames(pair.key, "left")
    assert left.key == (pair.second if is_turned(pair.key) else pair.first).key


def test_two_tabs_never_have_the_same_pair():
    pairs = make_pairs(3)
    session = LabelSession(MemorySink(pairs, QUESTION))
    a, b = session.state("a")["pair"]["key"], session.state("b")["pair"]["key"]
    assert a == pairs[0].key and b == pairs[1].key and session.state("a")["pair"]["key"] == a
    assert session.answer("b", a, "left") == ""  # a page that was duplicated
    assert "answered in another tab" in session.answer("a", a, "right")
    assert session.state("a")["pair"]["key"] == pairs[2].key
    assert session.answer("a", "nonsense", "tie") != ""
    assert session.totals()["answered"] == 1


def test_a_closed_tab_gives_its_pair_back():
    clock = Clock()
    session = LabelSession(MemorySink(make_pairs(1), QUESTION), clock=clock)
    key = session.state("a")["pair"]["key"]
    clock.now = LEASE - 1
    session.renew("a")
    clock.now += LEASE - 1
    waiting = session.state("b")
    assert waiting["pair"] is None and waiting["elsewhere"] == 1
    clock.now += 2
    assert session.state("b")["pair"]["key"] == key


def test_undo_goes_back_one_by_one_and_into_earlier_sessions():
    sink = MemorySink(make_pairs(3), QUESTION)
    first = LabelSession(sink)
    keys = sink.pending()
    first.answer("t", keys[0], "tie")
    session = LabelSession(sink)
    session.answer("t", keys[1], "skip")
    session.answer("other", keys[2], "tie")
    assert session.undo("t") == "Undone." and session.state("t")["pair"]["key"] == keys[1]
    assert session.undo("t") == "Undone." and session.state("t")["pair"]["key"] == keys[0]
    assert "nothing" in session.undo("t") and list(sink.answers) == [keys[2]]


def test_the_time_an_answer_took_is_kept():
    clock, sink = Clock(), MemorySink(make_pairs(1), QUESTION)
    session = LabelSession(sink, clock=clock)
    key = session.state("t")["pair"]["key"]
    clock.now = 4.5
    session.answer("t", key, "skip")
    assert sink.answers[key].seconds == 4.5 and sink.answers[key].label is None
    with pytest.raises(UsageError, match="choice"):
        session.answer("t", key, "both")


def test_agreement_counts_what_can_be_compared():
    given = [Given("a", 1.0, 0.7), Given("b", 0.0, 0.7), Given("c", 0.5, 0.7), Given("d", None, 0.1)]
    assert agreement([*given, Given("e", 1.0, None), Given("f", 1.0, 0.5)]) == (1, 2)


def test_filmstrips():
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((1, 10, 20, 3), 40, np.uint8)
    data, size = filmstrip(Segment(frames))
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    assert size == {"frames": 5, "columns": 3, "width": 20, "height": 10} and sheet.shape == (20, 60, 3)
    assert [int(sheet[(n // 3) * 10, (n % 3) * 20, 0]) for n in range(5)] == [0, 40, 80, 120, 160]
    _, size = filmstrip(Segment(np.zeros((300, 100, 2000, 3), np.uint8)))
    assert size["frames"] == 100 and size["width"] == 512 and size["height"] == 26


# The server -----------------------------------------------------------------------------------------------


def ask(server: LabelServer, method: str, path: str, body: object = None, **headers: str):
    """Return (status, headers, content) of one request; path is behind the token unless it starts with /."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    path = path if path.startswith("/") else f"/{server.token}/{path}"
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"} if data is not None else {}
    connection.request(method, path, data, kind | {k.replace("_", "-"): v for k, v in headers.items()})
    reply = connection.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read()
    connection.close()
    return found


def test_a_session_over_http():
    sink = MemorySink(make_pairs(2), QUESTION)
    with LabelServer(LabelSession(sink)) as server:
        status, headers, page = ask(server, "GET", "")
        assert status == 200 and b"<canvas" in page and b"http" not in page.replace(b"http-equiv", b"")
        assert (
            "default-src 'none'" in headers["Content-Security-Policy"]
            and headers["Cache-Control"] == "no-store"
        )
        state = json.loads(ask(server, "POST", "next", {"tab": "t"})[2])
        left = state["pair"]["left"]
        status, headers, png = ask(server, "GET", left["url"])
        assert status == 200 and headers["Content-Type"] == "image/png"
        assert Image.open(io.BytesIO(png)).size == (left["columns"] * left["width"], 2 * left["height"])
        key = state["pair"]["key"]
        state = json.loads(ask(server, "POST", "answer", {"tab": "t", "key": key, "choice": "tie"})[2])
        assert state["answered"] == 1 and state["pair"]["key"] != key and not server.finished.is_set()
        state = json.loads(ask(server, "POST", "undo", {"tab": "t"})[2])
        assert state["answered"] == 0 and state["pair"]["key"] == key and state["notice"] == "Undone."
        assert ask(server, "POST", "renew", {"tab": "t"})[0] == 200
        assert ask(server, "POST", "finish", {"tab": "t"})[0] == 200 and server.finished.wait(5)


def test_the_server_is_for_this_page_alone():
    with LabelServer(LabelSession(MemorySink(make_pairs(1), QUESTION))) as server:
        token, good = server.token, {"tab": "t"}
        assert server.url.startswith("http://127.0.0.1:")
        assert ask(server, "GET", "/")[0] == 404 and ask(server, "GET", "/wrong/")[0] == 404
        assert ask(server, "GET", f"/{token}/clip/../../etc/left.png")[0] == 404
        assert ask(server, "GET", f"/{token}/clip/nokey/left.png")[0] == 404
        assert (
            ask(server, "POST", "/wrong/next", good)[0] == 404
            and ask(server, "POST", "steal", good)[0] == 404
        )
        assert ask(server, "GET", "", Host="evil.example")[0] == 404
        assert ask(server, "POST", "next", good, Origin="http://evil.example")[0] == 404
        assert ask(server, "POST", "next", good, Origin=f"http://127.0.0.1:{server.port}")[0] == 200
        for body in (b"", b"{", b"[1]", {"tab": 3}, {}, {"tab": "x" * 65}, b"[" * 4000, b" " * 9000):
            assert ask(server, "POST", "next", body)[0] == 400
        assert ask(server, "POST", "next", b"tab=t", Content_Type="text/plain")[0] == 400
        status, _, content = ask(server, "POST", "answer", {"tab": "t", "key": "k", "choice": "both"})
        assert status == 500 and "choice" in json.loads(content)["error"]


def test_a_damaged_pair_is_left_out_and_said(folder):
    pairs = make_pairs(4)
    file = folder / "segments" / f"{pairs[0].second.key}.npy"
    file.write_bytes(file.read_bytes()[:-5])
    sink = FolderSink(folder)
    with LabelServer(LabelSession(sink)) as server:
        state = json.loads(ask(server, "POST", "next", {"tab": "t"})[2])
        assert state["pair"]["key"] == pairs[1].key and state["total"] == 3 and "left out" in state["notice"]
        assert server.session.totals()["unreadable"] == 1
    sink.close()


def test_after_the_end_nothing_is_taken():
    sink = MemorySink(make_pairs(1), QUESTION)
    session = LabelSession(sink)
    with LabelServer(session) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", f"/{server.token}/")  # a browser keeps its connection open
        connection.getresponse().read()
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.request("GET", f"/{server.token}/")
        connection.getresponse()
    for late in (lambda: session.answer("t", sink.pending()[0], "tie"), lambda: session.undo("t")):
        with pytest.raises(OSError, match="has ended"):
            late()
    assert not sink.answers


def test_a_port_that_is_taken_is_refused():
    with LabelServer(LabelSession(MemorySink(make_pairs(1), QUESTION))) as server:
        with pytest.raises(UsageError, match="port"):
            LabelServer(server.session, port=server.port)
        for bad in ({"port": 70_000}, {"fps": 0}, {"fps": 100}):
            with pytest.raises(UsageError):
                LabelServer(server.session, **bad)


# The command and the labeller -----------------------------------------------------------------------------


def answer_all(url: str, choices: dict[int, str], finish: bool = True) -> dict[str, int]:
    """Answer over HTTP as the page would, left where nothing else is said; return the agreement shown last."""
    host, token = url.removeprefix("http://").rstrip("/").split("/")
    connection = http.client.HTTPConnection(host, timeout=10)

    def post(what: str, **body: str) -> dict:
        kind = {"Content-Type": "application/json"}
        connection.request("POST", f"/{token}/{what}", json.dumps({"tab": "t", **body}), kind)
        return json.loads(connection.getresponse().read())

    state, number = post("next"), 0
    while state["pair"] is not None and choices.get(number) != "finish":
        state = post("answer", key=state["pair"]["key"], choice=choices.get(number, "left"))
        number += 1
    if finish:
        post("finish")
    return state["agreement"]


def later(*arguments):
    return lambda url: threading.Thread(target=answer_all, args=(url, *arguments), daemon=True).start()


def test_a_run_is_labelled_and_resumed(folder, capsys, monkeypatch):
    totals = label_run(folder.parent, on_ready=later({1: "tie", 2: "finish"}))
    assert (totals["answered"], totals["ties"], totals["pending"], totals["answered_now"]) == (2, 1, 2, 2)
    monkeypatch.setattr("vlmrl.commands.after.say", lambda text: later({})(text.removeprefix("answer at ")))
    assert main(["label", str(folder.parent), "--person", "ada", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["answered"], result["pending"], result["answered_now"]) == (4, 0, 2)


def test_no_pairs_is_said_in_one_line(tmp_path, capsys):
    assert main(["label", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("vlmrl: error: run: got ")


@pytest.fixture
def run_with_store(tmp_path):
    run = RunFolder.create(tmp_path / "run", {"task": get_task("cartpole")}).path
    with PreferenceStore(run / STORE) as store:
        store.add_pairs(make_pairs(4))
        keys = [pair.key for pair in make_pairs(4)]
        store.record(EveryFirst(), make_pairs(2), task_question(get_task("cartpole")), [Answer(1.0, "x")] * 2)
    (run / PREDICTIONS).write_text(
        json.dumps({keys[0]: 0.9 if not is_turned(keys[0]) else 0.1, keys[1]: 0.5})
    )
    return run


class EveryFirst:
    """Another labeller, whose answers a person's leave alone."""

    name, model, parameters = "first", "", {}


def test_a_person_answers_the_pairs_of_a_runs_store_and_resumes(run_with_store, capsys, monkeypatch):
    totals = label_run(run_with_store, person="ada", on_ready=later({1: "tie", 2: "skip", 3: "finish"}))
    assert [totals[k] for k in ("answered", "ties", "skipped", "pending")] == [3, 1, 1, 1]
    assert totals["agreement_with_model"] == 1.0
    monkeypatch.setattr("vlmrl.commands.after.say", lambda text: later({})(text.removeprefix("answer at ")))
    assert main(["label", str(run_with_store), "--person", "ada", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["answered"], result["pending"], result["answered_now"]) == (4, 0, 1)
    question = task_question(get_task("cartpole"))
    with PreferenceStore(run_with_store / STORE) as store:
        found = store.find(HumanLabeller("ada"), make_pairs(4), question)
        left = [float(not is_turned(pair.key)) for pair in make_pairs(4)]
        assert [a.label for a in found] == [left[0], 0.5, None, left[3]] and found[0].model == "ada"
        assert store.pending(HumanLabeller("bob"), question) == [pair.key for pair in make_pairs(4)]
        assert [a.label for a in store.find(EveryFirst(), make_pairs(2), question)] == [1.0, 1.0]


def test_a_store_is_a_sink(run_with_store):
    pairs, question = make_pairs(4), task_question(get_task("cartpole"))
    with PreferenceStore(run_with_store / STORE) as store:
        sink = StoreSink(store, HumanLabeller("ada"), question)
        assert sink.pending() == [pair.key for pair in pairs] and sink.given() == []
        assert sink.shown(pairs[1].key).pair.key == pairs[1].key
        with pytest.raises(KeyError):
            sink.shown("nothing")
        assert sink.put(pairs[0].key, Answer(None, "human")) and not sink.put(
            pairs[0].key, Answer(1.0, "human")
        )
        assert sink.put(pairs[2].key, Answer(0.0, "human")) and not sink.put("nothing", Answer(1.0, "human"))
        assert sink.given() == [Given(pairs[0].key, None), Given(pairs[2].key, 0.0)]
        assert sink.take_back(pairs[0].key) and not sink.take_back(pairs[0].key)
        assert sink.pending() == [pairs[i].key for i in (0, 1, 3)]
        assert sink.put(pairs[0].key, Answer(1.0, "human", seconds=2.5))
        assert [g.key for g in sink.given()] == [pairs[2].key, pairs[0].key]
        assert len(store.answered()) == 4


def test_a_prediction_is_settled_before_the_answer_and_never_made_anew(run_with_store):
    """A model refitted on an answer agrees with it: that would be no agreement."""
    pairs, question = make_pairs(4), task_question(get_task("cartpole"))
    keys, file = [pair.key for pair in pairs], run_with_store / PREDICTIONS

    def predicts(**by_number: float) -> None:
        file.write_text(json.dumps({keys[int(name[1:])]: p for name, p in by_number.items()}))
        os.utime(file, ns=(predicts.now, predicts.now))
        predicts.now += 10**9

    predicts.now = 10**18
    predicts(k0=0.2)
    with PreferenceStore(run_with_store / STORE) as store:
        known = PredictionFile(file)
        sink = StoreSink(store, HumanLabeller("ada"), question, known.of)
        assert sink.shown(keys[0]).prediction == 0.2 and sink.shown(keys[1]).prediction is None
        predicts(k0=0.9, k1=0.9, k2=0.7)  # the run refitted while the person looked at the first two
        for key, label in ((keys[0], 1.0), (keys[1], 1.0), (keys[2], 1.0)):
            assert sink.put(key, Answer(label, "human"))
        assert agreement(sink.given()) == (
            1,
            2,
        )  # of the third, which was first seen after that, it was right
        predicts(k0=1.0, k1=1.0, k2=1.0)
        later_on = StoreSink(store, HumanLabeller("ada"), question, PredictionFile(file).of)
        assert [g.prediction for g in later_on.given()] == [0.2, None, 0.7]
        assert later_on.take_back(keys[0]) and later_on.shown(keys[0]).prediction == 0.2
        assert later_on.put(keys[0], Answer(1.0, "human")) and agreement(later_on.given()) == (1, 2)
    totals = label_run(run_with_store, person="ada", on_ready=later({0: "finish"}))
    assert totals["agreement_with_model"] == 0.5


def test_the_page_is_never_told_a_prediction():
    pairs = make_pairs(2)
    session = LabelSession(MemorySink(pairs, QUESTION, {pair.key: 0.9 for pair in pairs}))
    state = session.state("a")
    assert set(state["pair"]) == {"key", "goal", "baseline"} and state["agreement"] == {"same": 0, "of": 0}
    session.answer("a", pairs[0].key, wanted(pairs[0].key, True))
    assert session.state("a")["agreement"] == {"same": 1, "of": 1}


def test_a_person_asked_by_a_run_is_compared_with_the_model_before_it_learns(tmp_path):
    pairs = make_pairs(2)
    for store in (None, tmp_path / "preferences.sqlite"):
        labeller = HumanLabeller("ada", open_browser=False, store=store)
        labeller.predict = lambda asked: np.array([0.9 if p.key == pairs[0].key else 0.1 for p in asked])
        choices = {n: wanted(pair.key, True) for n, pair in enumerate(pairs)}
        with ThreadPoolExecutor(1) as person:
            started = []
            labeller._options["on_ready"] = lambda url, at=started: at.append(
                person.submit(answer_all, url, choices)  # noqa: B023
            )
            assert [a.label for a in labeller.answer(pairs, QUESTION)] == [1.0, 1.0]
            assert started[0].result() == {"same": 1, "of": 2}


def test_a_person_asked_by_a_store_loses_nothing_and_goes_on(tmp_path):
    pairs = make_pairs(4)
    path = tmp_path / "preferences.sqlite"

    def person(*arguments) -> HumanLabeller:
        return HumanLabeller("ada", open_browser=False, on_ready=later(*arguments), store=path)

    with PreferenceStore(path) as store:
        store.add_pairs(make_pairs(6))  # others that nobody asks now
        with pytest.raises(LabellingStopped, match="2 of 4"):
            store.ask(person({2: "finish"}), pairs, QUESTION)
        assert sum(a is not None for a in store.find(person(), pairs, QUESTION)) == 2
        found = store.ask(person({1: "skip"}), pairs, QUESTION)
        assert (found.asked, found.found) == (2, 2) and [a.label is None for a in found.answers].count(
            True
        ) == 1
        assert len(store.answered(abstained=True)) == 4


def test_each_pair_is_read_once(monkeypatch):
    sink, read = MemorySink(make_pairs(3), QUESTION), []
    shown = sink.shown
    monkeypatch.setattr(sink, "shown", lambda key: read.append(key) or shown(key))
    with LabelServer(LabelSession(sink)) as server:
        for _ in range(3):
            state = server.state("t")
            server.state("t")
            server.session.answer("t", state["pair"]["key"], "tie")
    assert read == [pair.key for pair in make_pairs(3)]


def test_appending_reads_the_end_of_a_file_only(tmp_path, monkeypatch):
    file, sizes = tmp_path / "rows.jsonl", []
    read = os.read
    monkeypatch.setattr(folder_module.os, "read", lambda d, n: sizes.append(n) or read(d, n))
    for key in ("a" * 10_000, "b", "c" * 5_000):
        folder_module._append(file, {"key": key})
    with file.open("ab") as cut:
        cut.write(b"x" * 9_000)
    folder_module._append(file, {"key": "d"})
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["key"][0] for row in rows] == ["a", "b", "c", "d"] and max(sizes) <= folder_module.TAIL
    assert sum(sizes) <= 5 * folder_module.TAIL


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process there")
def test_ctrl_c_is_a_way_to_end_it(folder):
    # A background job hands its children an ignored SIGINT: the program takes it back.
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from vlmrl.cli import main; sys.exit(main(sys.argv[1:]))")  # fmt: skip
    command = [sys.executable, "-c", code, "label", str(folder.parent), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            url = program.stderr.readline().split()[-1]
            answer_all(url, {1: "finish"}, finish=False)
            time.sleep(0.1)
            program.send_signal(signal.SIGINT)
            out, _ = program.communicate(timeout=60)
        finally:
            program.kill()
    assert program.returncode == 0 and json.loads(out)["answered"] == 1


def test_a_person_is_a_labeller():
    pairs = make_pairs(3)
    keys = [pair.key for pair in pairs]
    choices = {0: wanted(keys[0], True), 1: "skip", 2: wanted(keys[2], False)}
    labeller = HumanLabeller("ada", open_browser=False, on_ready=later(choices))
    assert isinstance(labeller, Labeller)
    answers = labeller.answer(pairs, QUESTION)
    assert [a.label for a in answers] == [1.0, None, 0.0] and answers[0].parameters == labeller.parameters
    labeller = HumanLabeller(open_browser=False, on_ready=later({1: "finish"}))
    with pytest.raises(LabellingStopped, match="1 of 3") as caught:
        labeller.answer(pairs, QUESTION)
    assert [answer is None for answer in caught.value.answers] == [False, True, True]
