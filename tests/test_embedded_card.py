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


def test_the_record_tells_of_the_part_that_came_before(tmp_path: Path) -> None:
    begun, model = tmp_path / "begun", tmp_path / "model"
    begun.mkdir(), model.mkdir()
    (begun / "adapt.json").write_text(json.dumps({**MADE, "step": 30, "seconds": 600}))
    (begun / card.RECIPE).write_text(json.dumps(card.recipe(begun)))
    config = {**MADE["config"], "start": f"local-dir:{begun}"}
    (model / "adapt.json").write_text(json.dumps({**MADE, "config": config}))
    found = card.recipe(model)
    assert str(tmp_path) not in json.dumps(found)
    assert (found["begun"]["steps"], found["begun"]["seconds"], "begun" in found["begun"]) == (30, 600, False)
    assert "30 steps, 10 minutes" in card.made_of(found) and "12 steps, 2 minutes" in card.made_of(found)
    (begun / card.RECIPE).unlink()  # a start of which nothing is known
    assert card.recipe(model)["begun"] == {}
    assert "from other weights" in card.made_of(card.recipe(model))


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
