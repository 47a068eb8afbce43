"""Judge the embedded encoder on states that no training batch held: does the reward tell goals from other states?

    python -m experiments.embedded.evaluate            # about two minutes; writes results/embedded_encoder.json and .md

For each goal: the AUC of the reward of states where `success` holds against all others; the Spearman correlation of the
reward with the physics' own truth of the words; the mean reward at the start, at the goal, and on blank and noise frames,
which must not lie above the baseline's own level (the mean over all states).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr

import vlmrl_envs
from experiments.common import RESULTS, provenance
from experiments.embedded import data, stock
from experiments.embedded.variation import vary
from vlmrl.encoders import load_encoder
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import TASKS
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rules import WorldRules

SEED = 2026
"""States of this seed are in no training batch, which are drawn from seed 0."""


def auc(goal: np.ndarray, other: np.ndarray) -> float | None:
    """Return the probability that a goal's reward exceeds another's; None without either."""
    if not len(goal) or not len(other):
        return None
    ranks = rankdata(np.concatenate([goal, other]))
    return float((ranks[: len(goal)].sum() - len(goal) * (len(goal) + 1) / 2) / (len(goal) * len(other)))


def own_frames(rules: WorldRules, states: np.ndarray, varied: bool) -> np.ndarray:
    """Draw states (B, S) by the world's own camera, or by 8 varied cameras, lights and colours never trained on."""
    rng = np.random.default_rng(SEED)
    models = [vary(rules.model, rules.cameras[0], rng) for _ in range(8)] if varied else [rules.model]
    frames = []
    for model, part in zip(models, np.array_split(states, len(models)), strict=True):
        renderer = make_renderer("warp", model, rules.cameras[0], (64, 64))
        frames.append(renderer.render(rules.split(part)[0]))
        renderer.close()
    return np.concatenate(frames)


def row(
    name: str, frames: np.ndarray, success: np.ndarray, truth: np.ndarray, reward: Callable, start: np.ndarray
) -> dict:
    """Return what is said of one goal on one set of frames."""
    scores, at_start = reward(frames), reward(start)
    rng = np.random.default_rng(SEED)
    blank = np.concatenate([np.full((1, 64, 64, 3), v, np.uint8) for v in (0, 128, 255)])
    noise = rng.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    return {
        "frames": name, "goals": int(success.sum()), "others": int((~success).sum()),
        "auc": auc(scores[success], scores[~success]), "spearman": float(spearmanr(scores, truth).statistic),
        "start": float(at_start.mean()), "goal": float(scores[success].mean()) if success.any() else None,
        "others_mean": float(scores[~success].mean()), "blank": float(reward(blank).max()), "noise": float(reward(noise).max()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--states", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=RESULTS / "embedded_encoder.json")
    args = parser.parse_args()
    encoder = load_encoder(args.encoder)
    drawn: dict[str, tuple] = {}
    rows = []
    for task in TASKS.values():
        world = task.env_id.split("/")[1].split("-")[0]
        rules: WorldRules = data.WORLDS[vlmrl_envs.WORLDS[task.env_id.removeprefix("vlmrl/")]](**task.kwargs)
        if world not in drawn:
            states = rules.sample_states(np.random.default_rng(SEED), args.states)
            starts = np.stack([rules.start(np.random.default_rng(i)) for i in range(32)])
            drawn[world] = (
                states,
                own_frames(rules, states, False),
                own_frames(rules, states, True),
                own_frames(rules, starts, False),
            )
        states, own, varied, start = drawn[world]
        model = GoalBaselineReward(encoder, list(task.goal), list(task.baseline), task.alpha)

        def reward(frames: np.ndarray, model: GoalBaselineReward = model) -> np.ndarray:
            return model.compute_reward(frames).numpy()

        success, truth = rules.success(states), rules.similarity(states)
        for name, frames in (("own camera", own), ("unseen cameras and lights", varied)):
            rows.append(
                {"task": task.name, "goal": task.goal[0], **row(name, frames, success, truth, reward, start)}
            )
            print(json.dumps(rows[-1]), flush=True)
        if world in ("CartPole", "MountainCar") or task.name == "humanoid_kneeling":
            source = {"CartPole": stock.gymnasium_cartpole, "MountainCar": stock.gymnasium_mountain_car}.get(
                world, lambda n: stock.stock_body(data.Humanoid(), n, "warp"))(1500)  # fmt: skip
            frames, degrees = source(np.random.default_rng(SEED))
            truth = degrees[:, 0]
            rows.append({"task": task.name, "goal": task.goal[0],
                         **row("Gymnasium's own", frames, truth > 0.85, truth, reward, start)})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    args.out.write_text(
        json.dumps({"encoder": args.encoder, "seed": SEED, "rows": rows, **provenance()}, indent=1) + "\n"
    )
    lines = ["| task | frames | AUC | Spearman | start | goal | others | blank | noise |", "|" + "---|" * 9]
    for r in rows:
        numbers = [r[k] for k in ("auc", "spearman", "start", "goal", "others_mean", "blank", "noise")]
        shown = " | ".join("–" if v is None else f"{v:.3f}" for v in numbers)
        lines.append(f"| {r['task']} | {r['frames']} | {shown} |")
    args.out.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
