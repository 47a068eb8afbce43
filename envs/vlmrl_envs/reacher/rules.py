"""The rules of the two-link arm."""

from __future__ import annotations

import mujoco
import numpy as np
from gymnasium import spaces

from vlmrl_envs import stock
from vlmrl_envs.goal_world import GoalWorld
from vlmrl_envs.parts import Parts
from vlmrl_envs.reacher import body, captions, success

COLOURS: dict[str, stock.Colour] = {
    "sideS": (0.30, 0.32, 0.36), "sideE": (0.30, 0.32, 0.36), "sideN": (0.30, 0.32, 0.36), "sideW": (0.30, 0.32, 0.36),
    "root": (0.10, 0.10, 0.12), "link0": (0.10, 0.28, 0.62), "link1": (0.24, 0.52, 0.86), "fingertip": (0.98, 0.78, 0.16),
    "target": (0.88, 0.14, 0.12),
}  # fmt: skip
ELBOW = 172.0
"""How far the elbow bends, degrees."""


class Reacher(GoalWorld):
    """Gymnasium's two-link arm with a target on a table, judged by one of three goals; a step is 20 ms, an episode 100.

    It starts in any direction with the elbow bent 50 to 120 degrees (Gymnasium's starts stretched out, which is one of
    the goals here); the target lies anywhere within 0.2 m, as there, but not under the finger.
    Observation (10,): cosines and sines of the joints, the target (m), joint velocities (rad/s), finger minus target (m).
    Action (2,): torques of shoulder and elbow.
    """

    name = "Reacher"
    frame_skip = 2
    horizon = 100
    cameras = ("top",)
    trunk, points, goals = body.TRUNK, body.POINTS, success.GOALS
    grammar, goal_facts = captions.GRAMMAR, captions.GOAL_FACTS
    observation_space = spaces.Box(-np.inf, np.inf, (10,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def build_spec(self) -> mujoco.MjSpec:
        """Build the arm on its table; thicker links, a larger fingertip and target are drawn around the real ones."""
        spec = stock.load("reacher.xml")
        stock.dress(spec, "ground", 0.1, COLOURS)
        box = {"contype": 0, "conaffinity": 0, "mass": 0.0}
        capsule, disc = mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER
        for link in (0, 1):
            spec.body(f"body{link}").add_geom(name=f"sleeve{link}", type=capsule, size=[0.017, 0, 0],
                                              fromto=[0, 0, 0, 0.1, 0, 0], rgba=[*COLOURS[f"link{link}"], 1], **box)  # fmt: skip
        spec.body("fingertip").add_geom(name="fingernail", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.022, 0, 0],
                                        rgba=[*COLOURS["fingertip"], 1], **box)  # fmt: skip
        spec.body("target").add_geom(name="target_disc", type=disc, size=[0.03, 0.004, 0],
                                     rgba=[*COLOURS["target"], 1], **box)  # fmt: skip
        spec.worldbody.add_camera(name="top", pos=[0, 0, 0.8], xyaxes=[1, 0, 0, 0, 1, 0], fovy=37.0)
        return spec

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return float32 (B, 10)."""
        qpos, qvel = self.split(states)
        joints, target = qpos[:, :2], qpos[:, 2:]
        apart = finger(joints) - target
        parts = [np.cos(joints), np.sin(joints), target, qvel[:, :2], apart]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start: elbow bent, target anywhere but near the finger, at rest but for a little noise."""
        joints = np.array(
            [rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(50.0, 120.0)) * rng.choice([-1, 1])]
        )
        target = _disc(rng, 1)[0]
        while np.linalg.norm(finger(joints[None])[0] - target) < 0.06:
            target = _disc(rng, 1)[0]
        return self.join(np.concatenate([joints, target]), np.array([*rng.uniform(-0.005, 0.005, 2), 0, 0]))

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S): any arm, every fourth straight, every fourth folded; targets anywhere, at or near the finger."""
        turn, elbow = rng.uniform(-np.pi, np.pi, n), rng.uniform(-ELBOW, ELBOW, n)
        kind, side = rng.random(n), rng.choice([-1.0, 1.0], n)
        elbow = np.where(kind < 0.25, rng.normal(0.0, 10.0, n), elbow)
        elbow = np.where(kind > 0.75, side * rng.uniform(135.0, ELBOW, n), elbow)
        joints = np.stack([turn, np.deg2rad(elbow)], axis=1)
        target, tip = _disc(rng, n), finger(joints)
        share = np.where(rng.random(n) < 0.3, 1.0, np.where(rng.random(n) < 0.35, rng.random(n), 0.0))[
            :, None
        ]
        target = target + share * (tip + rng.normal(0.0, 0.008, (n, 2)) - target)
        speed = rng.normal(0.0, 1.0, (n, 2)) * (rng.random((n, 1)) < 0.5)
        return self.join(np.concatenate([joints, target], axis=1), np.concatenate([speed, 0 * speed], axis=1))

    def facts(self, parts: Parts) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,)."""
        return captions.facts(parts)


def finger(joints: np.ndarray) -> np.ndarray:
    """Return the fingertip's place on the table (B, 2), metres, of joint angles (B, 2), radians."""
    first, both = joints[:, 0], joints.sum(axis=1)
    reach = 0.1 * np.stack([np.cos(first), np.sin(first)], axis=1)
    return reach + 0.11 * np.stack([np.cos(both), np.sin(both)], axis=1)


def _disc(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n targets (n, 2) within 0.2 m of the shoulder, evenly."""
    radius, angle = 0.2 * np.sqrt(rng.random(n)), rng.uniform(-np.pi, np.pi, n)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
