"""One command makes the embedded encoder: its steps in order, what fails and what may, what is put in place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.embedded import data, make, metaworld, splits


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run make.main with arguments; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["make", *arguments])
    with pytest.raises(SystemExit) as ended:
        make.main()
    return 0 if ended.value.code is None else ended.value.code  # type: ignore[return-value]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run; each ends well, and every preflight separates."""
    ran: list[list[str]] = []

    def run(command: list[str], **kwargs: Any) -> SimpleNamespace:
        ran.append(command[2:])
        return SimpleNamespace(
            returncode=0, stdout=json.dumps({"verdict": "separates", "explanation": "yes"})
        )

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_the_whole_recipe_is_its_steps_in_order(monkeypatch, commands, tmp_path: Path) -> None:
    assert call(monkeypatch, "--out", str(tmp_path)) == 0
    names = [c[0].rpartition(".")[2] for c in commands]
    parts = [str(tmp_path / name) for name, _ in make.PARTS]
    assert names == ["data", "data", *["train", "card"] * len(parts), "words", "evaluate"]
    trained = [c for c, name in zip(commands, names, strict=True) if name == "train"]
    assert [c[c.index("--out") + 1] for c in trained] == parts
    assert [c[-1] for c, name in zip(commands, names, strict=True) if name == "card"] == parts
    assert "--init" not in trained[0] and [c[c.index("--init") + 1] for c in trained[1:]] == parts[:-1]
    assert parts[-1] == str(tmp_path / make.MODEL)
    assert "gl" in commands[1] and not any("--scale" in c or "--shares" in c for c in commands)


@pytest.mark.parametrize("there", [True, False])
def test_meta_world_is_drawn_and_said_where_its_package_is(
    monkeypatch, commands, tmp_path: Path, there: bool
) -> None:
    monkeypatch.setattr(metaworld, "is_installed", lambda: there)
    assert call(monkeypatch, "--out", str(tmp_path)) == 0
    assert all(("soccer" in command) is there for command in commands[:2])
    for train in commands[2 : 2 + 2 * len(make.PARTS) : 2]:
        assert ("--without" in train) is not there
        assert there or set(train[train.index("--without") + 1 :]) == set(metaworld.WORLDS)


def test_quick_is_small_and_must_pass_preflight(monkeypatch, commands, tmp_path: Path) -> None:
    assert call(monkeypatch, "--quick", "--out", str(tmp_path)) == 0
    assert [c[1] for c in commands[-3:]] == ["preflight"] * 3
    assert [c[2] for c in commands[-3:]] == list(make.QUICK_TASKS)
    drawn = commands[0][commands[0].index("--worlds") + 1 :]
    left = commands[2][commands[2].index("--without") + 1 :]
    assert sorted([*drawn, *left]) == sorted(splits.GRAMMARS)
    assert "--shares" in commands[2] and {s.split("=")[0] for s in make.QUICK_SHARES} == set(drawn)
    monkeypatch.setattr(make, "passes_preflight", lambda model: False)
    assert call(monkeypatch, "--quick", "--out", str(tmp_path)) == 1


def test_a_step_that_fails_stops_it_unless_it_can_be_done_without(monkeypatch, capsys) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=3))
    make.run(make.Step("frames by GL", "data", (), needed=False))
    assert "exit code 3; going on without" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="training: exit code 3; mend it and run this again"):
        make.run(make.Step("training", "train", ()))


def test_a_verdict_other_than_separates_fails(monkeypatch, tmp_path: Path) -> None:
    told = iter(["separates", "weak", "separates"])
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(
        stdout=json.dumps({"verdict": next(told), "explanation": ""})))  # fmt: skip
    assert not make.passes_preflight(tmp_path)


def test_install_puts_whole_files_into_the_package(monkeypatch, tmp_path: Path) -> None:
    model, package = tmp_path / "model", tmp_path / "package"
    for folder in (model, package):
        folder.mkdir()
    for name in make.SHIPPED:
        (model / name).write_text(f"new {name}")
        (package / name).write_text("old")
    monkeypatch.setattr(make, "EMBEDDED", package)
    make.install(model)
    assert {p.name: p.read_text() for p in package.iterdir()} == {n: f"new {n}" for n in make.SHIPPED}
    (model / make.SHIPPED[-1]).unlink()
    (model / make.SHIPPED[0]).write_text("newer")
    with pytest.raises(SystemExit, match="install: got"):
        make.install(model)
    assert (package / make.SHIPPED[0]).read_text() != "newer"


def test_what_ships_is_evaluated_where_it_lies(monkeypatch, commands, tmp_path: Path) -> None:
    installed: list[Path] = []
    monkeypatch.setattr(make, "install", installed.append)
    assert call(monkeypatch, "--install", "--out", str(tmp_path)) == 0
    assert installed == [tmp_path / "model"]
    assert commands[-2:] == [["experiments.embedded.evaluate"], ["experiments.embedded.card"]]


def test_quick_weights_are_not_installed(monkeypatch, commands) -> None:
    assert call(monkeypatch, "--quick", "--install") == 2 and not commands


def test_worlds_to_draw_can_be_chosen() -> None:
    names = [name for which in ("warp", "gl") for name, _ in data.sources(which, 0.01, ["reacher", "ant"])]
    assert {name.split("-")[0] for name in names} == {"reacher", "ant"}
    assert len({name.split("-")[0] for name, _ in data.sources("warp", 0.01)}) == len(data.WORLDS)
