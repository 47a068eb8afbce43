"""The training loop: rollout, update, metrics, checkpoint; and how a loop is taken up where it was left, to the bit."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.progress import Progress

if TYPE_CHECKING:
    from vlmrl.checkpoints import Checkpoint
    from vlmrl.rollout import Collected, Collector
    from vlmrl.training import Run

FLAT_FROM = 0.1
"""Share of the steps after which a run says that its reward is flat."""
RECENT = 100
"""Episodes over which the shown success is averaged."""
LEARNED, WORLD = "learned/", "world/"
"""What the names of tensors in a checkpoint begin with that are not the agent's."""


class FlatRewardWarning(UserWarning):
    """The reward has been one constant so far: nothing is learnt from it."""


@dataclass
class LoopState:
    """Where a loop stands; JSON values only."""

    step: int = 0
    """Environment steps done."""
    frames: int = 0
    """Frames scored."""
    seconds: float = 0.0
    """Seconds spent, over all sittings."""
    saved: int = 0
    """Steps at the last checkpoint."""
    shift: float | None = None
    """What is taken off every reward; None before the first rollout."""
    warned: bool = False
    """Whether a flat reward was said."""
    successes: list[bool] = field(default_factory=list)
    """Verdicts of the last episodes."""
    since_saved: list[float] = field(default_factory=list)
    """Mean rewards of the rollouts since the last checkpoint."""


Snapshot = tuple[dict[str, np.ndarray], dict[str, Any]]


class Loop:
    """Train a run's agent on what a collector brings."""

    def __init__(self, run: Run, collector: Collector) -> None:
        self.run, self.collector = run, collector
        self.state = LoopState()

    @property
    def _weights(self) -> str | None:
        """What tells the encoder's weights from others of its name."""
        return getattr(self.collector.encoder, "fingerprint", None)

    def begin(self) -> None:
        """Start the worlds."""
        self.collector.reset(self.run.config.seed)

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint: what follows is equal to the bit to what followed there (on a CPU, with Worlds).

        Raises: UsageError where the encoder of the run's name has other weights by now.
        """
        check_weights(checkpoint.extra.get("weights"), self._weights)
        parts: dict[str, dict[str, np.ndarray]] = {LEARNED: {}, WORLD: {}, "": {}}
        for name, tensor in checkpoint.tensors.items():
            prefix = next(prefix for prefix in parts if name.startswith(prefix))
            parts[prefix][name.removeprefix(prefix)] = tensor
        self.run.agent.load_state_dict(parts[""])
        self.state = LoopState(**checkpoint.extra["loop"])
        seed = self.run.config.seed + self.state.step  # where the envs themselves cannot be stored
        self.collector.load_snapshot(parts[WORLD], checkpoint.extra["world"], seed)
        if parts[LEARNED]:
            self.collector.reward_model.load_state_dict(parts[LEARNED])  # type: ignore[union-attr]

    def go(self, on_progress: Callable[[Progress], None] | None) -> None:
        """Train to the end; whatever stops it, the state after the last whole update is saved first."""
        config, state = self.run.config, self.state
        started = time.perf_counter() - state.seconds
        last = self._snapshot()
        try:
            while state.step < config.total_steps:
                found, losses = self._update()
                state.seconds = time.perf_counter() - started
                progress = self._progress(found)
                self.run.folder.log(
                    state.step, _row(progress, found, losses, state)
                )  # a row too many is taken back
                if state.step - state.saved >= config.checkpoint_every or state.step >= config.total_steps:
                    score, state.saved, state.since_saved = self._score(state), state.step, []
                    last = self._snapshot()
                    self._save(last, score)
                else:
                    last = self._snapshot()
                if on_progress is not None:
                    on_progress(progress)
        except BaseException:
            if last[1]["loop"]["saved"] < last[1]["loop"]["step"] or not last[1]["loop"]["step"]:
                self._save(last, None)  # where it was stopped says nothing of how good it is
            raise

    def _update(self) -> tuple[Collected, dict[str, float]]:
        config, agent, state = self.run.config, self.run.agent, self.state
        found = self.collector.collect(agent)
        if state.shift is None:
            state.shift = shift_of(found.rollout)
        rollout = found.rollout
        losses = agent.update(rollout._replace(rewards=rollout.rewards - np.float32(state.shift)))
        state.step += config.num_envs * config.agent.num_steps
        if not (state.warned or losses["learning"]) and state.step >= FLAT_FROM * config.total_steps:
            state.warned = True
            warnings.warn(_flat_text(config, state.step), FlatRewardWarning, stacklevel=4)
        state.frames += found.frames_scored
        state.successes = [*state.successes, *map(bool, found.successes)][-RECENT:]
        state.since_saved.append(vlm_reward(found))
        return found, losses

    def _progress(self, found: Collected) -> Progress:
        config, state = self.run.config, self.state
        left = max(0.0, config.total_steps - state.step)
        return Progress(
            global_step=state.step, total_steps=config.total_steps, steps_per_s=state.step / state.seconds,
            frames_per_s=state.frames / state.seconds, vlm_reward=vlm_reward(found),
            env_reward=float(found.env_rewards.mean()), share_asked=found.learned.get("share"),
            success=float(np.mean(state.successes)) if state.successes else None,
            seconds_left=left * state.seconds / state.step,
        )  # fmt: skip

    def _snapshot(self) -> Snapshot:
        """Return everything that the rest of the run depends on: tensors and JSON values."""
        arrays, values = self.collector.snapshot()
        tensors = {**self.run.agent.state_dict(), **{WORLD + name: array for name, array in arrays.items()}}
        model = self.collector.reward_model
        if hasattr(model, "state_dict"):
            tensors |= {LEARNED + name: array for name, array in model.state_dict().items()}  # type: ignore[union-attr]
        extra = {"global_step": self.state.step, "loop": asdict(self.state), "world": values}
        return tensors, {**extra, "weights": self._weights}

    def _score(self, state: LoopState) -> float | None:
        """Return what `best` goes by: the mean VLM reward lately. None where each refit gives the reward a new scale."""
        if self.run.config.labeller is not None or not state.since_saved:
            return None
        return float(np.mean(state.since_saved[-5:]))

    def _save(self, snapshot: Snapshot, score: float | None) -> None:
        """Save; the score that `best` goes by is the mean VLM reward, never success."""
        tensors, extra = snapshot
        self.run.folder.save_checkpoint(extra["global_step"], tensors, extra, score=score)


def agent_tensors(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return those of a checkpoint's tensors that are the agent's."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith((LEARNED, WORLD))}


def check_weights(began_with: str | None, now: str | None) -> None:
    """Check that a run goes on with the weights it began with; None of either is unknown. Raises: UsageError."""
    if began_with and now and began_with != now:
        remedy = "put those weights back (--encoder local-dir:PATH names a folder), or train again"
        raise usage_error(
            "encoder", f"weights {now}", f"weights {began_with}, with which the run began", remedy
        )


def vlm_reward(found: Collected) -> float:
    """Return the reward model's mean answer on a rollout: of the states that count, or as estimated without bias."""
    estimated = found.learned.get("vlm_reward")
    return float(found.rollout.rewards[found.rollout.valid].mean()) if estimated is None else estimated


def shift_of(rollout: Any) -> float:
    """Return what is taken off every reward of a run: the first rollout's mean, or 0 where episodes terminate.

    A similarity is far from 0 everywhere, and a constant that sums up over an episode drowns the differences that
    matter in the return's scale. Where episodes end by truncation only, a constant changes no policy's rank.
    """
    return 0.0 if rollout.terminated.any() else float(rollout.rewards[rollout.valid].mean())


def _flat_text(config: Any, step: int) -> str:
    """Say that nothing was learnt so far, and what to do."""
    width = f", to {config.reward_resolution:g}" if config.from_frames else ""
    return (
        f"reward: got one constant{width}, in {step:,} steps; expected one that differs between frames, or nothing "
        f"is learnt; see what `vlmrl preflight` says of goal, baseline and encoder"
    )


def _row(progress: Progress, found: Collected, losses: dict[str, float], state: LoopState) -> dict[str, Any]:
    row: dict[str, Any] = {
        "vlm_reward": progress.vlm_reward, "env_reward": progress.env_reward, "success": progress.success,
        "env_return": float(np.mean(found.env_returns)) if found.env_returns else None,
        "seconds": state.seconds, "frames_scored": state.frames, "steps_per_s": progress.steps_per_s,
        "out_of_view": found.out_of_view,
    }  # fmt: skip
    for group, values in (("time", found.seconds), ("ppo", losses), ("learned", found.learned),
                          ("encoder", found.encoder)):  # fmt: skip
        row |= {f"{group}/{name}": value for name, value in values.items()}
    return row
