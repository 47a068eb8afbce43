"""Train encoders that never see or hear two of the poses, or a whole body, and ask them for just these.

    python -m experiments.embedded.left_out                 # both, one after the other; goes on where it was stopped
    python -m experiments.embedded.left_out --only poses

Uses the frames of `experiments.embedded.data`. Kneeling is left out because it is the field's best-known pose, the splits
because no other pose is like them; walker2d because its words are those of other bodies. Each training sees bodies only.
Writes results/embedded_without_NAME.json, .md and .png, and the line on poses left out of the shipped
encoder's tables and card.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from experiments.common import RESULTS
from experiments.embedded.evaluation.tables import renew_poses_left_out
from experiments.embedded.make import Step, run
from experiments.embedded.splits import GRAMMARS

STEPS = 7_500


@dataclass(frozen=True)
class Variant:
    """What a training leaves out, and on which world it is asked for it."""

    poses: tuple[str, ...]
    """Poses of the humanoid."""
    worlds: tuple[str, ...]
    """The worlds that it does see."""
    asked: str
    """The world that it is judged on."""

    @property
    def without(self) -> list[str]:
        """The worlds that it never sees."""
        return [world for world in GRAMMARS if world not in self.worlds]


VARIANTS = {
    "poses": Variant(("kneeling", "splits"), ("humanoid",), "humanoid"),
    "walker2d": Variant((), ("humanoid", "hopper", "half_cheetah", "ant"), "walker2d"),
}


def steps(name: str, data: Path, out: Path, length: int) -> list[Step]:
    """Return the commands that train a variant into `out` and judge it."""
    variant, model = VARIANTS[name], out / name
    leave_out = ("--leave-out", *variant.poses) if variant.poses else ()
    train = ("--data", str(data), "--out", str(model), "--steps", str(length))
    report = (
        "--worlds",
        variant.asked,
        "--speed",
        "0",
        "--out",
        str(RESULTS / f"embedded_without_{name}.json"),
    )
    return [
        Step(f"training without {name}", "train", (*train, *leave_out, "--without", *variant.without)),
        Step("the check of words", "words", ("--dir", str(model)), needed=False),
        Step("evaluation", "evaluate", ("--dir", str(model), *report)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/embedded"))
    parser.add_argument("--out", type=Path, default=Path("data/left_out"))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    for name in args.only:
        for step in steps(name, args.data, args.out, args.steps):
            run(step)
        if name == "poses":
            renew_poses_left_out(RESULTS / "embedded_encoder.json", RESULTS / f"embedded_without_{name}.json")
            run(Step("the model card", "card", ()))


if __name__ == "__main__":
    main()
