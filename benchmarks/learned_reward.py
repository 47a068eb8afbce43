"""What a reward that asks rarely costs and how near it comes: the humanoid, rollouts of 64 steps of 128 worlds.

    python -m benchmarks.learned_reward       # about a minute; writes experiments/results/learned_reward.json

States drawn by the world's own `sample_states` stand in for rollouts, so that nothing is trained; what is asked is how
true the goal's words are of them (`similarity`), so that nothing is drawn. Seconds are those of this process on the
processor (not of the clock, which other processes slow down), in all threads together. Drawing is measured beside it, on
few frames, for the comparison. The error is that of states which were not asked about.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from experiments.common import RESULTS, provenance
from vlmrl.making import make_envs
from vlmrl.ranks import spearman
from vlmrl.rewards import LearnedReward
from vlmrl.runtime import guard_import_order, limit_threads
from vlmrl.tasks import get_task
from vlmrl.training import StateSimilarity


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    task: str = "humanoid_kneeling"
    """Built-in task of a World."""
    num_steps: int = 64
    """Steps T of a rollout."""
    num_envs: int = 128
    """Worlds N."""
    rollouts: int = 10
    """Rollouts in all."""
    query_share: float = 0.1
    """Share of the states asked about."""
    frames: int = 512
    """Frames drawn for the comparison."""
    out: Path = RESULTS / "learned_reward.json"
    """Where the figures go."""


class Asked(StateSimilarity):
    """The reward that is asked, with the seconds it took, which are not the learned reward's."""

    seconds = 0.0

    def compute_reward(self, batch: np.ndarray) -> torch.Tensor:
        started = process_time()
        rewards = super().compute_reward(batch)
        self.seconds += process_time() - started
        return rewards


def main(setting: Setting | None = None) -> dict[str, Any]:
    """Measure, write and print."""
    setting = setting or Setting()
    limit_threads()
    guard_import_order()
    envs = make_envs(get_task(setting.task), 1)
    world, rng = envs.unwrapped, np.random.default_rng(0)
    size = setting.num_steps * setting.num_envs
    model = Asked(world)
    learned = LearnedReward(
        model, size * setting.rollouts, query_share=setting.query_share, world=world, resolution=1e-6
    )
    valid = np.ones((setting.num_steps, setting.num_envs), bool)
    pool = world.sample_states(rng, 2 * size)
    truth = world.similarity(pool)
    rows = []
    for _ in range(setting.rollouts):
        drawn = rng.choice(len(pool), size, replace=False)
        states = pool[drawn].reshape(setting.num_steps, setting.num_envs, -1)
        asked, model.seconds = learned.asked, 0.0
        started = process_time()
        rewards, _ = learned.score_rollout(states, valid)
        seconds = process_time() - started - model.seconds
        errors = np.abs(rewards.ravel() - truth[drawn])
        unasked = errors > 1e-6
        rows.append({
            "seconds": seconds, "asked": learned.asked - asked, "metrics": learned.metrics(),
            "mean_error_unasked": float(errors[unasked].mean()) if unasked.any() else 0.0,
            "rank_correlation": spearman(rewards.ravel(), truth[drawn]),
        })  # fmt: skip
        print(f"{seconds:.2f} s, asked {rows[-1]['asked']}, mean error where not asked "
              f"{rows[-1]['mean_error_unasked']:.4f}, rank correlation {rows[-1]['rank_correlation']:.3f}", flush=True)  # fmt: skip
    world.render_states(pool[:64])  # compiled before it is measured
    started = process_time()
    world.render_states(pool[: setting.frames])
    drawing = (process_time() - started) / setting.frames * size
    envs.close()
    found = {
        "states": size, "seconds_median": statistics.median(row["seconds"] for row in rows),
        "seconds_range": [min(row["seconds"] for row in rows), max(row["seconds"] for row in rows)],
        "seconds_to_draw_all": drawing, "reward_spread": float(truth.std()), "rows": rows, **provenance(),
    }  # fmt: skip
    setting.out.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{size} states: median {found['seconds_median']:.2f} s of processor time; drawing them all {drawing:.1f} s"
    )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default=Setting.task)
    parser.add_argument("--rollouts", type=int, default=Setting.rollouts)
    parser.add_argument("--query-share", type=float, default=Setting.query_share)
    parser.add_argument("--out", type=Path, default=Setting.out)
    main(Setting(**vars(parser.parse_args())))
