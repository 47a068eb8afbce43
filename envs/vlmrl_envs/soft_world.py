"""What the rules of the rope, the cloth and the water have in common: driven slides, facts and captions by name."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from vlmrl_envs.captions import Grammar
from vlmrl_envs.rules import Caption, HoldRule, WorldRules


class SoftWorld(WorldRules):
    """A soft thing moved by slides that follow a speed; the grammar's first fact says the goal.

    An episode counts as a success when the goal holds on 80% of the steps of its last quarter: reached, and kept.
    """

    hold = HoldRule(fraction=0.8, window=0.25)

    @property
    @abstractmethod
    def grammar(self) -> Grammar:
        """The world's grammar."""

    @abstractmethod
    def facts(self, qpos: np.ndarray) -> dict[str, np.ndarray]:
        """Return fact -> degree (B,), 0..1, of qpos (B, nq)."""

    def control(self, actions: np.ndarray) -> np.ndarray:
        """Return actions as they are: shares of the slides' top speed."""
        return actions

    def fact_degrees(self, states: np.ndarray) -> np.ndarray:
        """Return the degrees (B, F) of the grammar's facts."""
        found = self.facts(self.split(states)[0])
        return np.stack([found[fact.name] for fact in self.grammar.facts], axis=1)

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return the degree of the grammar's first fact, the goal's, float (B,)."""
        return self.fact_degrees(states)[:, 0]

    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,)."""
        seed = int(np.abs(self.split(state)[0]).sum() * 1e6) % 2**32
        return self.grammar.describe(self.fact_degrees(state[None])[0], np.random.default_rng(seed))
