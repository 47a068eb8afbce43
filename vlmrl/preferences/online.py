"""A reward that is learned from preferences while an agent trains: rollouts in, a stage of asking when one is due, out
the rewards of the whole rollout by the reward of now."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmrl.checkpoints import replace_file
from vlmrl.errors import NonFiniteError
from vlmrl.preferences.account import StageReport, account
from vlmrl.preferences.answers import AnsweredPairs, failures, kept_answers
from vlmrl.preferences.known import KnownAnswers
from vlmrl.preferences.online_config import PreferencesConfig
from vlmrl.preferences.protocol import Labeller, Question
from vlmrl.preferences.relabelling import relabel
from vlmrl.preferences.rows import REUSED
from vlmrl.preferences.samplers import Disagreement, Entropy, Mixture, PairSampler, Uniform, VisualGap
from vlmrl.preferences.segments import SegmentPool
from vlmrl.preferences.stage import gather
from vlmrl.preferences.store import PREDICTIONS, STORE, PreferenceStore
from vlmrl.ranks import spearman
from vlmrl.rewards.protocol import Reads
from vlmrl.rewards.sources import CHUNK

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from vlmrl.preferences.learned import LearnedReward

REWARD = "reward"
"""Folder of a run with the reward learned last."""
_STAGE, _PAIRS = 3, 4
"""Purposes of random numbers, beside the seed."""


class UselessLabelsWarning(UserWarning):
    """The labels so far teach nothing: the reward is one constant."""


class PreferenceLearner:
    """Asks in stages and refits: what the agents of JAX and of stable-baselines3 share.

    Every random number is a function of the seed and of how many stages there were, and every answer lies in the
    store, so that a run that goes on from a checkpoint draws the same pairs and asks nobody twice.

    Args:
        reward: learned from the answers, anew at each stage; reads "frames".
        render: draws states (B, S) as frames, or None where the pool is given frames.
        folder: where the store is kept, and the reward and its predictions after each refit.

    Raises: UsageError where `config.known` names no store.

    Attributes: `pool`, to which rollouts are added; `answered`; `steps`, environment steps seen; `report`, of the last
    stage.
    """

    def __init__(
        self,
        reward: LearnedReward,
        labeller: Labeller,
        question: Question,
        config: PreferencesConfig,
        folder: Path,
        render: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int = 0,
    ) -> None:
        self.reward, self.labeller, self.question, self.config = reward, labeller, question, config
        self.folder, self.seed = Path(folder), seed
        self.pool = SegmentPool(config.pool, render, seed)
        self.answered = AnsweredPairs()
        self.steps, self.stages = 0, 0
        self.report = StageReport()
        self._known = KnownAnswers(config.known)
        self._store: PreferenceStore | None = None

    @property
    def store(self) -> PreferenceStore:
        """The store, opened when it is first needed. Raises: StoreError."""
        if self._store is None:
            self._store = PreferenceStore(self.folder / STORE, elsewhere=self._known.find)
            carry_on = getattr(self.labeller, "carry_on", None)
            if carry_on is not None:  # what earlier sittings paid counts against the budget of the whole run
                asked = (self._store, self.labeller, self.question)
                own = [answer for answer in kept_answers(*asked) if REUSED not in answer.parameters]
                carry_on([*own, *failures(*asked)])
        return self._store

    def close(self) -> None:
        """Close the store, and those of other runs."""
        self._known.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def is_due(self) -> bool:
        """Whether a stage is due: the first at once, the k-th after k * `every` steps, while pairs are left."""
        return self.steps >= self.stages * self.config.every and len(self.answered) < self.config.pairs

    def ask(self) -> None:
        """Ask a stage's pairs and refit the reward to all answers so far.

        Raises: what the labeller raises (its answers are in the store); UsageError for a pool without two different
            frames, or answers without a single label.
        """
        config, started = self.config, perf_counter()
        left = config.pairs - len(self.answered)
        wanted = min(config.stage_pairs if self.stages else config.first_pairs, left)
        rng = np.random.default_rng([self.seed, _STAGE, self.stages])
        known = [pair for pair, _ in self.answered]
        self._foresee()
        found = gather(
            self.pool, self._sampler(), self.store, self.labeller, self.question, wanted, rng,
            max_pairs=min(2 * wanted, left), exclude=known, first=self.answered.open,
        )  # fmt: skip
        self.answered.add(found.answered)
        self.answered.leave_open(found.open)
        asked = perf_counter()
        self.reward.fit(self.answered)
        self.stages += 1
        before = self.report
        lost = failures(self.store, self.labeller, self.question)
        self.report = account(
            self.answered, self.reward, asked - started, perf_counter() - asked, lost, len(self.answered.open)
        )
        if self.report.is_flat and not before.is_flat:
            warnings.warn(_useless_text(self.report), UselessLabelsWarning, stacklevel=2)
        self._write()

    def _foresee(self) -> None:
        """Let a person's page know what the reward says of the pairs before they are answered."""
        for part in (self.labeller, getattr(self.labeller, "second", None)):
            if hasattr(part, "predict"):
                part.predict = self.reward.probabilities if self.reward.fits else None  # type: ignore[union-attr]

    def _sampler(self) -> PairSampler:
        judge: Any = self.reward
        if not self.reward.fits:
            return Uniform()
        return {
            "uniform": Uniform(), "disagreement": Disagreement(judge), "entropy": Entropy(judge),
            "visual_gap": VisualGap(), "mixture": Mixture(((1, Uniform()), (1, Disagreement(judge)))),
        }[self.config.sampler]  # fmt: skip

    def _write(self) -> None:
        """Write the reward, and what it says of each pair, for whoever looks at the run from outside."""
        self.reward.save(self.folder / REWARD)
        pairs = [pair for pair, _ in self.answered]
        predicted = dict(zip((pair.key for pair in pairs), self.reward.probabilities(pairs), strict=True))
        text = json.dumps({key: round(float(p), 4) for key, p in predicted.items()})
        replace_file(self.folder / PREDICTIONS, text.encode())

    def metrics(self) -> dict[str, float | None]:
        """Return how many pairs were asked and what the last stage came to, by name."""
        report = {field.name: getattr(self.report, field.name) for field in fields(self.report)}
        return {"pairs_asked": len(self.answered), "stages": self.stages, **report}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all state by name, but for the answers themselves, which the store holds."""
        values = [np.nan if value is None else value for value in astuple(self.report)]
        state = {
            "counters": np.array([self.steps, self.stages], np.int64),
            "stage": np.array(values, np.float64),
        }
        parts: dict[str, Any] = {"pool": self.pool, "answered": self.answered, "reward": self.reward}
        for prefix, part in parts.items():
            state |= {f"{prefix}/{name}": array for name, array in part.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`; what follows is equal to the bit to what would have followed there.

        Raises: UsageError where the store lacks an answer that was given.
        """

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

        self.steps, self.stages = (int(value) for value in state["counters"])
        self.report = StageReport(*(None if np.isnan(value) else float(value) for value in state["stage"]))
        self.pool.load_state_dict(part("pool/"))
        self.answered.load_state_dict(part("answered/"), self.store, self.labeller, self.question)
        self.reward.load_state_dict(part("reward/"))


def _useless_text(report: StageReport) -> str:
    """Say that the labels teach nothing so far, and what to do."""
    return (
        f"labels: got {report.labels:.0f} that say no more of one another than a coin; expected labels that a reward can be "
        "learned from; until then it is one constant: look at who answers (`vlmrl label RUN` shows the pairs), or ask more"
    )


class OnlinePreferenceReward:
    """The reward that a World's agent is trained on while it is learned; a `RolloutReward`.

    Each rollout is drawn and embedded once, its segments join the pool, a stage is asked and the reward refitted if that
    is due, and only then the whole rollout is scored: nothing an agent learns from was labelled by an older reward.
    """

    reads: Reads = "states"

    def __init__(self, learner: PreferenceLearner, world: Any) -> None:
        """Learn by `learner` of rollouts of `world`, which draws its states."""
        self.learner, self._world = learner, world
        self.reward_model = learner.reward
        self.asked = 0
        learner.pool.render = self._draw
        self._rank: float | None = None

    def _draw(self, states: np.ndarray) -> np.ndarray:
        self.asked += len(states)
        return self._world.render_states(states)

    def score_rollout(
        self,
        states: Float[np.ndarray, "T N S"],
        valid: Bool[np.ndarray, "T N"],
        ended: Bool[np.ndarray, "T N"] | None = None,
        progress: Float[np.ndarray, "T N"] | None = None,
    ) -> tuple[Float[np.ndarray, "T N"], Bool[np.ndarray, "T N"]]:
        """Return rewards (T, N) of a rollout and which rows count; ended tells where episodes ended.

        progress is the world's own reward: oracles answer by it, and labels and rewards are compared with it.
        Raises: as `PreferenceLearner.ask`; NonFiniteError, with step and world, for a reward that is NaN or infinite.
        """
        learner = self.learner
        ended = np.zeros(valid.shape, bool) if ended is None else ended
        embeddings = self._embed(states, valid) if learner.reward.segment_reads == "embeddings" else None
        learner.pool.add(ended, states=states, embeddings=embeddings, progress=progress, valid=valid)
        learner.steps += valid.size
        if learner.is_due:
            learner.ask()
        scores = self._score(states, valid, embeddings)
        self._rank = None if progress is None else spearman(scores[valid], progress[valid])
        return np.where(valid, scores, 0).astype(np.float32), valid

    def _embed(self, states: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return embeddings float32 (T, N, D) of the rows that count, zeros elsewhere."""
        encoder: Any = self.learner.reward.encoder  # type: ignore[attr-defined]
        found = np.zeros((*valid.shape, encoder.embedding_dim), np.float32)
        rows = states[valid]
        parts = [
            encoder.embed_images(self._draw(rows[first : first + CHUNK])).cpu().numpy()
            for first in range(0, len(rows), CHUNK)
        ]
        if parts:
            found[valid] = np.concatenate(parts)
        return found

    def _score(self, states: np.ndarray, valid: np.ndarray, embeddings: np.ndarray | None) -> np.ndarray:
        reward: Any = self.learner.reward
        if embeddings is not None:
            return relabel(reward, embeddings)
        scores = np.zeros(valid.shape, np.float32)
        scores[valid] = self.compute_reward(states[valid]).numpy()
        bad = np.argwhere(~np.isfinite(scores))
        if len(bad):
            step, world = bad[0]
            raise NonFiniteError("learned reward", float(scores[step, world]), int(step), int(world))
        return scores

    def compute_reward(self, batch: Float[np.ndarray, "batch size"]) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, of states (B, S), by the reward of now; nothing is asked or learned."""
        import torch

        parts = [torch.zeros(0)]
        for first in range(0, len(batch), CHUNK):
            frames = self._draw(batch[first : first + CHUNK])
            parts.append(self.learner.reward.compute_reward(frames).cpu())  # type: ignore[attr-defined]
        return torch.cat(parts)

    def metrics(self) -> dict[str, float | None]:
        """Return the learner's metrics, and the rank correlation of rewards and progress over the last rollout."""
        return {**self.learner.metrics(), "progress_correlation": self._rank}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all state by name."""
        return {"drawn": np.array([self.asked], np.int64), **self.learner.state_dict()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`. Raises: UsageError where the store lacks an answer that was given."""
        self.asked = int(state["drawn"][0])
        self.learner.load_state_dict(state)

    def close(self) -> None:
        """Close the store."""
        self.learner.close()
