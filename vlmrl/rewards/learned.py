"""A reward that is learned from a reward model's answers, so that the model is asked about few states only.

An ensemble of small networks predicts the answer from what a frame can show of the state. The model is asked where the
networks disagree, and on a random share of states, whose answers are predicted first and learned from afterwards: an
unbiased account, all along, of how far the learned reward can be trusted.

Source: selection by disagreement and online refitting as in Christiano et al., "Deep Reinforcement Learning from Human
Preferences" (NeurIPS 2017), sections 2.2.3 and 2.2.4, with rewards in place of preferences; the estimate, mean less
deviations, as uncertainty-weighted optimisation in Coste et al., "Reward Model Ensembles Help Mitigate Overoptimization"
(ICLR 2024), with the standard deviation in place of the variance. Deviations: states to ask about are drawn with odds
that grow with disagreement instead of taken from the top, where neighbours in time would be asked about together; an
estimate never leaves the range of the answers.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vlmrl.errors import NonFiniteError
from vlmrl.rewards.answers import Answers, Record
from vlmrl.rewards.asking import Tally, choose
from vlmrl.rewards.budget import Budget, total_queries
from vlmrl.rewards.learned_config import LearnedConfig
from vlmrl.rewards.protocol import FLAT, Reads, RewardModel
from vlmrl.rewards.sources import FrameSource, Source, StateSource

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from vlmrl.rewards.ensemble import Ensemble

WINDOW = 256
"""Answers of the random share that error and rank correlation are computed from."""
ENOUGH = 32
"""Fewer of these, or fewer answers, are no ground for trust."""
BROKEN = 0.5
"""Share of non-finite answers beyond which the run stops, `skip` or not."""


class LearnedRewardDrift(UserWarning):
    """The learned reward rises while the reward model's own answers do not, or does not fall with them: the policy exploits
    the ensemble."""


class SkippedAnswers(UserWarning):
    """The reward model gave NaN or infinity for some states, which are left out."""


class LastCall(NamedTuple):
    """What `compute_reward` was last asked for, so that a replay buffer can make the rewards anew after a refit."""

    features: np.ndarray
    """What the networks see of the batch, float32 (B, F)."""
    answered: np.ndarray
    """Which rows the reward model answered itself, bool (B,)."""


class LearnedReward:
    """Stand in for a reward model and ask it rarely.

        learned = LearnedReward(reward_model, total_steps=100_000, query_share=0.1)
        env = VLMVecEnv(env_fns, learned)                      # also VLMVectorReward, VLMRewardWrapper

    As a `RewardModel` it takes frames, or with `world` that World's states, of which it draws only those it asks about;
    `vlmrl.train` hands it whole rollouts (`score_rollout`). What was asked is given as answered, anything else as the
    networks' mean less `conservatism` standard deviations. Agents that learn from old transitions too, such as SAC and DQN,
    need a replay buffer that follows the refits: `vlmrl.sb3_replay`.

    Args:
        reward_model: what is asked; reads frames, states, or embeddings if it is an `EmbeddingReward`.
        total_steps: states that the run will visit; beyond these nothing is asked.
        queries: how many states may be asked about in all.
        query_share: how many as a share of `total_steps`, in (0, 1]. With both, the smaller counts.
        config: everything else.
        world: the World whose states it gets; None for frames.
        seed: of networks and choices.
        resolution: answers whose range so far is no wider count as one constant, and so do the estimates.

    Raises: UsageError for a budget of zero and whatever else cannot be.
    """

    def __init__(
        self,
        reward_model: RewardModel,
        total_steps: int,
        *,
        queries: int | None = None,
        query_share: float | None = None,
        config: LearnedConfig | None = None,
        world: Any = None,
        seed: int = 0,
        resolution: float = FLAT,
    ) -> None:
        self.config = config or LearnedConfig()
        self.reward_model, self.seed, self.resolution = reward_model, seed, resolution
        self.budget = Budget(total_queries(total_steps, queries, query_share), total_steps)
        late = world is not None or reward_model.reads == "states"
        self._source: Source = (
            StateSource(reward_model, world) if late else FrameSource(reward_model, self.config.thumbnail)
        )
        self.reads: Reads = self._source.reads
        self.answers = Answers(self.config.store_size)
        self.record = Record(WINDOW, self.config.drift_rounds)
        self.ensemble: Ensemble | None = None
        self.skipped = 0
        self.drifting = False
        self.last: LastCall | None = None
        self._low, self._high = math.inf, -math.inf
        self._calls, self._round, self._since_fit, self._new = 0, 0, 0, 0
        self._held = np.zeros((0, 3))
        self._tally = Tally()

    @property
    def asked(self) -> int:
        """Return how many states the reward model was asked about so far."""
        return self.budget.asked

    @property
    def refits(self) -> int:
        """Return how often the networks learned from new answers so far."""
        return self._round

    @property
    def flat(self) -> bool:
        """Tell whether the answers so far are one constant, to `resolution`."""
        return self._high - self._low <= self.resolution

    @property
    def trusted(self) -> bool:
        """Tell whether predictions on the random share were good enough lately to ask only the even share."""
        error = self.error()
        if self.flat:
            return len(self.answers) >= ENOUGH
        return error is not None and len(self.record.rows) >= ENOUGH and error <= self.config.trust_error

    def error(self) -> float | None:
        """Return the predictions' error on the random share, in standard deviations of the answers; None if unknown."""
        rmse = self.record.rmse()
        spread = float(self.answers.rewards.std()) if len(self.answers) else 0.0
        return rmse / spread if rmse is not None and spread > 0 else None

    def score_rollout(
        self,
        states: Float[np.ndarray, "T N S"],
        valid: Bool[np.ndarray, "T N"],
        ended: Bool[np.ndarray, "T N"] | None = None,
        progress: Float[np.ndarray, "T N"] | None = None,
    ) -> tuple[Float[np.ndarray, "T N"], Bool[np.ndarray, "T N"]]:
        """Return rewards (T, N) of a rollout's states and which rows count; refits once in between.

        ended and progress are for rewards that are learned from segments; here a state stands alone.
        Raises: NonFiniteError, with step and world, for an answer that is NaN or infinite (`on_non_finite`).
        """
        rows = np.flatnonzero(valid)
        flat = states.reshape(-1, states.shape[-1])[rows]
        features = self._source.features(flat)
        chosen, answers = self._ask(flat, features, valid.size)
        bad = ~np.isfinite(answers)
        if bad.any() and not self._may_skip(int(bad.sum())):
            step, world = divmod(int(rows[chosen[bad][0]]), valid.shape[1])
            raise NonFiniteError("reward", float(answers[bad][0]), step, world)
        self._refit()
        given = self.estimate(features)
        given[chosen[~bad]] = answers[~bad]
        counts = np.ones(len(rows), bool)
        counts[chosen[bad]] = False
        if not len(self.answers):  # nothing that could be asked about so far
            counts[:] = False
        rewards, kept = np.zeros(valid.size, np.float32), np.zeros(valid.size, bool)
        rewards[rows], kept[rows] = np.where(counts, given, 0.0), counts
        self._tally.given += float(given[counts].sum())
        self._tally.counted += int(counts.sum())
        return rewards.reshape(valid.shape), kept.reshape(valid.shape)

    def compute_reward(self, batch: Any) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, of frames or states as `reads` says; refits after every `refit_every` of them.

        A non-finite answer is returned as it is, for the caller to refuse; under `skip` the estimate takes its place,
        counted and reported.
        """
        import torch

        batch = np.asarray(batch)
        features = self._source.features(batch)
        chosen, answers = self._ask(batch, features, len(batch))
        bad = ~np.isfinite(answers)
        may_skip = bool(bad.any()) and len(self.answers) > 0 and self._may_skip(int(bad.sum()))
        if self._since_fit >= self.config.refit_every or (self.ensemble is None and self._new >= ENOUGH):
            self._refit()
        given = self.estimate(features)
        kept = ~bad if may_skip else np.ones(len(bad), bool)
        given[chosen[kept]] = answers[kept]
        self.last = LastCall(features, np.isin(np.arange(len(batch)), chosen[kept]))
        self._tally.given += float(given[np.isfinite(given)].sum())
        self._tally.counted += int(np.isfinite(given).sum())
        return torch.from_numpy(given)

    def estimate(self, features: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, " batch"]:
        """Return what the agent gets for states that were not asked about, float32 (B,), of what the networks see of them.

        Before anything was learned that is the mean of the answers, NaN where there are none.
        """
        mean, spread = self._predict(features)
        if mean is None or spread is None:
            known = self.answers.rewards.mean() if len(self.answers) else np.nan
            return np.full(len(features), known, np.float32)
        return self._conserve(mean, spread).astype(np.float32)

    def metrics(self) -> dict[str, float | None]:
        """Return what happened since the last call and how good the learned reward is now, by name.

        `vlm_reward` is what the reward model would have said on average, without bias: the mean prediction, corrected by
        the random share's errors. `given` is the mean of what the agent got.
        """
        tally, self._tally = self._tally, Tally()
        spread = tally.spread / tally.predicted if tally.predicted else None
        return {
            "vlm_reward": tally.true_mean(self.record.bias()), "given": tally.mean_given(),
            "asked": int(tally.asked), "share": tally.asked / max(tally.states, 1), "asked_in_all": self.budget.asked,
            "share_in_all": self.budget.asked / max(self.budget.seen, 1), "queries_left": self.budget.left,
            "error": self.error(), "rmse": self.record.rmse(), "bias": self.record.bias(),
            "rank_correlation": self.record.rank_correlation(), "spread": spread, "trusted": float(self.trusted),
            "drift": float(self.drifting), "stored": len(self.answers), "skipped": self.skipped,
        }  # fmt: skip

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all state by name: answers, networks, optimiser, record, budget and counters."""
        counters = [self._calls, self._round, self._since_fit, self._new, self.skipped, int(self.drifting)]
        budget = self.budget
        state = {
            "counters": np.array([*counters, budget.asked, budget.seen, budget.warm], np.int64),
            "numbers": np.array([self._low, self._high, budget.due]),
            "record/rows": self.record.rows.copy(), "record/means": self.record.means.copy(),
            "held": self._held.copy(), "tally": np.array(astuple(self._tally)),
        }  # fmt: skip
        state |= {f"answers/{name}": array for name, array in self.answers.state_dict().items()}
        if self.ensemble is not None:
            state |= {f"ensemble/{name}": array for name, array in self.ensemble.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`; what follows is equal to the bit to what would have followed there.

        Raises: UsageError for the state of other networks or a larger store.
        """
        from vlmrl.rewards.ensemble import Ensemble

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

        ensemble = None
        if part("ensemble/"):
            ensemble = Ensemble(state["answers/features"].shape[1], self.config, self.seed)
            ensemble.load_state_dict(part("ensemble/"))
        self.answers.load_state_dict(part("answers/"))
        self.ensemble = ensemble
        counters = [int(value) for value in state["counters"]]
        self._calls, self._round, self._since_fit, self._new, self.skipped, drifting = counters[:6]
        self.drifting = bool(drifting)
        self.budget.asked, self.budget.seen, self.budget.warm = counters[6:]
        self._low, self._high, self.budget.due = (float(value) for value in state["numbers"])
        self.record.rows, self.record.means = state["record/rows"].copy(), state["record/means"].copy()
        self._held, self._tally = state["held"].copy(), Tally(*map(float, state["tally"]))

    # -- inside ------------------------------------------------------------------------------------------------

    def _ask(self, batch: np.ndarray, features: np.ndarray, num_states: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose rows of a batch and ask about them; return the rows (Q,) and their answers (Q,), finite or not."""
        rng = np.random.default_rng([self.seed, 1, self._calls])
        self._calls += 1
        self._since_fit += num_states
        warm = 0.0 if self.trusted else self.config.warm_share
        count = self.budget.take(num_states, len(features), warm, self.config.warm_budget)
        predictions, spread = self._predict(features)
        chosen, is_random = choose(spread, len(features), count, self.config.random_share, rng)
        answers = self._source.ask(batch[chosen]) if count else np.zeros(0, np.float32)
        good = np.isfinite(answers)
        held, random_answers = chosen[good & is_random], answers[good & is_random]
        self._tally.add(num_states, count, predictions, spread, random_answers, held, len(features))
        if predictions is not None and spread is not None:
            estimates = self._conserve(predictions, spread)
            rows = [estimates[held], predictions[held], random_answers]
            self._held = np.concatenate([self._held, np.stack(rows, axis=1)])
        self.answers.add(features[chosen[good]], answers[good], self._round, rng)
        if good.any():
            self._low = min(self._low, float(answers[good].min()))
            self._high = max(self._high, float(answers[good].max()))
        self._new += int(good.sum())
        return chosen, answers

    def _refit(self) -> None:
        """Close a round: compare, warn, and learn what is new."""
        from vlmrl.rewards.ensemble import Ensemble

        self.record.add(self._held)
        self._held = np.zeros((0, 3))
        self._watch()
        self._since_fit = 0
        if not self._new:
            return
        if self.ensemble is None:
            self.ensemble = Ensemble(self.answers.features.shape[1], self.config, self.seed)
        self.ensemble.fit(self.answers, self.config.fit_steps * (1 if self.trusted else 2))
        self._round += 1
        self._new = 0

    def _watch(self) -> None:
        found = self.record.parting(self.resolution)
        parted = found is not None and found.parted
        if found is not None and parted and not self.drifting:
            text = (
                f"learned reward: got {found.learned:+.4f} in the last {self.record.rounds} rounds, and "
                f"{found.true:+.4f} in the reward model's own answers on the random share; expected both to move "
                "together; ask more (query_share) or be more cautious (conservatism)"
            )
            warnings.warn(text, LearnedRewardDrift, stacklevel=4)
        self.drifting = parted

    def _may_skip(self, count: int) -> bool:
        """Count non-finite answers; tell whether they may be left out."""
        if self.config.on_non_finite == "stop":
            return False
        if not self.skipped:
            text = f"reward: got {count} NaN or infinite answers; expected finite numbers; these states are left out"
            warnings.warn(text, SkippedAnswers, stacklevel=3)
        self.skipped += count
        return self.skipped <= BROKEN * max(self.budget.asked, ENOUGH)

    def _predict(self, features: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the predictions and their spread, (B,) each; None, None before anything was learned."""
        if self.ensemble is None:
            return None, None
        if self.flat:
            return np.full(len(features), self.answers.rewards.mean()), np.zeros(len(features), np.float32)
        mean, spread = self.ensemble.predict(features)
        return np.clip(mean, self._low, self._high), spread

    def _conserve(self, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return np.maximum(mean - np.float32(self.config.conservatism) * spread, np.float32(self._low))
