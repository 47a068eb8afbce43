"""How far training sees the states of compositions that it never says: the share of goal states that its filter lets through.

python -m experiments.unseen                 # a minute; results/unseen.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.embedded import splits
from experiments.summary import RESULTS
from vlmrl.checkpoints import replace_file
from vlmrl.tasks import COMPOSITIONS
from vlmrl_envs.humanoid.rules import Humanoid


def share(pose: str, count: int = 300, seed: int = 0) -> dict[str, Any]:
    """Return for goal states near a pose's example how many there are and which share of them training may see.

    The share is None without goal states.
    """
    rules = Humanoid(pose)
    states = rules.sample_near_goal(np.random.default_rng(seed), count)
    goals = states[rules.success(states)]
    seen = splits.kept("humanoid", rules.fact_degrees(goals)) if len(goals) else np.zeros(0)
    return {
        "pose": pose,
        "goal_states": len(goals),
        "seen": round(float(seen.mean()), 4) if len(goals) else None,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every composition."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--poses", nargs="+", default=list(COMPOSITIONS), choices=list(COMPOSITIONS), metavar="POSE"
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULTS / "unseen.json")
    args = parser.parse_args(arguments)
    rows = [share(pose, args.count) for pose in args.poses]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(args.out, (json.dumps(rows, indent=1) + "\n").encode())
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
