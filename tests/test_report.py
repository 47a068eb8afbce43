"""The page of a run: self-contained, escaped, its plots right."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlmrl.errors import UsageError
from vlmrl.plots import Curve, line_plot, nice_ticks, short_number, smooth, thin
from vlmrl.report import ReportData, headline, render_report, write_run_report
from vlmrl.runs import RunFolder
from vlmrl.tasks import get_task
from vlmrl.video import write_video

ROWS = [
    {"global_step": step * 1000, "vlm_reward": step / 100, "env_reward": 0.5, "success": min(1.0, step / 50)}
    for step in range(1, 101)
]


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "data", "poster")]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_run_becomes_one_page_without_external_resources(tmp_path):
    with RunFolder.create(tmp_path / "run", {"task": get_task("cartpole"), "seed": 0}) as run:
        for row in ROWS:
            run.log(row["global_step"], row)
    for name in ("after", "before"):
        write_video(run.path / "videos" / f"{name}.mp4", np.zeros((2, 32, 32, 3), np.uint8))
    path = write_run_report(
        run.path, evaluation={"success": 0.98, "episodes": 100, "success_interval": [0.9, 1]}
    )
    text = path.read_text()
    page = Page(text)
    assert path == run.path / "report.html" and page.open == []
    assert len(page.references) == 2  # the videos
    assert all(reference.startswith("data:video/mp4;base64,") for reference in page.references)
    assert "script" not in page.tags and "link" not in page.tags
    assert "default-src 'none'" in text and not re.search(r"https?://|url\(|@import", text)
    assert "pole vertically upright on top of the cart" in text and "pole and cart" in text
    assert "98%" in text and "success in 100 episodes (95% between 90% and 100%)" in text
    assert text.index(">before<") < text.index(">after<")
    assert text.count("<svg") == 2 and "prefers-color-scheme:dark" in text
    assert "numpy" in text and "cartpole" in text
    assert write_run_report(run.path) == path  # an earlier page is replaced


def test_a_run_without_anything_still_has_a_page(tmp_path):
    RunFolder.create(tmp_path / "run", {}).close()
    assert Page(write_run_report(tmp_path / "run").read_text()).open == []
    with pytest.raises(UsageError, match="run: got"):
        write_run_report(tmp_path)
    with pytest.raises(UsageError, match="report: got"):
        write_run_report(tmp_path / "run", path=tmp_path / "none" / "a.html")


@settings(max_examples=30, deadline=None)
@given(words=st.text(max_size=60))
def test_words_are_escaped(words):
    hostile = words + '<script>alert("x")</script>{body}{style}</style>'
    page = render_report(
        ReportData(
            goal=[hostile], baseline=[hostile], title=hostile, subtitle=hostile, command=hostile,
            settings={hostile: hostile}, versions={hostile: hostile}, figures=[(hostile, hostile)],
        )
    )  # fmt: skip
    assert "<script" not in page and "alert(&quot;x&quot;)" in page
    assert page.count("</style>") == 1


def test_a_control_is_called_a_control():
    data = ReportData(["a"], ["b"], "t", metrics=ROWS, settings={"reward": "constant"})
    assert "Reward of the control: constant" in render_report(data)


def test_the_headline_prefers_the_evaluation():
    assert headline(ROWS, {})[0] == ("success in training, last", "100%")
    assert headline(ROWS, {"success": 0.5})[0] == ("success", "50%")
    assert ("environment steps", "100,000") in headline(ROWS, {})
    assert headline([], {}) == []
    assert headline([{"global_step": 1, "vlm_reward": None, "success": None}], {"success": None}) == [
        ("environment steps", "1")
    ]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 150_000, [0, 50_000, 100_000, 150_000]),
        (0.39, 0.76, [0.4, 0.5, 0.6, 0.7]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_lie_within(low, span):
    ticks = nice_ticks(low, low + span)
    assert len(ticks) <= 8
    assert all(low - span * 1e-6 - 1e-6 <= tick <= low + span * (1 + 1e-6) + 1e-6 for tick in ticks)


def test_numbers_are_short():
    assert [short_number(v) for v in (0, 0.25, 1500, 250_000, 1.5e6, -0.5)] == [
        *("0", "0.25", "1.5k", "250k", "1.5M", "−0.5")
    ]


def test_thinning_and_smoothing_keep_what_matters():
    line = [(float(x), 2.0 * x) for x in range(1000)]
    assert len(thin(line, 100)) == 100
    assert thin(line, 100)[0] == (4.5, 9.0)
    assert thin([(0.0, float("nan")), (1.0, 1.0)]) == [(1.0, 1.0)]
    np.testing.assert_allclose(smooth(line[:50], 0.2), line[:50])  # a straight line stays one
    assert smooth([]) == []


def test_a_plot_is_drawn_to_scale():
    points = ((0.0, 0.0), (50.0, 0.5), (100.0, 1.0))
    text = line_plot([Curve("success", points)], title="True <success>", y_range=(0, 1), percent=True)
    svg = ElementTree.fromstring(text)
    assert svg.get("aria-label") == "True <success>"
    (line,) = [e for e in svg.iter("path") if "line" in (e.get("class") or "")]
    placed = np.array([pair.split(",") for pair in (line.get("d") or "")[1:].split("L")], float)
    np.testing.assert_allclose(placed[1], (placed[0] + placed[2]) / 2, atol=0.11)
    assert placed[0, 1] > placed[2, 1]  # down is less
    assert [e.text for e in svg.iter("text")][:5] == ["0%", "25%", "50%", "75%", "100%"]
    assert "No values" in line_plot([Curve("a", ())], title="a")
    assert "No values" in line_plot([Curve("a", ((0.0, float("nan")),))], title="a")


@settings(max_examples=40, deadline=None)
@example([(5e-324, 0.0)])
@example([(0.0, 1.634266486238469e308)])
@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats()), max_size=300))
def test_any_values_give_a_plot(points):
    text = line_plot([Curve("a", tuple(sorted(points, key=lambda p: p[0])))], title="a")
    assert "nan" not in text
    ElementTree.fromstring(text)
