"""A world of coloured squares, small models and small videos for the tests of `vlmrl.adapt`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from fakes import FakeWorld

from vlmrl.adapt import AdaptConfig, VideoSource, WorldSource
from vlmrl_envs.captions import Fact, Grammar
from vlmrl_envs.rules import Caption

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
MODELS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
    "resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
}
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 230)}


class Squares(FakeWorld):
    """A square in the middle; states float64 (n, 3): colour 0..2, side 0.3..0.9 of the picture, unused."""

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.stack([rng.integers(0, 3, n), rng.uniform(0.3, 0.9, n), np.zeros(n)], axis=1)

    def render_states(
        self, states: np.ndarray, camera: str | None = None, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        side = (size or (24, 24))[0]
        away = np.abs(np.arange(side) - (side - 1) / 2) / side
        frames = np.full((len(states), side, side, 3), 90, np.uint8)
        for frame, (colour, width, _) in zip(frames, states, strict=True):
            frame[np.ix_(away < width / 2, away < width / 2)] = list(COLOURS.values())[int(colour)]
        return frames

    def describe(self, state: np.ndarray) -> list[Caption]:
        name = list(COLOURS)[int(state[0])]
        return [Caption(f"a {name} square", 1.0), Caption(f"a {name} thing", 1.0)]


class FewSquares(Squares):
    """Squares of one size: three states in all."""

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.stack([rng.integers(0, 3, n), np.full(n, 0.5), np.zeros(n)], axis=1)


class SaidSquares(Squares):
    """Squares with a grammar: each colour is a fact, and so is being large, by degree."""

    grammar = Grammar(
        ("a square", "the square"),
        ("a square in a picture",),
        (
            *(Fact(name, (f"of {name} colour", f"in {name}"), (), "colour") for name in COLOURS),
            Fact("large", ("that is large",)),
        ),
    )

    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        colours = [states[:, 0] == i for i in range(3)]
        return np.stack([*colours, (states[:, 1] - 0.3) / 0.6], axis=1).astype(np.float64)


LONG = "that is large " * 9
"""More than the 16 tokens that the small models read."""


class LongSquares(Squares):
    """Squares of which one colour is also described at length, and one only so."""

    def describe(self, state: np.ndarray) -> list[Caption]:
        said = [Caption(f"a square {LONG}", 1.0)]
        return [super().describe(state), super().describe(state) + said, said][int(state[0])]


class LongSaidSquares(SaidSquares):
    """Squares with a grammar whose last fact is said first at length."""

    grammar = Grammar(
        ("a square",), ("a square in a picture",), (*SaidSquares.grammar.facts[:3], Fact("large", (LONG,)))
    )


def register() -> None:
    """Register the worlds test/Squares-v0, test/SaidSquares-v0, the same with long captions, and one of few states."""
    for cls in (Squares, FewSquares, SaidSquares, LongSquares, LongSaidSquares):
        name = f"test/{cls.__name__}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=cls, vector_entry_point=cls, disable_env_checker=True)


def write_model(folder: Path, kind: str = "vit", bias: bool = True) -> Path:
    """Write the JSON config of a tiny model."""
    path = folder / f"{kind}.json"
    scale = {"init_logit_scale": 2.3, "init_logit_bias": -2.0} if bias else {}
    model = {"embed_dim": 16, **scale, "vision_cfg": MODELS[kind], "text_cfg": TEXT}
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "resize_mode": "squash"}
    path.write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    return path


def small(folder: Path, world: str = "Squares", kind: str = "vit", **changes: Any) -> AdaptConfig:
    """Return a config whose training takes a second."""
    config = AdaptConfig(
        out=folder / "out",
        sources=(WorldSource(f"test/{world}-v0", frames=60),),
        start=f"scratch:{write_model(folder, kind)}",
        steps=4, batch=12, captions=8, warmup=2, validate_every=2, validation_frames=24, log_every=1,
        device="cpu", weights="fp32", precision="float32", held_out=0.2,
    )  # fmt: skip
    return replace(config, **changes)


def write_clip(path: Path, colours: list[str], seconds: float = 1.0, fps: int = 8, side: int = 32) -> Path:
    """Write a video that shows one colour after the other, `seconds` each."""
    import imageio.v2 as imageio

    options: dict[str, Any] = (
        {"fps": fps, "macro_block_size": 1} if path.suffix != ".gif" else {"duration": 1000 / fps}
    )
    if path.suffix == ".webm":
        options |= {"codec": "libvpx", "pixelformat": "yuv420p"}
    with imageio.get_writer(path, **options) as writer:
        for colour in colours:
            for number in range(round(seconds * fps)):
                frame = np.full((side, side, 3), COLOURS[colour], np.uint8)
                frame[:4, :4] = 20 * (number % 8)
                writer.append_data(frame)
    return path


def videos(folder: Path, fps: float = 4.0) -> VideoSource:
    """Write three videos, captions of two in captions.json and of one beside it."""
    place = folder / "clips"
    place.mkdir()
    write_clip(place / "one.mp4", ["red", "blue"])
    write_clip(place / "two.gif", ["green"])
    write_clip(place / "three.mp4", ["green"])
    rows = [
        {"file": "one.mp4", "caption": "a red wall", "end": 1.0},
        {"file": "one.mp4", "caption": "a blue wall", "start": 1.0},
        {"file": "one.mp4", "caption": "a grey wall", "truth": 0.0},
        {"file": "two.gif", "caption": "a green wall"},
    ]
    (place / "captions.json").write_text(json.dumps(rows))
    (place / "three.txt").write_text("a green wall\n")
    return VideoSource(place, fps)
