"""The chat labeller against a real HTTP server program: answers, faults, budgets, settings, secrets."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chat_server import PASSING, REPLIES, ChatServer, share_of_faults

from vlmrl.errors import UsageError
from vlmrl.preferences.account import abstentions, chat_figures
from vlmrl.preferences.chat import (
    BudgetConfig,
    BudgetSpent,
    ChatConfig,
    ChatLabeller,
    ChatSettingError,
    ImageConfig,
    RetryConfig,
    TooManyFailures,
    measure_injection,
)
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment
from vlmrl.preferences.store import PreferenceStore

QUESTION = Question("to make the square red")
CANARY = "sk-canary-0123456789abcdef"
SMALL = ImageConfig(min_side=16)


def segment(red: int, length: int = 1, seed: int = 0) -> Segment:
    frames = np.random.default_rng(seed).integers(0, 40, (length, 16, 16, 3), np.uint8)
    frames[..., 0] = red
    return Segment(frames)


def make_pairs(count: int) -> list[Pair]:
    rng = np.random.default_rng(1)
    reds = rng.permuted(np.tile(np.arange(20, 250), (count, 1)), axis=1)[:, :2]
    return [
        Pair(segment(int(a), seed=2 * i), segment(int(b), seed=2 * i + 1)) for i, (a, b) in enumerate(reds)
    ]


def truth(pair: Pair) -> float:
    return float(pair.first.frames[..., 0].mean() > pair.second.frames[..., 0].mean())


class Waits(list):
    """Records what was slept, and sleeps none of it."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def make(server: ChatServer | str, waits: Waits | None = None, key: str = "", **settings) -> ChatLabeller:
    url = server if isinstance(server, str) else server.url
    settings.setdefault("images", SMALL)
    settings.setdefault("retry", RetryConfig(timeout=1.0))
    config = ChatConfig(base_url=url, model="tiny-vlm", **settings)
    environ = {"OPENAI_API_KEY": key} if key else {}
    return ChatLabeller(config, environ=environ, sleep=Waits() if waits is None else waits)


# Good answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["one-stage", "two-stage"])
@pytest.mark.parametrize("json_schema", [True, False])
def test_answers_what_the_pictures_show(prompt, json_schema):
    pairs = make_pairs(6)
    with ChatServer() as server:
        labeller = make(server, prompt=prompt, json_schema=json_schema)
        assert isinstance(labeller, Labeller)
        answers = labeller.answer(pairs, QUESTION)
    assert [a.label for a in answers] == [truth(pair) for pair in pairs]
    assert all(a.labeller == "chat" and a.model == "tiny-vlm" for a in answers)
    stages = 2 if prompt == "two-stage" else 1
    assert len(server.seen) == 6 * 2 * stages and all(a.tokens == 107 * 2 * stages for a in answers)
    report = labeller.report()
    assert (report.first_share, report.flip_rate, report.failure_rate) == (0.5, 0.0, 0.0)
    json.dumps(answers[0].parameters, allow_nan=False)
    assert answers[0].parameters["prompt"].startswith(f"{prompt}@")
    heard = {"kind": "", "orders": [truth(pairs[0]), 1 - truth(pairs[0])], "calls": 2 * stages}
    assert answers[0].parameters == {**labeller.parameters, "heard": heard}


def test_the_two_stage_question_is_worded_as_published():
    with ChatServer() as server:
        make(server, prompt="two-stage", guard=False, both_orders=False, json_schema=False).answer(
            make_pairs(1), Question("to open the drawer")
        )
    (first, second) = [body["messages"] for _, body in server.seen]
    texts = [part["text"] for part in first[0]["content"] if part["type"] == "text"]
    assert texts == [
        "Consider the following two images:\nImage 1:",
        "Image 2:",
        "1. What is shown in Image 1?\n2. What is shown in Image 2?\n3. The goal is to open the drawer. Is there any "
        "difference between Image 1 and Image 2 in terms of achieving the goal?",
    ]
    assert [part["type"] for part in first[0]["content"]] == ["text", "image_url"] * 2 + ["text"]
    assert isinstance(second[0]["content"], str) and len(first) == len(second) == 1
    assert second[0]["content"].endswith(
        "Reply a single line of 0 if the goal is better achieved in Image 1, or 1 if it is better achieved in Image 2."
        "\nReply -1 if the text is unsure or there is no difference."
    )


def test_a_biased_model_teaches_nothing_and_is_found_out():
    with ChatServer(mode="biased") as server:
        labeller = make(server)
        answers = labeller.answer(make_pairs(5), QUESTION)
    assert [a.label for a in answers] == [0.5] * 5 and "orders disagree" in answers[0].reason
    report = labeller.report()
    assert (report.first_share, report.flip_rate, report.ties) == (1.0, 1.0, 5)
    kept = chat_figures(answers)
    assert (kept["first_share"], kept["flip_rate"], kept["unparseable_rate"]) == (1.0, 1.0, 0.0)
    assert chat_figures([Answer(1.0, "encoder")]) == {}


def test_a_tie_is_one_and_unsure_is_none():
    same_red = [Pair(segment(90, seed=1), segment(90, seed=2))]
    for part in (same_red[0].first.frames, same_red[0].second.frames):
        part[..., 1:] = 0
    same_red[0].second.frames[0, 0, 0] = (90, 0, 0)
    tie = Pair(Segment(same_red[0].first.frames), Segment(np.concatenate([same_red[0].first.frames] * 2)))
    with ChatServer() as server:
        images = replace(SMALL, layout="images")
        one = make(server, images=images).answer([tie], QUESTION)
        two = make(server, images=images, prompt="two-stage").answer([tie], QUESTION)
    assert one[0].label == 0.5 and "tie" in one[0].reason
    assert two[0].label is None and two[0].reason == "unsure"


def test_log_probabilities_become_soft_labels():
    pairs = make_pairs(4)
    with ChatServer(mode="soft") as server:
        for prompt in ("one-stage", "two-stage"):
            answers = make(server, logprobs=True, prompt=prompt).answer(pairs, QUESTION)
            assert [round(a.label, 6) for a in answers] == [0.8 if truth(p) else 0.2 for p in pairs]
        hard = make(server).answer(pairs, QUESTION)
    assert [a.label for a in hard] == [truth(p) for p in pairs]


def test_at_a_temperature_above_zero_each_sample_is_an_answer_of_its_own(tmp_path):
    pairs = make_pairs(2)
    with ChatServer() as server, PreferenceStore(tmp_path / "store.sqlite") as store:
        for asked, settings in enumerate(
            ({}, {"temperature": 0.7}, {"temperature": 0.7, "sample": 1}, {"temperature": 0.9, "seed": 5}), 1
        ):
            labeller = make(server, **settings)
            assert store.ask(labeller, pairs, QUESTION).asked == 2 and len(server.seen) == 4 * asked
            assert store.ask(make(server, **settings), pairs, QUESTION).asked == 0, "a run taken up asks anew"
            assert labeller.is_deterministic == (not settings)
        assert len(store.answered()) == 8
        make(server, temperature=0.7, sample=2, seed=5).answer(pairs[:1], QUESTION)
        assert [body.get("seed") for _, body in server.seen[-2:]] == [7, 7]
        assert "sample" not in make(server).parameters, "answers at temperature 0 got another key"
    for settings in ({"sample": 1}, {"sample": -1, "temperature": 1.0}):
        with pytest.raises(UsageError, match="sample: got"):
            ChatConfig(**settings)


def test_clips_are_sent_as_a_strip_or_as_pictures():
    pair = Pair(segment(200, 6), segment(30, 6, seed=3))
    with ChatServer() as server:
        for layout, count in (("strip", 1), ("images", 3)):
            images = replace(SMALL, layout=layout, max_frames=3)
            assert make(server, images=images).answer([pair], QUESTION)[0].label == 1.0
            content = server.seen[-1][1]["messages"][-1]["content"]
            assert sum(part["type"] == "image_url" for part in content) == 2 * count
            assert "clip" in content[-1]["text"]


def test_pairs_that_look_the_same_are_not_paid_for():
    frames = np.full((1, 2000, 2000, 3), 100, np.uint8)
    other = frames.copy()
    other[0, 0, 0] = 101
    with ChatServer() as server:
        (answer,) = make(server, images=ImageConfig(max_side=64)).answer(
            [Pair(Segment(frames), Segment(other))], QUESTION
        )
    assert answer.label is None and answer.reason.startswith("same picture") and not server.seen


def test_no_more_requests_at_a_time_than_workers():
    with ChatServer() as server:
        make(server, workers=3).answer(make_pairs(20), QUESTION)
    assert 1 <= server.most_at_once <= 3


def test_answers_are_handed_on_as_they_come():
    pairs = make_pairs(5)
    with ChatServer(lambda number, *_: "404 gone" if number >= 6 else "") as server:
        taken = []
        with pytest.raises(ChatSettingError):
            for group in make(server, workers=1).stream(pairs, QUESTION):
                taken += [(place, answer.label) for place, answer in group]
    assert taken == [(i, truth(pair)) for i, pair in enumerate(pairs[:3])]


def test_each_paid_answer_is_in_the_store_at_once(tmp_path):
    pairs = make_pairs(5)
    with PreferenceStore(tmp_path / "preferences.sqlite") as store:
        with ChatServer(lambda number, *_: "404 gone" if number >= 6 else "") as server:
            with pytest.raises(ChatSettingError):
                store.ask(make(server, workers=1), pairs, QUESTION)
            kept = store.find(make(server), pairs, QUESTION)
        assert [a and a.label for a in kept] == [*map(truth, pairs[:3]), None, None]
        with ChatServer() as server:
            found = store.ask(make(server), pairs, QUESTION)
            assert (found.asked, found.found, len(server.seen)) == (2, 3, 4)
        assert [a.label for a in found.answers] == [truth(pair) for pair in pairs]


# Faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["one-stage", "two-stage"])
def test_three_in_ten_requests_spoilt_give_no_wrong_label(prompt):
    """The issue's figure, against the server as a program of its own."""
    pairs = make_pairs(100)
    program = [sys.executable, str(Path(__file__).parent / "chat_server.py"), "--faults", "0.3"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        waits = Waits()
        labeller = make(url, waits, prompt=prompt, workers=8)
        answers = labeller.answer(pairs, QUESTION)
        served = json.loads(server.communicate()[0])
    labels = [(a.label, truth(pair)) for a, pair in zip(answers, pairs, strict=True)]
    assert all(label is None or label == true for label, true in labels)
    report = labeller.report()
    assert report.calls >= served["requests"] and set(served["faults"]) == {*REPLIES, *PASSING}
    assert 0.2 < sum(served["faults"].values()) / served["requests"] < 0.4
    assert report.labels == sum(label is not None for label, _ in labels) > 30
    assert sum(report.abstentions.values()) + report.open == 100 - report.labels
    assert report.open == sum(a.is_open for a in answers) and 0.05 < report.failure_rate < 0.35
    assert report.repeated == len(waits) > 0
    said = [a for a in answers if not a.is_open]
    kept = chat_figures(said, [a for a in answers if a.is_open])  # what is left of it all once it was kept
    assert (kept["first_share"], kept["flip_rate"], kept["calls"]) == pytest.approx(
        (report.first_share, report.flip_rate, report.calls)
    )
    unparseable = report.abstentions["unparseable"] + report.abstentions["cut off"]
    assert kept["unparseable_rate"] == pytest.approx(unparseable / len(said))
    counted = abstentions(said)
    assert counted["unparseable"] == unparseable and counted["refused"] == report.abstentions["refusal"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again(fault):
    waits = Waits()
    with ChatServer(lambda number, repetition, _: fault if repetition < 2 else "") as server:
        labeller = make(server, waits, both_orders=False)
        (answer,) = labeller.answer(make_pairs(1), QUESTION)
    assert answer.label is not None and len(server.seen) == 3 and len(waits) == 2


@pytest.mark.parametrize("fault", REPLIES)
def test_bad_replies_abstain_and_are_not_asked_again(fault):
    with ChatServer(lambda *_: fault) as server:
        labeller = make(server)
        answers = labeller.answer(make_pairs(3), QUESTION)
    assert [a.label for a in answers] == [None] * 3 and len(server.seen) == 3
    kind = {"refusal": "refusal", "cut": "cut off"}.get(fault, "unparseable")
    assert labeller.report().abstentions == {kind: 3} and labeller.report().failure_rate == 1.0


def test_n_faults_take_at_most_the_attempts_and_then_leave_the_question_open():
    waits = Waits()
    with ChatServer(lambda *_: "500") as server:
        labeller = make(server, waits, retry=RetryConfig(attempts=3))
        (answer,) = labeller.answer(make_pairs(1), QUESTION)
    assert answer.is_open and answer.reason == "gave up: 3 attempts, the last: status 500"
    assert len(server.seen) == 3 and len(waits) == 2
    assert waits[0] <= 1 and waits[1] <= 2
    report = labeller.report()
    assert (report.pairs, report.open, report.abstentions, report.failures) == (1, 1, {}, 1)


@pytest.mark.parametrize("fault", ["429", "500", "half-json", "timeout"])
def test_what_the_network_swallowed_is_asked_again_and_what_was_said_is_not(fault, tmp_path):
    """RL-VLM-F makes a failed call a label of -1, and keeps it."""
    pairs, broken = make_pairs(6), [True]

    def script(number, repetition, digest):
        if not broken:
            return ""
        return "prose" if number == 0 else fault if number < 5 else ""

    retry = RetryConfig(attempts=2, timeout=1.0)
    with PreferenceStore(tmp_path / "store.sqlite") as store, ChatServer(script) as server:
        labeller = make(server, workers=1, retry=retry)
        found = store.ask(labeller, pairs, QUESTION).answers
        assert [a.is_open for a in found] == [False, True, True, False, False, False]
        assert found[0].label is None and labeller.report().abstentions == {"unparseable": 1}
        assert store.pending(labeller, QUESTION) == [p.key for p in pairs[1:3]]
        paid = sum(a.tokens for a in found)
        assert paid == labeller.report().tokens, "what the failures cost was lost"
        broken.clear()
        asked = len(server.seen)
        again = store.ask(make(server, workers=1), pairs, QUESTION)
        assert (again.asked, again.found, len(server.seen) - asked) == (2, 4, 4)
        assert [a.label for a in again.answers] == [None, *map(truth, pairs[1:])]
        (total,) = store.totals()
        assert total["failures"] == 2 and total["tokens"] == paid + 4 * 107


def test_retry_after_is_honoured_up_to_the_deadline():
    waits = Waits()
    with ChatServer(lambda number, repetition, _: "429" if repetition == 0 else "") as server:
        server.retry_after = "7"
        assert make(server, waits, both_orders=False).answer(make_pairs(1), QUESTION)[0].label is not None
        assert len(waits) == 1 and 7 <= waits[0] <= 8
        server.retry_after = "7000"
        (answer,) = make(server, waits, both_orders=False).answer(make_pairs(2)[1:], QUESTION)
    assert answer.is_open and "asks for 7000 s" in answer.reason and len(waits) == 1


def test_a_broken_server_is_left_after_a_few_requests_with_what_was_answered():
    pairs = make_pairs(100)
    with ChatServer(lambda number, *_: "prose" if number >= 12 else "") as server:
        labeller = make(server, workers=1)
        with pytest.raises(TooManyFailures, match=r"replies were unusable \(\d+ unparseable\)") as caught:
            labeller.answer(pairs, QUESTION)
    answers = caught.value.answers
    assert len(answers) == 100 and [a.label for a in answers[:6]] == [truth(p) for p in pairs[:6]]
    assert answers[-1] is None and len(server.seen) < 60


def test_no_server_at_all():
    with ChatServer() as server:
        url = server.url
    labeller = make(url, retry=RetryConfig(attempts=2), workers=1)
    with pytest.raises(TooManyFailures, match="gave up"):
        labeller.answer(make_pairs(50), QUESTION)


def test_interrupted_what_is_under_way_is_finished_and_handed_over(monkeypatch):
    from vlmrl.preferences.chat import labeller as module

    pairs, waits = make_pairs(50), []

    def interrupted(*arguments, **options):
        waits.append(1)
        if len(waits) == 3:
            raise KeyboardInterrupt
        return wait(*arguments, **options)

    wait = module.wait
    monkeypatch.setattr(module, "wait", interrupted)
    with ChatServer() as server, pytest.raises(KeyboardInterrupt) as caught:
        make(server, workers=2).answer(pairs, QUESTION)
    given = [answer for answer in caught.value.answers if answer is not None]
    assert 2 * len(given) == len(server.seen) < 50


# Settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "401 Incorrect API key provided: sk-can",
            "key: got status 401; expected a key that the server accepts",
        ),
        ("403 no access", "permission: got status 403"),
        ("404 The model `tiny-vlm` does not exist", "model: got status 404"),
        ("404 nothing here", "base_url: got status 404"),
        ("307 elsewhere", "base_url: got status 307"),
        ("400 response_format is not supported", "json_schema: got status 400"),
        ("400 max_tokens is not supported", "limit_field: got status 400"),
        ("400 logprobs unavailable", "logprobs: got status 400"),
        ("400 what", "request: got status 400 (what)"),
        ("413 too large", "images: got status 413"),
        ("429 insufficient_quota", "key: got status 429"),
    ],
)
def test_a_wrong_setting_is_named_and_not_asked_again(fault, message):
    pairs = make_pairs(40)
    waits = Waits()
    script = lambda number, *_: fault if number >= 2 else ""  # noqa: E731
    with ChatServer(script) as server, pytest.raises(ChatSettingError) as caught:
        make(server, waits, key=CANARY, workers=1).answer(pairs, QUESTION)
    assert isinstance(caught.value, UsageError) and message in str(caught.value)
    assert caught.value.answers[0].label == truth(pairs[0]) and caught.value.answers[1:] == [None] * 39
    assert len(server.seen) == 3 and not waits and "sk-can" not in str(caught.value)


@pytest.mark.parametrize(("budget", "most"), [(BudgetConfig(), 4), (BudgetConfig(calls=2), 1)])
def test_other_workers_stop_too(budget, most):
    with ChatServer(lambda *_: "401 no") as server, pytest.raises(ChatSettingError, match="OPENAI_API_KEY"):
        make(server, workers=4, budget=budget).answer(make_pairs(40), QUESTION)
    assert len(server.seen) <= most


@pytest.mark.parametrize(
    ("environ", "settings", "message"),
    [
        ({}, {"base_url": ""}, "base_url: got ''"),
        ({"OPENAI_BASE_URL": "ftp://a"}, {"base_url": ""}, "base_url: got 'ftp://a'"),
        ({}, {"base_url": "http://127.0.0.1:99999/v1"}, "base_url: got"),
        (
            {"OPENAI_API_KEY": CANARY},
            {"base_url": "https://me:secret@a.example/v1"},
            "base_url: got one with more",
        ),
        ({}, {"base_url": "https://a.example/v1"}, "key: got none in OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": CANARY}, {"base_url": "http://a.example/v1"}, "base_url: got http with a key"),
        ({"OPENAI_API_KEY": CANARY + "\nx"}, {}, "key: got one with odd characters"),
        ({}, {"model": ""}, "model: got none"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_sent(environ, settings, message):
    config = ChatConfig(**{"base_url": "http://127.0.0.1:1/v1", "model": "m", **settings})
    with pytest.raises(UsageError) as caught:
        ChatLabeller(config, environ=environ)
    assert message in str(caught.value)
    assert CANARY not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "make_config",
    [
        lambda: ChatConfig(workers=0),
        lambda: ChatConfig(max_failure_rate=0.0),
        lambda: BudgetConfig(cost=1.0),
        lambda: BudgetConfig(tokens=-1),
        lambda: RetryConfig(attempts=0),
        lambda: ImageConfig(max_bytes=10),
    ],
)
def test_bad_numbers_are_refused(make_config):
    with pytest.raises(UsageError):
        make_config()


def test_a_goal_is_needed():
    with pytest.raises(UsageError, match="goal"):
        make("http://127.0.0.1:1/v1").answer(make_pairs(1), Question("  "))


def test_addresses_are_completed():
    for given, asked in (
        ("http://localhost:8000", "http://localhost:8000/v1/chat/completions"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1/chat/completions"),
        ("https://a.example/api/v1", "https://a.example/api/v1/chat/completions"),
    ):
        config = ChatConfig(base_url=given, model="m", key_variable="")
        assert ChatLabeller(config, environ={}).endpoint.url == asked


def test_the_key_goes_to_the_server_and_nowhere_else(caplog):
    caplog.set_level(logging.DEBUG)
    with ChatServer(lambda *_: f"500 {CANARY}") as server:
        labeller = make(server, key=CANARY)
        answers = labeller.answer(make_pairs(1), QUESTION)
    with ChatServer(lambda *_: f"400 {CANARY}") as server, pytest.raises(ChatSettingError) as caught:
        make(server, key=CANARY).answer(make_pairs(1), QUESTION)
    assert server.seen[0][0]["authorization"] == f"Bearer {CANARY}"
    shown = [
        repr(answers),
        repr(labeller.endpoint),
        repr(labeller.parameters),
        str(caught.value),
        caplog.text,
    ]
    assert not any(CANARY in text for text in [*shown, json.dumps(server.seen[0][1])])


# Budgets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        (BudgetConfig(calls=9), lambda r: r.calls <= 9),
        (BudgetConfig(tokens=15_000), lambda r: r.tokens <= 15_000),
        (BudgetConfig(cost=0.02, prompt_price=1.0, completion_price=4.0), lambda r: r.cost <= 0.02),
    ],
)
@pytest.mark.parametrize("faults", [0.0, 0.3])
def test_budgets_end_asking_before_they_are_passed(budget, spent, faults):
    pairs = make_pairs(200)
    with ChatServer(share_of_faults(faults, ("500", "half-json", "prose"))) as server:
        labeller = make(server, budget=budget)
        with pytest.raises(BudgetSpent, match=r"budget\.\w+: .* spent; the next") as caught:
            labeller.answer(pairs, QUESTION)
    report, answers = labeller.report(), caught.value.answers
    assert spent(report) and len(server.seen) == report.calls
    given = [(a, p) for a, p in zip(answers, pairs, strict=True) if a is not None]
    assert 0 < len(given) < 200 and all(a.label in (None, truth(p)) for a, p in given)
    if not faults:  # nothing is paid for that is not handed over
        assert sum(a.tokens for a, _ in given) == report.tokens


def test_a_budget_of_nothing_sends_nothing():
    with ChatServer() as server, pytest.raises(BudgetSpent) as caught:
        make(server, budget=BudgetConfig(calls=1)).answer(make_pairs(3), QUESTION)
    assert not server.seen and caught.value.answers == [None] * 3


def test_without_usage_the_worst_case_counts():
    with ChatServer() as server:
        server.usage = None
        labeller = make(server, both_orders=False)
        (answer,) = labeller.answer(make_pairs(1), QUESTION)
        assert answer.tokens > 2 * 3000
        server.usage = {"prompt_tokens": 50_000, "completion_tokens": 1}  # more than the bound: it is raised
        labeller = make(server, both_orders=False, budget=BudgetConfig(tokens=110_000), workers=1)
        with pytest.raises(BudgetSpent):
            labeller.answer(make_pairs(5), QUESTION)
    assert labeller.report().tokens == 100_002


# Text in frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "rate"), [("gullible", 1.0), ("honest", 0.0)])
def test_text_in_frames_is_measured(mode, rate):
    pairs = make_pairs(4)
    with ChatServer(mode=mode) as server:
        report = measure_injection(make(server, images=ImageConfig()), pairs, QUESTION)
    assert report.decided == 12 and report.flip_rate == rate and set(report.by_text.values()) == {rate}


def test_injection_needs_pairs():
    with pytest.raises(UsageError, match="injection"):
        measure_injection(make("http://127.0.0.1:1/v1"), [], QUESTION)


def test_a_reply_that_trickles_in_ends_at_the_timeout():
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not done.wait(0.05):
            try:
                connection.sendall(b"x")
            except OSError:
                return

    threading.Thread(target=trickle, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    start = time.monotonic()
    (answer,) = make(url, retry=RetryConfig(attempts=1, timeout=0.3)).answer(make_pairs(1), QUESTION)
    done.set()
    listener.close()
    assert answer.is_open and "timeout" in answer.reason and time.monotonic() - start < 5
