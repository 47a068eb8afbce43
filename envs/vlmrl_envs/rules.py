"""What a world is: a model and pure functions of its states.

A state is the full physics state of one world as one float64 row, (S,) = [time, qpos, qvel]. The worlds
run without solver warm start, so the row determines the future exactly: two worlds set to the same row stay equal.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from gymnasium import spaces

if TYPE_CHECKING:
    from vlmrl_envs.captions import Grammar


@dataclass(frozen=True)
class HoldRule:
    """When an episode counts as a success, given its per-step success."""

    fraction: float = 0.5
    """Share of the judged steps on which the goal must hold, 0..1."""
    window: float = 1.0
    """Share of the episode that is judged, counted from its end, 0..1: 1 judges every step."""

    def judge(self, success: np.ndarray) -> np.ndarray:
        """Judge whole episodes; success is bool (T, N), the result bool (N,)."""
        num_steps = success.shape[0]
        judged = success[num_steps - max(1, round(self.window * num_steps)) :]
        return judged.mean(axis=0) >= self.fraction - 1e-9


@dataclass(frozen=True)
class Caption:
    """A sentence about a state, and how true it is of it."""

    text: str
    """The sentence."""
    degree: float
    """Its truth of the described state, 0 (false) .. 1 (true)."""


class WorldRules(ABC):
    """Everything that makes one world this world; no simulation state lives here."""

    name: str
    frame_skip: int
    """Physics steps in one env step."""
    horizon: int
    """Default env steps in an episode."""
    hold: HoldRule
    cameras: tuple[str, ...]
    """Camera names, the default first."""
    observation_space: spaces.Box
    action_space: spaces.Box

    def __init__(self) -> None:
        self.model = self.build_model()
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
        self.nq, self.nv = self.model.nq, self.model.nv
        self.state_size = 1 + self.nq + self.nv

    @property
    def dt(self) -> float:
        """Seconds in one env step."""
        return float(self.model.opt.timestep) * self.frame_skip

    @property
    def driven(self) -> mujoco.MjModel:
        """The model that is stepped: `model`, but for worlds whose motors are driven otherwise."""
        return self.model

    def drive(self, actions: np.ndarray) -> np.ndarray:
        """Return the controls (B, nu) of `driven` for actions (B, A) in [-1, 1]."""
        return self.control(actions)

    def split(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split states (..., S) into qpos (..., nq) and qvel (..., nv)."""
        return states[..., 1 : 1 + self.nq], states[..., 1 + self.nq :]

    def join(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """Join qpos (..., nq) and qvel (..., nv) into states (..., S) at time 0."""
        return np.concatenate([np.zeros((*qpos.shape[:-1], 1)), qpos, qvel], axis=-1)

    @property
    def grammar(self) -> Grammar | None:
        """The world's grammar: `GRAMMAR` of the `captions` module beside its rules; None without one."""
        package = type(self).__module__.rpartition(".")[0]
        try:
            return importlib.import_module(f"{package}.captions").GRAMMAR
        except (ImportError, AttributeError):
            return None

    def path(self, start: np.ndarray, goal: np.ndarray, n: int) -> np.ndarray:
        """Return n states (n, S) at rest on the way from one state (S,) to another, both included.

        Joints go straight, free bodies turn along the shortest arc; a world whose states must lie on something
        puts them there.
        """
        (a, _), (b, _) = self.split(start), self.split(goal)
        way = np.zeros(self.nv)
        mujoco.mj_differentiatePos(self.model, way, 1.0, a, b)
        qpos = np.repeat(np.asarray(a, float)[None], n, axis=0)
        for row, share in zip(qpos, np.linspace(0.0, 1.0, n), strict=True):
            mujoco.mj_integratePos(self.model, row, way, share)
        return self.join(qpos, np.zeros((n, self.nv)))

    @abstractmethod
    def build_spec(self) -> mujoco.MjSpec:
        """Build the world as an editable MuJoCo specification, anew at each call."""

    def build_model(self) -> mujoco.MjModel:
        """Compile the MuJoCo model."""
        return self.build_spec().compile()

    @abstractmethod
    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return observations float32 (B, O) of states (B, S)."""

    @abstractmethod
    def control(self, actions: np.ndarray) -> np.ndarray:
        """Return the controls (B, nu) of `model`'s motors for actions (B, A) in [-1, 1]."""

    @abstractmethod
    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a noisy initial state (S,)."""

    @abstractmethod
    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell on which states (B, S) the goal holds, bool (B,). Looks at no reward, no caption, no frame."""

    @abstractmethod
    def env_reward(self, states: np.ndarray) -> np.ndarray:
        """Return the true graded progress towards the goal, float (B,) in 0..1, from the physics alone."""

    @abstractmethod
    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n varied states (n, S): starts, goals, what lies between, and much besides."""

    def sample_near_goal(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n states (n, S) that are likelier goals than `sample_states`, where the world knows of such; not to train on."""
        return self.sample_states(rng, n)

    @abstractmethod
    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees (B, F), 0..1, to which the facts of the world's grammar hold on states (B, S)."""

    @abstractmethod
    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return how true the goal's own words are of states, float (B,) in 0..1: the ceiling of any encoder."""

    @abstractmethod
    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,) from the physics."""
