"""The parts of the chat labeller alone: strict reading, soft labels, waits, pictures, ledgers."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmrl.errors import UsageError
from vlmrl.preferences.chat.answers import Choice, combine, find_answer, read_choice, soft_label
from vlmrl.preferences.chat.budget import Amount, Ledger
from vlmrl.preferences.chat.config import BudgetConfig, ImageConfig, RetryConfig
from vlmrl.preferences.chat.errors import BudgetSpent, GaveUp, Transient
from vlmrl.preferences.chat.images import data_url, segment_images, spread
from vlmrl.preferences.chat.prompts import PROMPTS
from vlmrl.preferences.chat.retry import Retry, retry_after
from vlmrl.preferences.chat.status import read_reply
from vlmrl.preferences.chat.tally import surely_above
from vlmrl.preferences.chat.transport import Endpoint, Reply
from vlmrl.preferences.protocol import Segment

ONE, TWO = PROMPTS["one-stage"], PROMPTS["two-stage"]


# Reading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "prompt", "schema", "option"),
    [
        ('{"answer": "first"}', ONE, True, "first"),
        (' {\n"answer" :"unsure"}\n', ONE, True, "unsure"),
        ('{"answer":-1}', TWO, True, "-1"),
        ("0", TWO, False, "0"),
        ("tie\n", ONE, False, "tie"),
    ],
)
def test_exact_answers_are_read(text, prompt, schema, option):
    found = find_answer(text, prompt, schema)
    assert found is not None and found[0] == option and text[found[1] :].startswith(option)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "first", '"first"', "first.", "First", "0", "1", "-1", "0 1", "I think first", "\u0660"),
        *('{"answer": "first"', '{"answer": "First"}', '{"answer": first}', '{"answer": 0}', '{"answer": null}'),
        *('{"answer": "first", "why": "red"}', '{"answer": "first", "answer": "second"}', '["first"]'),
        *('```json\n{"answer": "first"}\n```', '{"answer": "first"} {"answer": "first"}', '{"answer": "\\u0066irst"}'),
        *('{"Answer": "first"}', '{"answer": ["first"]}', "[" * 900, '{"answer": "first"}' + " " * 2000),
    ],
)  # fmt: skip
def test_everything_else_is_none(text):
    assert find_answer(text, ONE, True) is None


@given(st.text(max_size=60) | st.from_regex(r'[{}" answer:first0-9-]{0,24}', fullmatch=True))
def test_no_text_becomes_a_label_but_an_answer(text):
    for prompt, schema in ((ONE, True), (ONE, False), (TWO, True), (TWO, False)):
        choice = read_choice(text, "stop", "", (), prompt, schema)
        if choice.option is None:
            assert choice.label is None and choice.kind == "unparseable"
        else:
            bare = text.strip(" \t\r\n")
            value = json.loads(bare)["answer"] if schema else bare
            assert str(value) == choice.option and choice.label == dict(prompt.options)[choice.option]


@given(st.binary(max_size=200))
def test_no_body_becomes_a_completion_by_chance(body):
    endpoint = Endpoint("http://127.0.0.1:1/v1", "m", "", "")
    with pytest.raises(Transient):
        read_reply(Reply(200, {}, body), endpoint)


@pytest.mark.parametrize("finish", ["length", "content_filter", "tool_calls", "?"])
def test_an_unfinished_reply_is_none(finish):
    assert read_choice('{"answer": "first"}', finish, "", (), ONE, True).label is None


# Soft labels and orders -----------------------------------------------------------------------------------


def tokens(*texts: str, **alternatives: float) -> list[dict]:
    """Return tokens whose third one has these alternatives with these probabilities."""
    found = [{"token": t, "logprob": 0.0, "top_logprobs": []} for t in texts]
    found[2]["top_logprobs"] = [{"token": t, "logprob": math.log(p)} for t, p in alternatives.items()]
    return found


TEXT = '{"answer": "first"}'
START = TEXT.index("first")


def test_soft_labels_by_hand():
    entries = tokens('{"answer": ', '"', "first", '"}', first=0.6, second=0.2, tie=0.1, un=0.1)
    assert soft_label(entries, TEXT, START, ONE) == pytest.approx((0.6 + 0.05) / 0.9)
    entries = tokens('{"', "answer", '": "fir', 'st"}', **{'": "fir': 0.9, '": "sec': 0.1})
    assert soft_label(entries, TEXT, START, ONE) == pytest.approx(0.9)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        tokens('{"answer": ', '"', "first", "}", first=1.0),  # another text
        tokens('{"answer": ', '"', "first", '"}', first=0.2, bananas=0.8),  # little of it is an answer
        tokens('{"answer": ', '"', "first", '"}', first=0.9, second=0.9),  # no probabilities
        [{"token": 3}],
        [{"token": TEXT, "top_logprobs": [{"token": TEXT, "logprob": float("nan")}]}],
    ],
)
def test_log_probabilities_that_do_not_tell_are_left_alone(entries):
    assert soft_label(entries, TEXT, START, ONE) is None
    assert read_choice(TEXT, "stop", "", entries, ONE, True).label == 1.0


def test_a_soft_label_never_contradicts_the_answer():
    entries = tokens('{"answer": ', '"', "first", '"}', first=0.2, second=0.8)
    assert soft_label(entries, TEXT, START, ONE) == pytest.approx(0.2)
    assert read_choice(TEXT, "stop", "", entries, ONE, True).label == 1.0


@pytest.mark.parametrize(
    ("first", "turned", "label"),
    [
        (1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.5), (0.0, 0.0, 0.5), (0.5, 0.5, 0.5), (1.0, 0.5, 0.5),
        (0.5, 1.0, 0.5), (0.9, 0.3, 0.8), (0.9, 0.6, 0.5), (None, None, None), (1.0, None, None),
    ],
)  # fmt: skip
def test_both_orders(first, turned, label):
    found = combine(Choice("a", first, "unsure"), Choice("b", turned, "unsure")).label
    assert found == label if label is None else found == pytest.approx(label)
    assert combine(Choice("a", first, "unsure"), None).label == first


# Waits ----------------------------------------------------------------------------------------------------


def test_retry_after_as_seconds_or_date():
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    assert retry_after({"retry-after": "12"}) == 12.0
    assert retry_after({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, now) == 30.0
    assert retry_after({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, now) == 0.0
    for odd in ("", "soon", "-3", "nan", "1e9", "9" * 40):
        assert retry_after({"retry-after": odd}, now) is None
    assert retry_after({}) is None


def failing(times: int, **fault):
    calls = []

    def attempt(timeout: float) -> str:
        calls.append(timeout)
        if len(calls) <= times:
            raise Transient("no", **fault)
        return "yes"

    return attempt, calls


def test_waits_grow_are_bounded_and_repeat_with_the_seed():
    def waits(seed: int) -> list[float]:
        slept: list[float] = []
        config = RetryConfig(attempts=9, base=1.0, cap=8.0, deadline=1000.0)
        attempt, _ = failing(8)
        assert Retry(config, clock=lambda: sum(slept), sleep=slept.append, seed=seed).run(attempt) == "yes"
        return slept

    assert waits(0) == waits(0) != waits(1)
    for seed in range(20):
        assert all(0 <= wait <= min(8.0, 2.0**n) for n, wait in enumerate(waits(seed)))


def test_the_deadline_ends_it_and_shortens_the_last_request():
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    config = RetryConfig(attempts=100, base=1.0, deadline=60.0, timeout=40.0)
    attempt, calls = failing(100, retry_after=25.0)
    with pytest.raises(GaveUp, match="3 attempts, the last: no, which asks for 25 s; 60 s are the most"):
        Retry(config, clock=lambda: now[0], sleep=sleep).run(attempt)
    assert len(slept) == 2 and calls[0] == 40.0 and calls[2] < 10.0 and now[0] < 60.0


def test_a_stop_ends_it():
    attempt, calls = failing(100)
    with pytest.raises(GaveUp):
        Retry(RetryConfig(), sleep=lambda _: None).run(attempt, stopped=lambda: len(calls) == 2)
    assert len(calls) == 2


def test_when_failures_are_too_many():
    assert not surely_above(0, 0, 0.5) and not surely_above(9, 9, 0.5) and surely_above(10, 10, 0.5)
    assert not surely_above(60, 200, 0.5) and surely_above(130, 200, 0.5)
    assert not surely_above(200, 200, 1.0)


# Budgets --------------------------------------------------------------------------------------------------


def test_what_is_not_needed_is_free_again():
    ledger = Ledger(BudgetConfig(calls=3, tokens=100))
    with ledger.hold(Amount(1, 60)) as hold:
        hold.settle(Amount(1, 60), Amount(1, 10))
    with ledger.hold(Amount(1, 90)) as hold:
        hold.cover(Amount(1, 90))
        with pytest.raises(BudgetSpent, match=r"budget.tokens: 10 of 100 spent"):
            hold.cover(Amount(1, 91))
    assert ledger.spent == Amount(1, 10, 0.0)
    with pytest.raises(BudgetSpent), ledger.hold(Amount(1, 91)):
        pass


def test_one_who_finds_too_little_waits_for_the_others():
    ledger = Ledger(BudgetConfig(tokens=100))
    inside, leave, got = threading.Event(), threading.Event(), []

    def first() -> None:
        with ledger.hold(Amount(1, 80)) as hold:
            inside.set()
            leave.wait(5)
            hold.settle(Amount(1, 80), Amount(1, 10))

    def second() -> None:
        with ledger.hold(Amount(1, 80)):
            got.append(ledger.spent.tokens)

    threads = [threading.Thread(target=f) for f in (first, second)]
    threads[0].start()
    inside.wait(5)
    threads[1].start()
    assert not got
    leave.set()
    for thread in threads:
        thread.join(5)
    assert got == [10]


# Pictures -------------------------------------------------------------------------------------------------


def decoded(url: str) -> tuple[str, Image.Image, int]:
    kind, _, data = url.partition(";base64,")
    raw = base64.b64decode(data)
    return kind, Image.open(io.BytesIO(raw)), len(raw)


def test_small_frames_are_enlarged_and_large_ones_shrunk():
    small = Segment(np.zeros((1, 64, 64, 3), np.uint8))
    _, image, _ = decoded(segment_images(small, ImageConfig())[0])
    assert image.size == (256, 256)
    large = Segment(np.zeros((1, 3000, 9000, 3), np.uint8))
    _, image, _ = decoded(segment_images(large, ImageConfig(max_side=300))[0])
    assert image.size == (300, 100)
    thin = Segment(np.zeros((1, 1, 9000, 3), np.uint8))
    assert decoded(segment_images(thin, ImageConfig(max_side=300))[0])[1].size == (300, 1)


@pytest.mark.parametrize(
    ("most", "kind"), [(400_000, "data:image/png"), (60_000, "data:image/jpeg"), (3000, "data:image/jpeg")]
)
def test_no_picture_is_larger_than_allowed(most, kind):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    found, _, size = decoded(data_url(noise, ImageConfig(max_bytes=most)))
    assert size <= most and found == kind


def test_frames_are_spread_over_the_clip():
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert [int(f[0, 0, 0]) for f in spread(frames, 4)] == [0, 3, 6, 9]
    assert [int(f[0, 0, 0]) for f in spread(frames, 1)] == [9]
    assert len(spread(frames[:2], 4)) == 2


@pytest.mark.parametrize(
    "frames",
    [np.zeros((0, 4, 4, 3), np.uint8), np.zeros((1, 0, 4, 3), np.uint8), np.zeros((1, 4, 4, 4), np.uint8), np.zeros((1, 4, 4, 3))],
)  # fmt: skip
def test_odd_frames_are_refused(frames):
    with pytest.raises(UsageError):
        segment_images(Segment(frames), ImageConfig())
