"""The text tower goes on learning on vectors: the image tower stays as it was, and so does the folder it came from."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.embedded import splits, text
from vlmrl.encoders import load_encoder
from vlmrl.encoders.sources import EMBEDDED
from vlmrl_envs.cartpole.rules import CartPole

FRAMES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with frames (of noise) and degrees of cart-pole, and a model whose training saw this world alone."""
    path = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    degrees = CartPole().fact_degrees(CartPole().sample_states(rng, FRAMES))
    np.save(path / "cartpole-own.frames.npy", rng.integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8))
    np.save(path / "cartpole-own.degrees.npy", degrees.astype(np.float16))
    shutil.copytree(EMBEDDED, path / "model")
    splits.write(path / "model", [], [world for world in splits.GRAMMARS if world != "cartpole"])
    (path / "model" / "adapt.json").write_text(json.dumps({"step": 7}))
    return path


def run(folder: Path, out: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> Path:
    """Run text.main on the folder's model; return what it wrote."""
    arguments = [
        "--model",
        str(folder / "model"),
        "--data",
        str(folder),
        "--out",
        str(folder / out),
        "--captions",
        "8",
    ]
    monkeypatch.setattr(sys, "argv", ["text", *arguments, *more])
    text.main()
    return folder / out


def test_words_change_and_pictures_do_not(folder: Path, monkeypatch, capsys) -> None:
    before = {p.name: p.read_bytes() for p in (folder / "model").iterdir()}
    made = run(folder, "final", monkeypatch, "--steps", "3")
    old, new = (load_encoder(f"local-dir:{path}", "cpu") for path in (folder / "model", made))
    frames = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    assert np.allclose(old.embed_images(frames), new.embed_images(frames), atol=1e-6)
    words = ["a pole leaning left"]
    assert not np.allclose(old.embed_texts(words), new.embed_texts(words), atol=1e-4)
    assert before == {p.name: p.read_bytes() for p in (folder / "model").iterdir()}
    record = json.loads((made / "adapt.json").read_text())
    assert record["step"] == 7 and record["text"]["steps"] == 3 and splits.read(made)[1]
    run(folder, "final", monkeypatch, "--steps", "9")
    assert "is there already" in capsys.readouterr().out
    assert json.loads((made / "adapt.json").read_text())["text"]["steps"] == 3


def test_the_same_seed_gives_the_same_words(folder: Path, monkeypatch) -> None:
    made = [run(folder, name, monkeypatch, "--steps", "2") for name in ("one", "two")]
    first, second = (load_encoder(f"local-dir:{path}", "cpu").embed_texts(["a pole"]) for path in made)
    assert np.array_equal(first, second)


def test_a_loss_that_is_not_finite_leaves_no_folder(folder: Path, monkeypatch) -> None:
    broken = np.full((4, 128), np.nan, np.float32)
    monkeypatch.setattr(text, "vectors_of_nothing", lambda *arguments: broken)
    with pytest.raises(FloatingPointError, match="loss: got"):
        run(folder, "broken", monkeypatch, "--steps", "5")
    assert not (folder / "broken").exists()
