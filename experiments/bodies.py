"""Gymnasium's bodies learn poses from sentences: ant, half-cheetah, hopper, walker, arm and pendulum, 24 goals.

python -m experiments.bodies                                  # the goals chosen below, every condition, seeds 0 1 2
python -m experiments.bodies --tasks ant_upside_down --conditions vlm --seeds 0
"""

from __future__ import annotations

import argparse

from experiments.common import main
from vlmrl.tasks import BODIES, get_task

CHOSEN = (
    "ant_upside_down", "ant_one_leg", "half_cheetah_upright", "half_cheetah_on_back", "hopper_kneeling", "hopper_lying",
    "walker2d_kneeling", "walker2d_sitting", "reacher_touching", "reacher_folded", "pendulum_upright", "pendulum_hanging",
)  # fmt: skip
"""Goals that do not hold at the start and that doing nothing is not known to reach, two of each body."""
ALL = tuple(f"{body}_{pose}" for body, (_, _, _, poses) in BODIES.items() for pose in poses)


def claim(task_name: str) -> str:
    """Return what the experiment of one task claims."""
    task = get_task(task_name)
    return (
        f"From the sentence '{task.goal[0]}' the body reaches the pose and holds it for at least 80% of the last half "
        "of the episode."
    )


def run(arguments: list[str] | None = None) -> None:
    """Run the experiments named by --tasks, one book of results each; further arguments go to each of them."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--tasks", nargs="+", default=list(CHOSEN), choices=ALL, metavar="TASK")
    args, rest = parser.parse_known_args(arguments)
    if len(args.tasks) > 1 and any(word.startswith("--results") for word in rest):
        parser.error("--results names one book; give one task with it")
    for name in args.tasks:
        horizon = get_task(name).horizon
        assert horizon is not None
        main(name, horizons=(horizon, 2 * horizon), claim=claim(name), arguments=rest)


if __name__ == "__main__":
    run()
