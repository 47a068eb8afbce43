"""Whole loop against the sum of its stages: every state rendered and scored, humanoid, 64 px, 64 worlds.

    python -m benchmarks.whole_loop           # about two minutes; writes experiments/results/whole_loop.json

Each repeat measures every stage alone (act, step, render, embed and score, update) over the same number of steps, then
the loop itself, so that the ratio is of one moment of a noisy machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from experiments.common import RESULTS, provenance
from vlmrl.making import make_envs
from vlmrl.rollout import Collector
from vlmrl.runtime import guard_import_order, limit_threads
from vlmrl.training import make_agent, make_reward, preset


def stages_alone(agent, envs, reward, num_steps: int) -> dict[str, float]:
    """Return the seconds of each stage alone for T steps of N worlds."""
    world = envs.unwrapped
    obs, _ = envs.reset(seed=1)
    seconds = {}
    started = perf_counter()
    for _ in range(num_steps):
        sample = agent.sample(obs)
    seconds["act"] = perf_counter() - started
    started = perf_counter()
    states = []
    for _ in range(num_steps):
        *_, infos = envs.step(sample.actions)
        states.append(infos["states_before_reset"])
    seconds["step"] = perf_counter() - started
    flat = np.concatenate(states)
    started = perf_counter()
    frames = world.render_states(flat)
    seconds["render"] = perf_counter() - started
    started = perf_counter()
    reward.compute_reward(frames)
    seconds["embed and score"] = perf_counter() - started
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--updates", type=int, default=3, help="updates of the loop in a repeat")
    parser.add_argument("--worlds", type=int, help="instead of the task's own number")
    parser.add_argument("--steps", type=int, help="steps of a rollout, instead of the task's own number")
    parser.add_argument("--out", type=Path, default=RESULTS / "whole_loop.json")
    args = parser.parse_args()
    limit_threads()
    guard_import_order()
    config = replace(preset("humanoid_kneeling"), encoder=args.encoder)
    config = replace(
        config,
        num_envs=args.worlds or config.num_envs,
        agent=replace(config.agent, num_steps=args.steps or config.agent.num_steps),
    )
    envs = make_envs(config.task, config.num_envs)
    reward, agent = make_reward(config, envs), make_agent(config, envs)
    collector = Collector(envs, reward, config.agent.num_steps)
    collector.reset(0)
    rollout = collector.collect(agent).rollout
    agent.update(rollout)  # compiled before anything is measured
    rows = []
    for _ in range(args.repeats):
        alone = stages_alone(agent, envs, reward, config.agent.num_steps)
        started = perf_counter()
        agent.update(rollout)
        alone["update"] = perf_counter() - started
        collector.reset(0)
        started = perf_counter()
        for _ in range(args.updates):
            agent.update(collector.collect(agent).rollout)
        whole = (perf_counter() - started) / args.updates
        rows.append({"alone": alone, "whole": whole, "ratio": whole / sum(alone.values())})
        print(
            " ".join(f"{k} {v:.3f}" for k, v in alone.items()),
            f"| whole {whole:.3f} ratio {rows[-1]['ratio']:.3f}",
            flush=True,
        )
    ratios = sorted(row["ratio"] for row in rows)
    steps = config.num_envs * config.agent.num_steps
    found = {
        "ratio_median": statistics.median(ratios), "ratio_range": [ratios[0], ratios[-1]],
        "steps_per_s_median": steps / statistics.median(row["whole"] for row in rows),
        "repeats": args.repeats, "rows": rows, **provenance(),
    }  # fmt: skip
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"whole / sum of stages: median {found['ratio_median']:.3f}, range {ratios[0]:.3f} to {ratios[-1]:.3f}; "
          f"{found['steps_per_s_median']:.0f} steps/s")  # fmt: skip


if __name__ == "__main__":
    main()
