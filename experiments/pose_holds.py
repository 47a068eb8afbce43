"""Can this body hold each pose? Motors within their limits that hold a posture and balance, sought by chance.

    python -m experiments.pose_holds                       # every pose; writes results/pose_holds.json
    python -m experiments.pose_holds --poses lotus --candidates 32 --rounds 1

A candidate is a posture near the pose's example, held by springs and dampers at its joints, with a feedback of where the
centre of mass is over the feet (or whatever the body rests on) to hips and abdomen. Candidates are drawn around the best
of the round before. Reported is the best: on which share of 100 and of 400 steps the pose's own `success` held, and the
largest mean torque of a motor as a share of its limit. A pose that is not held so may still be held by a better
controller; one that is held can be held. Nothing here is seen by a reward or an agent.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mujoco.batch import Batch

from experiments.common import provenance
from experiments.summary import RESULTS
from vlmrl.checkpoints import replace_file
from vlmrl_envs.humanoid import exemplars, success
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.humanoid.servo import STIFFNESS

FEEDBACK = ("hip_y", "abdomen_y", "hip_x", "abdomen_x")
"""Joints that balance: the first two forwards, the last two sideways."""


@dataclass
class Candidates:
    """Postures and gains of N candidates."""

    states: np.ndarray
    """(N, S): where each starts and what it holds."""
    gains: np.ndarray
    """(N, 4, 2): rad per metre, and rad per m/s, of the centre of mass, for the joints of `FEEDBACK`."""


def draw(rules: Humanoid, pose: str, rng: np.random.Generator, n: int, best: tuple[np.ndarray, np.ndarray] | None,
         width: float) -> Candidates:  # fmt: skip
    """Draw n candidates around the example of a pose, or around the best (state, gains) so far, which comes first."""
    if best is None:
        states = exemplars.near(rules, pose, rng, n, 8.0 * width)
        gains = rng.normal(0.0, 1.0, (n, 4, 2)) * [3.0, 0.6] * (rng.random((n, 1, 1)) < 0.8)
        states[0] = exemplars.exemplar(rules, pose)
        return Candidates(states, gains)
    state, gain = best
    states = exemplars.perturbed(rules, state, rng, n, 4.0 * width)
    gains = gain + width * rng.normal(0.0, 1.0, (n, 4, 2)) * [1.5, 0.3]
    states[0], gains[0] = state, gain
    return Candidates(states, gains)


def hold(rules: Humanoid, pose: str, candidates: Candidates, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return success (T, N) of holding each candidate for T env steps, and the mean torque share (N, nu) of its motors."""
    model, count = rules.model, len(candidates.states)
    joints = model.actuator_trnid[:, 0]
    qadr, dadr, gear = model.jnt_qposadr[joints], model.jnt_dofadr[joints], model.actuator_gear[:, 0]
    names = [model.joint(j).name for j in joints]
    spring, damper = np.array([next(v for k, v in STIFFNESS.items() if k in name) for name in names]).T
    rows = np.array([next((i for i, k in enumerate(FEEDBACK) if k in name), -1) for name in names])
    # a hip's x axis has opposite signs on the two sides, so that one feedback swings both legs one way
    signs = np.array([-1.0 if name == "left_hip_x" else 1.0 for name in names])
    batch = Batch(model, count, nthread=1)
    qpos, qvel, ctrl, com = (batch.bind(n) for n in ("qpos", "qvel", "ctrl", "subtree_com"))
    qpos[:], qvel[:] = rules.split(candidates.states)
    target = qpos[:, qadr].copy()
    batch.forward()
    before = com[:, 1, :2].copy()
    origin = before.copy()
    held, torque = [], np.zeros((count, len(joints)))
    for _ in range(steps):
        for _ in range(rules.frame_skip):
            now = com[:, 1, :2].copy()
            error, speed = now - origin, (now - before) / model.opt.timestep
            before = now
            wanted = (
                candidates.gains[:, :, 0] * error[:, [0, 0, 1, 1]]
                + candidates.gains[:, :, 1] * speed[:, [0, 0, 1, 1]]
            )
            shift = np.where(rows >= 0, np.clip(wanted, -0.5, 0.5)[:, rows] * signs, 0.0)
            share = (
                (spring * (target + shift - qpos[:, qadr]) - damper * qvel[:, dadr])
                / gear
                / model.actuator_ctrlrange[:, 1]
            )
            ctrl[:] = np.clip(share, -1.0, 1.0) * model.actuator_ctrlrange[:, 1]
            torque += np.abs(np.clip(share, -1.0, 1.0))
            batch.step(nstep=1)
        held.append(success.success(rules.read_body(qpos.copy()), pose))
    return np.array(held), torque / (steps * rules.frame_skip)


def seek(
    rules: Humanoid, pose: str, candidates: int, rounds: int, seed: int, steps: int = 400
) -> dict[str, Any]:
    """Return the row of a pose: the best of all candidates."""
    rng, best, found = np.random.default_rng(seed), None, None
    for turn in range(rounds):
        drawn = draw(rules, pose, rng, candidates, best, 0.6**turn)
        held, torque = hold(rules, pose, drawn, steps)
        i = int(held.mean(axis=0).argmax())
        best = drawn.states[i], drawn.gains[i]
        found = {"pose": pose, "held_100": round(float(held[:100, i].mean()), 3), "held_400": round(float(held[:, i].mean()), 3),
                 "torque_share": round(float(torque[i].max()), 3), "rounds": turn + 1, "candidates": candidates,
                 "state": np.round(best[0], 5).tolist(), "gains": np.round(best[1], 4).tolist()}  # fmt: skip
        if held[:, i].mean() > 0.95:
            break
    assert found is not None
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| pose | held, of 100 steps | of 400 | largest mean torque, of its limit |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r['pose']} | {r['held_100']:.0%} | {r['held_400']:.0%} | {r['torque_share']:.0%} |" for r in rows
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Seek for each pose named by --poses and write rows; poses not named keep theirs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--poses", nargs="+", default=list(exemplars.EXEMPLARS), choices=list(exemplars.EXEMPLARS)
    )
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "pose_holds.json")
    args = parser.parse_args(arguments)
    rules = Humanoid()
    for pose in args.poses:
        row = {**seek(rules, pose, args.candidates, args.rounds, args.seed, args.steps), **provenance()}
        rows = json.loads(args.out.read_text()) if args.out.exists() else []
        rows = [r for r in rows if r["pose"] != pose] + [row]
        rows.sort(key=lambda r: list(exemplars.EXEMPLARS).index(r["pose"]))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(args.out, (json.dumps(rows, indent=1) + "\n").encode())
        print(table([row]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
