"""One picture of what came out: frames of an episode before and after training, side by side.

python -m experiments.picture RUN videos/curated/kneeling.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vlmrl.evaluation import run_episodes
from vlmrl.making import make_envs
from vlmrl.rollout import score_states
from vlmrl.training import Run, load_run, make_agent, make_reward
from vlmrl.video import write_grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=176)
    parser.add_argument("--steps", type=int, nargs="+", help="steps to show, from 1")
    args = parser.parse_args()
    run = load_run(args.run)
    envs = make_envs(run.config.task, 1)
    reward = make_reward(run.config, envs)
    untrained = Run(run.config, run.folder, make_agent(run.config, envs))
    frames, labels = [], []
    for name, agent in (("before", untrained), ("after", run)):
        states = run_episodes(agent, envs, args.seed)["states"][:, 0]
        picked = (
            np.array(args.steps) - 1
            if args.steps
            else np.linspace(0, len(states) - 1, args.columns).round().astype(int)
        )
        scores = score_states(envs.unwrapped, reward, states[picked])
        frames += list(envs.unwrapped.render_states(states[picked], size=(args.size, args.size)))
        labels += [
            f"{name}, step {step + 1}: reward {score:.2f}" for step, score in zip(picked, scores, strict=True)
        ]
    envs.close()
    write_grid(args.out, frames, columns=len(picked), labels=labels, overwrite=True)
    print(args.out)


if __name__ == "__main__":
    main()
