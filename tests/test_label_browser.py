"""The labelling page in a real browser: keys, loops, undo, resuming, two tabs, accessible names, no errors."""

from __future__ import annotations

import numpy as np
import pytest
from browser import chromium

from vlmrl.preferences.human import FolderSink, write_pairs
from vlmrl.preferences.human.server import LabelServer
from vlmrl.preferences.human.session import LabelSession, is_turned
from vlmrl.preferences.protocol import Pair, Question, Segment

PAIR = "document.body.dataset.pair"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    grey = [np.full((5, 24, 32, 3), shade, np.uint8) for shade in rng.permutation(np.arange(20, 240, 10))]
    for clip in grey:
        clip[:, :, :, 2] = 10 * np.arange(5)[:, None, None]  # each frame has its own blue
    pairs = [Pair(Segment(grey[2 * i]), Segment(grey[2 * i + 1])) for i in range(5)]
    write_pairs(tmp_path, pairs, Question("to open the <b>drawer</b>"), [0.9] * 5)
    return tmp_path


def act(tab, key: str) -> None:
    """Press a key and wait for the next pair."""
    before = tab.run(PAIR)
    tab.press(key)
    tab.until(f"{PAIR} !== '{before}' && !busy")


def ready(tab, url: str) -> None:
    tab.open(url)
    tab.until(f"{PAIR} && !busy")


def labels(folder) -> list[float | None]:
    sink = FolderSink(folder)
    sink.close()
    return [given.label for given in sink.given()]


def test_keys_alone_answer_everything_and_it_resumes(browser, folder):
    sink = FolderSink(folder)
    keys = sink.pending()
    with LabelServer(LabelSession(sink), fps=30) as server:
        tab = browser.tab()
        ready(tab, server.url)
        assert tab.run("document.getElementById('goal').textContent") == "to open the <b>drawer</b>"
        assert tab.run("document.activeElement.tagName") == "BODY"
        for key in ("ArrowLeft", "ArrowRight", "ArrowDown"):
            act(tab, key)
        assert tab.run("document.getElementById('answered').textContent") == "3 of 5"
        assert "of 2)" in tab.run("document.getElementById('agreement').textContent")
        act(tab, "u")
        assert tab.run(PAIR) == keys[2]
        act(tab, " ")
        act(tab, "s")
        assert tab.problems == []
    sink.close()
    left, right = (1.0 - is_turned(keys[0]), 0.0 + is_turned(keys[1]))
    assert labels(folder) == [left, right, 0.5, None]

    sink = FolderSink(folder)
    with LabelServer(LabelSession(sink)) as server:  # the next day
        tab = browser.tab()
        ready(tab, server.url)
        assert tab.run(PAIR) == keys[4] and tab.run("document.getElementById('skipped').textContent") == "1"
        act(tab, "ArrowLeft")
        assert tab.run(PAIR) == "none"
        assert "All pairs are answered" in tab.run("document.getElementById('donetext').textContent")
        act(tab, "f")
        assert server.finished.wait(5) and "Saved: 5 of 5" in tab.run("document.body.innerText")
        assert tab.problems == []
    sink.close()


def test_clips_loop_show_the_right_side_and_pause(browser, folder):
    sink = FolderSink(folder)
    pair = sink.shown(sink.pending()[0]).pair
    with LabelServer(LabelSession(sink), fps=60) as server:
        tab = browser.tab()
        ready(tab, server.url)
        tab.until("document.getElementById('left').dataset.frame === '4'")
        tab.until("document.getElementById('left').dataset.frame === '1'")  # from the start again
        tab.press("p")
        still = tab.run("document.getElementById('left').dataset.frame")
        assert (
            tab.run(
                "new Promise(r => setTimeout(r, 200)).then(() => document.getElementById('left').dataset.frame)"
            )
            == still
        )
        pixel = "Array.from(document.getElementById('{}').getContext('2d').getImageData(5, 5, 1, 1).data).slice(0, 3)"
        left, right = (pair.second, pair.first) if is_turned(pair.key) else (pair.first, pair.second)
        for side, segment in (("left", left), ("right", right)):
            frame = int(tab.run(f"document.getElementById('{side}').dataset.frame"))
            assert tab.run(pixel.format(side)) == segment.frames[frame, 5, 5].tolist()
    sink.close()


def test_the_mouse_works_and_leaves_the_keys_alone(browser, folder):
    sink = FolderSink(folder)
    first = sink.pending()[0]
    with LabelServer(LabelSession(sink)) as server:
        tab = browser.tab()
        ready(tab, server.url)
        tab.click("[data-choice=left]")
        tab.until(f"{PAIR} !== '{first}' && !busy")
        act(tab, " ")  # a tie, not the button that was clicked
    sink.close()
    assert labels(folder) == [1.0 - is_turned(first), 0.5]


def test_two_tabs_answer_different_pairs(browser, folder):
    sink = FolderSink(folder)
    with LabelServer(LabelSession(sink)) as server:
        one, two = browser.tab(), browser.tab()
        ready(one, server.url)
        ready(two, server.url)
        assert one.run(PAIR) != two.run(PAIR)
        for tab in (one, two, one, two, one):
            act(tab, "ArrowLeft")
        assert (one.run(PAIR), two.run(PAIR)) == ("none", "none")
    sink.close()
    assert len(labels(folder)) == 5


def test_everything_has_a_name_and_fits(browser, folder):
    sink = FolderSink(folder)
    with LabelServer(LabelSession(sink)) as server:
        tab = browser.tab()
        ready(tab, server.url)
        nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
        named = [
            (n["role"]["value"], n["name"]["value"]) for n in nodes if not n.get("ignored") and "name" in n
        ]
        buttons = [name for role, name in named if role == "button"]
        assert len(buttons) == 7 and all(buttons) and "Left clip is closer to the goal" in buttons
        assert ("progressbar", "Pairs answered") in [(role.lower(), name) for role, name in named]
        assert any(role == "status" for role in (n["role"]["value"] for n in nodes))
        tab.press("Tab")
        assert tab.run("document.activeElement.dataset.choice") == "left"
        act(tab, "Enter")
        for width, height in ((1280, 800), (390, 760)):
            small = browser.tab(width, height)
            ready(small, server.url)
            assert small.run("document.documentElement.scrollWidth <= innerWidth")
            assert small.run("document.documentElement.scrollHeight <= innerHeight")
    sink.close()


def test_a_server_that_is_gone_is_said(browser, folder):
    sink = FolderSink(folder)
    with LabelServer(LabelSession(sink)) as server:
        tab = browser.tab()
        ready(tab, server.url)
    sink.close()
    tab.press("ArrowLeft")
    tab.until("document.getElementById('notice').textContent.includes('does not answer')")
    assert labels(folder) == []
