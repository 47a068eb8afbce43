"""What the encoder's training may draw: worlds and their grammars, poses and bodies left out, frames, views.

One place decides it for `data` (which frames are drawn), `train` (which are shown, and what is said) and `evaluation`.

    python -m experiments.embedded.splits      # the data card's table
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vlmrl.errors import usage_error
from vlmrl_envs import held_out, metaworld_scenes
from vlmrl_envs.ant.captions import GRAMMAR as ANT
from vlmrl_envs.captions import Grammar
from vlmrl_envs.cartpole.captions import GRAMMAR as CARTPOLE
from vlmrl_envs.fold_cloth.captions import GRAMMAR as FOLD_CLOTH
from vlmrl_envs.half_cheetah.captions import GRAMMAR as HALF_CHEETAH
from vlmrl_envs.hopper.captions import GRAMMAR as HOPPER
from vlmrl_envs.humanoid import described
from vlmrl_envs.humanoid.captions import GRAMMAR as HUMANOID
from vlmrl_envs.mountain_car.captions import GRAMMAR as MOUNTAIN_CAR
from vlmrl_envs.pass_water.captions import GRAMMAR as PASS_WATER
from vlmrl_envs.pendulum.captions import GRAMMAR as PENDULUM
from vlmrl_envs.reacher.captions import GRAMMAR as REACHER
from vlmrl_envs.rewording import Reworded
from vlmrl_envs.straighten_rope.captions import GRAMMAR as STRAIGHTEN_ROPE
from vlmrl_envs.walker2d.captions import GRAMMAR as WALKER2D

GRAMMARS: dict[str, Grammar] = {
    "cartpole": CARTPOLE, "mountain_car": MOUNTAIN_CAR, "humanoid": HUMANOID, "ant": ANT, "half_cheetah": HALF_CHEETAH,
    "hopper": HOPPER, "walker2d": WALKER2D, "reacher": REACHER, "pendulum": PENDULUM,
    "straighten_rope": STRAIGHTEN_ROPE, "fold_cloth": FOLD_CLOTH, "pass_water": PASS_WATER,
    **metaworld_scenes.GRAMMARS,
}  # fmt: skip
REWORDED = 0.4
"""Share of the sentences that training says otherwise by rule, where one fits."""
NOTE = "splits.json"
"""What an encoder's training left out, noted beside its weights."""
DISTANCE, DISTANCE_HELD_OUT, DISTANCE_BEYOND = (0.88, 1.15), (1.05, 1.10), (1.2, 1.3)
"""Range of a camera's distance, times its own, the band within that training never sees, and one beyond the range."""
LIGHT, LIGHT_HELD_OUT, LIGHT_BEYOND = (0.2, 0.6), (0.52, 0.56), (0.65, 0.75)
"""The same of the headlight's diffuse light. No world's own headlight lies in the band."""


def grammars(leave_out: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, Grammar]:
    """Return the grammars to train on, by world: without poses of the humanoid (`leave_out`) and whole worlds.

    Raises: UsageError for a pose or world that is none, or where nothing is left.
    """
    for name, given, known in (("leave-out", leave_out, described.LEFT_OUT), ("without", without, GRAMMARS)):
        if wrong := sorted(set(given) - set(known)):
            raise usage_error(name, wrong, f"some of {sorted(known)}", "pick from these")
    found = {world: grammar for world, grammar in GRAMMARS.items() if world not in without}
    if not found:
        raise usage_error("without", list(without), "a world to train on", "keep one")
    if leave_out and "humanoid" in found:
        found["humanoid"] = described.without(tuple(leave_out))
    return found


def reworded(grammar: Grammar) -> Reworded:
    """Return what training says of a grammar: a share of it by rule, and never what any world's grammar holds out."""
    return Reworded(grammar, REWORDED, frozenset().union(*(g.held_wordings for g in GRAMMARS.values())))


def check_reworded(folder: Path) -> None:
    """Check that a training under way says as much otherwise as today's. Raises: UsageError where it began with another share."""
    began = share_reworded(folder)
    if began != REWORDED:
        raise usage_error("reworded", REWORDED, f"{began}, as {folder} began", "give another --out")


def share_reworded(folder: Path) -> float:
    """Return the share of sentences that an encoder's training said otherwise by rule; 0 where no note says so."""
    path = folder / NOTE
    return float(json.loads(path.read_text()).get("reworded", 0.0)) if path.is_file() else 0.0


def kept(world: str, degrees: np.ndarray, leave_out: Sequence[str] = ()) -> np.ndarray:
    """Tell which states, whose facts hold to degrees (B, F), training may see, bool (B,); all of an unknown world."""
    grammar = grammars(leave_out).get(world)
    if grammar is None:
        return np.ones(len(degrees), bool)
    return held_out.training_states(grammar, np.asarray(degrees, np.float64))


def shares(shares: dict[str, float], worlds: Sequence[str]) -> dict[str, float]:
    """Return the shares of the given worlds, scaled to the sum of all, cut off after six digits: never more than it."""
    scale = sum(shares.values()) / sum(shares[world] for world in worlds)
    return {world: int(share * scale * 1e6) / 1e6 for world, share in shares.items() if world in worlds}


def write(folder: Path, leave_out: Sequence[str], without: Sequence[str]) -> None:
    """Note beside an encoder's weights what was left out of its training."""
    content = {
        "leave_out": list(leave_out),
        "without": list(without),
        "held_out": digest(),
        "views": views(),
        "reworded": REWORDED,
    }
    (folder / NOTE).write_text(json.dumps(content) + "\n")


def digest() -> str:
    """Return a hash of the wordings and compositions that today's grammars hold out."""
    held = [
        (world, sorted(g.held_wordings), [[g.facts[i].name for i in pair] for pair in np.argwhere(np.triu(g.held_pairs))])
        for world, g in GRAMMARS.items()
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:12]


def views() -> dict[str, list[float]]:
    """Return the bands of views that training never draws."""
    return {"distance": list(DISTANCE_HELD_OUT), "light": list(LIGHT_HELD_OUT)}


def holds_out(folder: Path) -> bool:
    """Tell whether an encoder's training held out today's wordings, compositions and views; older notes name no views."""
    path = folder / NOTE
    found = json.loads(path.read_text()) if path.is_file() else {}
    return found.get("held_out") == digest() and found.get("views", views()) == views()


def as_began(
    folder: Path, leave_out: Sequence[str], without: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the poses and worlds to leave out of a training, of one under way those that it began with.

    Raises: UsageError where others are given than it began with.
    """
    if not (folder / NOTE).is_file():
        return leave_out, without
    began = read(folder)
    for name, given, noted in zip(("leave-out", "without"), (leave_out, without), began, strict=True):
        if given and set(given) != set(noted):
            raise usage_error(name, list(given), f"{noted}, as {folder} began", "give another --out")
    return began


def check_start(folder: Path, leave_out: Sequence[str], without: Sequence[str]) -> None:
    """Check that weights to begin with never saw what shall be left out. Raises: UsageError where they may have."""
    poses, worlds = read(folder)
    seen = sorted({*leave_out} - {*poses} | {*without} - {*worlds})
    if not holds_out(folder):
        seen.append("what today's grammars and views hold out")
    if seen:
        got = f"{folder}, which is not known to have left out {', '.join(seen)}"
        raise usage_error("init", got, "weights that never saw it", "train from scratch, or leave out less")


def read(folder: Path) -> tuple[list[str], list[str]]:
    """Return the poses and the worlds left out of an encoder's training; nothing where no note says so."""
    path = folder / NOTE
    found = json.loads(path.read_text()) if path.is_file() else {}
    return list(found.get("leave_out", [])), list(found.get("without", []))


def distance(rng: np.random.Generator, split: str = "train") -> float:
    """Draw a camera's distance, as a factor of its own; "held_out" from the band that training never sees, or "beyond"."""
    return _drawn(rng, DISTANCE, {"held_out": DISTANCE_HELD_OUT, "beyond": DISTANCE_BEYOND}, split)


def light(rng: np.random.Generator, split: str = "train") -> float:
    """Draw the headlight's diffuse light; "held_out" from the band that training never sees, or "beyond"."""
    return _drawn(rng, LIGHT, {"held_out": LIGHT_HELD_OUT, "beyond": LIGHT_BEYOND}, split)


def _drawn(
    rng: np.random.Generator,
    whole: tuple[float, float],
    bands: dict[str, tuple[float, float]],
    split: str,
) -> float:
    if split in bands:
        return float(rng.uniform(*bands[split]))
    band = bands["held_out"]
    value = rng.uniform(whole[0], whole[1] - (band[1] - band[0]))
    return float(value if value < band[0] else value + band[1] - band[0])


def table() -> str:
    """Return the data card's table of what each grammar says and holds out, as Markdown."""
    lines = [
        "| world | facts | wordings | of them held out | words | compositions held out |",
        "|" + "---|" * 6,
    ]
    for world, grammar in GRAMMARS.items():
        said = sum(len(fact.phrases) + len(fact.scenes) for fact in grammar.facts)
        held = len(grammar.held_wordings)
        share = f"{held_out.triple_share(grammar):.0%}" if grammar.axes else "–"
        lines.append(
            f"| {world} | {len(grammar.facts)} | {said} | {held} | {len(grammar.vocabulary())} | {share} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
