"""Stored files: NAME-*.frames.npy and NAME-*.degrees.npy, as `experiments/embedded/data.py` writes them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.adapt.cache import DEGREES, FRAMES
from vlmrl.adapt.checks import in_range
from vlmrl.adapt.config import StoredSource
from vlmrl.adapt.pairs import ArrayStore, Known, split_tail
from vlmrl.errors import usage_error
from vlmrl.frames import Interpolation

REMEDY = "draw it again with python -m experiments.embedded.data"


def world_grammar(name: str) -> Any:
    """Return the grammar of a world of vlmrl_envs by its folder, such as cartpole, or of a Meta-World task; None without."""
    from vlmrl_envs import WORLDS, metaworld_scenes

    if name in metaworld_scenes.GRAMMARS:
        return metaworld_scenes.GRAMMARS[name]
    if name not in WORLDS.values():
        return None
    return getattr(import_module(f"vlmrl_envs.{name}.captions"), "GRAMMAR", None)


def open_stored(
    source: StoredSource, size: int, held_out: float, interpolation: Interpolation = "bicubic"
) -> dict[str, list[ArrayStore]]:
    """Open a folder's files, memory-mapped, by world; the last `held_out` share of each is held out.

    Raises: UsageError for an empty folder, an unknown world, files that do not pair or fit its grammar, degrees outside 0..1.
    """
    if not source.folder.is_dir():
        raise usage_error("stored", source.folder, "a folder that exists", "check the path")
    paths = sorted(source.folder.glob(f"*{FRAMES}"))
    found = list(dict.fromkeys(path.name.split("-")[0].removesuffix(FRAMES) for path in paths))
    if not found:
        raise usage_error("stored", f"{source.folder}, without such a file", f"files NAME-*{FRAMES}", REMEDY)
    stores: dict[str, list[ArrayStore]] = {}
    for name in source.names or found:
        if name not in found:
            raise usage_error("stored", f"no {name}-*{FRAMES} in {source.folder}", "a file of it", REMEDY)
        grammar = world_grammar(name)
        if grammar is None:
            raise usage_error("stored", name, "the folder name of a world of vlmrl_envs", "rename the file")
        mine = [path for path in paths if path.name.split("-")[0].removesuffix(FRAMES) == name]
        stores[name] = [_open(path, len(grammar.facts), size, held_out, interpolation) for path in mine]
    return stores


def _open(path: Path, facts: int, size: int, held_out: float, interpolation: Interpolation) -> ArrayStore:
    beside = path.with_name(path.name.removesuffix(FRAMES) + DEGREES)
    if not beside.is_file():
        raise usage_error("stored", f"{path} without {beside.name}", "frames and degrees that pair", REMEDY)
    try:
        frames, degrees = np.load(path, mmap_mode="r"), np.load(beside, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise usage_error("stored", f"{path} ({error})", "whole .npy files", REMEDY) from error
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        got = f"{path} of {frames.dtype} {frames.shape}"
        raise usage_error("stored", got, "uint8 frames (n, H, W, 3)", REMEDY)
    if degrees.shape != (len(frames), facts):
        got = f"{beside.name} of shape {degrees.shape} for {len(frames)} frames"
        raise usage_error("stored", got, f"({len(frames)}, {facts}), a degree for each fact", REMEDY)
    if degrees.dtype.kind not in "fiu" or not in_range(degrees):
        got = f"{beside.name} of {degrees.dtype}, not all of them from 0 to 1"
        raise usage_error("stored", got, "finite degrees from 0 to 1", REMEDY)
    if len(frames) < 2:
        raise usage_error("stored", f"{path} with {len(frames)} frames", "2 or more", REMEDY)
    name = path.name.removesuffix(FRAMES)
    train, out = split_tail(len(frames), held_out)
    return ArrayStore(name, frames, Known(degrees=degrees), train, out, size, interpolation)
