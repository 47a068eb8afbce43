"""The model card says what the weights were made of and what was measured, by script."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from experiments.embedded import card

MADE = {
    "git": {"sha": "0123456789abcdef", "dirty": False}, "step": 12, "seconds": 90.4, "precision": "torch.float32", "versions": {"python": "3", "torch": "2"},
    "validation": {"loss": 0.123456, "auc": 0.9, "auc/ant": 0.8},
    "data": [{"family": "ant", "source": "ant-own", "share": 0.5, "frames": 900, "held_out": 18},
             {"family": "ant", "source": "ant-stock-gl", "share": 0.5, "frames": 100, "held_out": 2},
             {"family": "reacher", "source": "reacher-own96", "share": 0.5, "frames": 50, "held_out": 1}],
    "config": {**dict.fromkeys(card.SETTINGS, 1), "out": "/home/someone", "labels": {"floor": 0.03}, "precision": "auto", "device": "cpu",
               "nothings": 0.05, "jumbles": 0.04, "sources": [{"folder": "/home/someone"}], "start": "scratch:/home/x"},
}  # fmt: skip


def test_the_record_has_no_path_and_all_that_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapt.json").write_text(json.dumps(MADE))
    monkeypatch.setattr(sys, "argv", ["card", "--record", str(tmp_path)])
    card.main()
    text = (tmp_path / card.RECIPE).read_text()
    found = json.loads(text)
    assert "/home" not in text and set(found["config"]) == set(card.SETTINGS)
    assert (found["steps"], found["seconds"], found["shares"]) == (12, 90, {"ant": 0.5, "reacher": 0.5})
    shown = card.made_of(found)
    assert found["config"]["precision"] == "float32" and "seed 1, float32" in shown
    assert "1,050 to train on, 21 held out" in shown and "4.0% of the sentences" in shown
    assert "| ant | 900 | – | – | – | – | 100 | – | 1,000 |" in shown and "| reacher | 50 |" in shown


def test_the_record_tells_of_the_parts_that_came_before(tmp_path: Path) -> None:
    start = "scratch:x"
    for name, steps, seconds in (("first", 30, 600), ("second", 20, 300), ("third", 12, 90)):
        folder = tmp_path / name
        folder.mkdir()
        config = {**MADE["config"], "start": start}
        (folder / "adapt.json").write_text(
            json.dumps({**MADE, "step": steps, "seconds": seconds, "config": config})
        )
        (folder / card.RECIPE).write_text(json.dumps(card.recipe(folder)))
        start = f"local-dir:{folder}"
    found = json.loads((tmp_path / "third" / card.RECIPE).read_text())
    assert str(tmp_path) not in json.dumps(found)
    assert [(part["steps"], part["seconds"]) for part in found["begun"]] == [(30, 600), (20, 300)]
    rows = dict(card.lengths(found))
    assert rows["part 1"].startswith("30 steps, 10 minutes") and rows["part 3"].startswith(
        "12 steps, 2 minutes"
    )
    assert rows["length"] == "62 steps, 16 minutes, each part with a fresh optimiser"
    assert all(f"| {name} | {text} |" in card.made_of(found) for name, text in rows.items())
    (tmp_path / "second" / card.RECIPE).unlink()
    rows = dict(card.lengths(card.recipe(tmp_path / "third")))
    assert rows["part 1"] == "weights of which nothing is known" and "length" not in rows


def test_the_cards_blocks_are_those_of_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "blocks", lambda: {"recipe": "made", "evaluation": "measured"})
    page = tmp_path / "CARD.md"
    marks = "".join(f"<!-- {n}: python -m experiments.embedded.card -->\nold\n<!-- end of {n} -->\n"
                    for n in ("recipe", "evaluation"))  # fmt: skip
    page.write_text(f"# Card\n{marks}end\n")
    monkeypatch.setattr(card, "CARD", page)
    monkeypatch.setattr(sys, "argv", ["card"])
    card.main()
    assert "made" in page.read_text() and "measured" in page.read_text() and "old" not in page.read_text()
    assert card.renewed(page.read_text()) == page.read_text()
    assert page.read_text().endswith("end\n")


def test_the_shipped_card_says_what_its_sources_say() -> None:
    assert card.CARD.read_text() == card.renewed(card.CARD.read_text())
