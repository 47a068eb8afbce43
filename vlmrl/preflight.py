"""Before training: does the reward tell goal states from start and random ones? Seconds, not hours.

The judgement (`judge`, `prompt_warnings`) is pure; `score_frames` streams frames through a reward;
`preflight` puts both together over what `vlmrl.samples` draws from a world or an env.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlmrl.encoders.words import complaint, judge_prompts
from vlmrl.ranks import auc
from vlmrl.rewards.protocol import FLAT

if TYPE_CHECKING:
    from vlmrl.encoders import Encoder
    from vlmrl.rewards import RewardModel

Verdict = Literal["separates", "weak", "reversed", "flat", "unknown"]

SEPARATES = 0.9
"""AUC from which goal states count as told apart."""
REVERSED = 0.4
"""AUC from which downwards the reward prefers the others to the goal states."""
MIN_STATES = 8
"""Fewer states than these are no basis for a verdict."""
BLACK = 3
"""A frame without a brighter value than this, of 255, is black."""
SAME_PROMPT = 0.995
"""Cosine of goal and baseline from which upwards the encoder hardly tells them apart."""


@dataclass(frozen=True)
class Group:
    """How the reward spreads over one kind of states."""

    name: str
    """start, random or goal."""
    count: int
    """Number of states."""
    mean: float
    """Mean reward."""
    std: float
    """Standard deviation of the reward."""
    low: float
    """5% of the rewards lie below."""
    median: float
    """Half of the rewards lie below."""
    high: float
    """95% of the rewards lie below."""
    histogram: tuple[int, ...]
    """Counts in 24 bins over the range that all groups share."""
    margin: float | None
    """Mean of cosine(frame, goal) - cosine(frame, baseline); None if the reward has no such prompts."""


@dataclass(frozen=True)
class PreflightResult:
    """What preflight found."""

    verdict: Verdict
    """separates, weak or reversed where goal states exist; flat; else unknown."""
    explanation: str
    """The verdict in one sentence."""
    auc_start: float | None
    """Probability that a goal state earns more than a start state; None without either."""
    auc_random: float | None
    """Probability that a goal state earns more than a state reached by random actions."""
    groups: tuple[Group, ...]
    """The spread over start, random and goal states."""
    baseline_reward: float | None
    """What a frame would earn that showed exactly the baseline sentence."""
    warnings: tuple[str, ...]
    """Everything that is likely to spoil training, one sentence each."""


@dataclass
class Scored:
    """Rewards of one kind of states and what their frames looked like, gathered batch by batch."""

    rewards: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    num_black: int = 0
    num_constant: int = 0
    all_same: bool = True
    first: np.ndarray | None = None

    def watch(self, frames: np.ndarray) -> None:
        """Take note of black and constant frames, uint8 (B, H, W, 3), and whether all are one picture."""
        pixels = frames.reshape(len(frames), -1)
        self.num_black += int((pixels.max(axis=1) <= BLACK).sum())
        # By channel: a plain red frame has three values, and still shows nothing.
        self.num_constant += int((np.ptp(frames, axis=(1, 2)).max(axis=1) == 0).sum())
        self.first = frames[0].copy() if self.first is None else self.first
        same_size = frames.shape[1:] == self.first.shape
        self.all_same = self.all_same and same_size and bool((frames == self.first).all())


def prompt_warnings(
    goal: Sequence[str], baseline: Sequence[str], encoder: Encoder | None = None
) -> list[str]:
    """Return a warning for each prompt that is empty, cut off, unknown, or no different from its counterpart."""
    found = []
    for name, sentences in (("goal", goal), ("baseline", baseline)):
        if not sentences or any(not sentence.strip() for sentence in sentences):
            found.append(f"the {name} is empty: it says nothing to reward")
    if [s.strip().lower() for s in goal] == [s.strip().lower() for s in baseline]:
        found.append("goal and baseline are the same words: the direction between them is zero")
    if encoder is None or found:
        return found
    sentences = [*goal, *baseline]
    for sentence, cut in zip(sentences, encoder.is_truncated(sentences), strict=True):
        if cut:
            text = sentence if len(sentence) <= 60 else sentence[:57] + "..."
            found.append(f'the prompt "{text}" is longer than the encoder reads: its end is cut off')
    found += [complaint(verdict) for verdict in judge_prompts(encoder, sentences)]
    means = [encoder.embed_texts(list(s)).mean(0) for s in (goal, baseline)]
    cosine = float(means[0] @ means[1] / (means[0].norm() * means[1].norm()).clamp_min(1e-12))
    if cosine > SAME_PROMPT:
        found.append(f"the encoder hardly tells goal and baseline apart (cosine {cosine:.4f}): reword one")
    return found


def frame_warnings(scored: Mapping[str, Scored]) -> list[str]:
    """Return warnings about black, constant and never-changing frames, by the kind of states."""
    found = []
    for name, group in scored.items():
        count = len(group.rewards)
        if group.num_black:
            found.append(
                f"{group.num_black} of {count} {name} frames are black: check the renderer and camera"
            )
        elif group.num_constant:
            found.append(f"{group.num_constant} of {count} {name} frames have one colour: check the camera")
        if name == "random" and count > 1 and group.all_same:
            found.append("random actions change nothing in the picture: check the camera and the actions")
    return found


def judge(
    scored: Mapping[str, Scored],
    *,
    baseline_reward: float | None = None,
    start_is_goal: float = 0.0,
    warnings: Sequence[str] = (),
) -> PreflightResult:
    """Return the verdict on rewards of start, random and, where known, goal states.

    scored: by "start", "random", "goal"; goal states among start and random ones are already taken out.
    start_is_goal: share of the start states that were goal states, 0..1; at 1 they are not compared.
    It never says "separates" without goal states, nor without something to separate them from.
    """
    rewards = {name: np.asarray(group.rewards, np.float64) for name, group in scored.items() if group.rewards}
    found = [*warnings, *frame_warnings(scored)]
    pooled = np.concatenate([*rewards.values(), np.zeros(0)])
    bad = int((~np.isfinite(pooled)).sum())
    if bad:
        found.append(f"{bad} of {len(pooled)} rewards are not finite: check encoder and frames")
        rewards = {name: values[np.isfinite(values)] for name, values in rewards.items()}
        pooled = pooled[np.isfinite(pooled)]
    flat = len(pooled) == 0 or float(pooled.std()) < FLAT
    if flat:
        spread = float(pooled.std()) if len(pooled) else 0.0
        found.append(f"the reward is flat: standard deviation {spread:.2g} over all states")
    goal = rewards.get("goal", np.zeros(0))
    compared = {
        name: auc(goal, rewards[name])
        for name in (("start", "random") if start_is_goal < 1 else ("random",))
        if len(goal) >= MIN_STATES and len(rewards.get(name, ())) >= MIN_STATES
    }
    if start_is_goal > 0.5:
        found.append(f"{start_is_goal:.0%} of the start states already show the goal: the task is to keep it")
    verdict, explanation = _verdict(compared, len(goal), flat)
    if verdict == "reversed":
        found.append("the reward is reversed: other states earn more than goal states")
    edges = _edges(pooled)
    groups = tuple(
        _group(name, values, edges, scored[name]) for name, values in rewards.items() if len(values)
    )
    return PreflightResult(
        verdict,
        explanation,
        compared.get("start"),
        compared.get("random"),
        groups,
        baseline_reward,
        tuple(found),
    )


def _verdict(compared: Mapping[str, float], num_goal: int, flat: bool) -> tuple[Verdict, str]:
    if flat:
        return "flat", "the reward is nearly the same everywhere: there is nothing to learn from"
    if compared and min(compared.values()) >= SEPARATES:
        return "separates", f"goal states earn more than {_names(compared)} states"
    if compared and min(compared.values()) <= REVERSED:
        return "reversed", "some states that are not the goal earn more than goal states"
    if compared:
        return "weak", "goal states earn more than others only at times: expect slow or no learning"
    if num_goal < MIN_STATES:
        got = f"{num_goal} goal states are" if num_goal else "without goal states there is"
        return "unknown", f"{got} no basis for a verdict; --goal-frames FOLDER gives pictures of the goal"
    return "unknown", "there are too few other states to compare goal states with"


def _names(compared: Mapping[str, float]) -> str:
    return " and ".join(compared)


def _edges(pooled: np.ndarray, bins: int = 24) -> np.ndarray:
    low, high = (float(pooled.min()), float(pooled.max())) if len(pooled) else (0.0, 0.0)
    # NumPy refuses bins narrower than its numbers: give a constant reward some room.
    room = 0.5 if high - low < 1e-9 * max(1.0, abs(high)) else 0.0
    return np.linspace(low - room, high + room, bins + 1)


def _group(name: str, rewards: np.ndarray, edges: np.ndarray, scored: Scored) -> Group:
    low, median, high = np.quantile(rewards, [0.05, 0.5, 0.95])
    counts = tuple(int(count) for count in np.histogram(rewards, bins=edges)[0])
    margin = float(np.mean(scored.margins)) if scored.margins else None
    moments = float(rewards.mean()), float(rewards.std())
    return Group(name, len(rewards), *moments, float(low), float(median), float(high), counts, margin)


def score_frames(reward_model: RewardModel, batches: Iterable[np.ndarray]) -> Scored:
    """Score `batches` of frames, uint8 (B, H, W, 3), one batch in memory at a time."""
    scored = Scored()
    for frames in batches:
        if len(frames) == 0:
            continue
        model: Any = reward_model
        prompts = [getattr(model, f"{name}_embedding", None) for name in ("goal", "baseline")]
        if hasattr(model, "reward_of_embeddings"):
            embeddings = model.encoder.embed_images(frames)  # once, for reward and margin
            rewards = model.reward_of_embeddings(embeddings)
            if prompts[0] is not None and prompts[1] is not None:
                margins = embeddings @ (prompts[0] - prompts[1])
                scored.margins += [float(margin) for margin in margins]
        else:
            rewards = model.compute_reward(frames)
        scored.watch(np.asarray(frames))
        scored.rewards += [float(reward) for reward in rewards]
    return scored


def preflight(
    reward_model: RewardModel,
    batches: Mapping[str, Iterable[np.ndarray]],
    *,
    start_is_goal: float = 0.0,
    warnings: Sequence[str] = (),
) -> PreflightResult:
    """Score frames of "start", "random" and perhaps "goal" states with `reward_model` and judge the spread.

    batches: by kind of states, frames uint8 (B, H, W, 3), such as `vlmrl.samples` draws.
    start_is_goal, warnings: as for `judge`. Raises: UsageError on frames that are no RGB bytes.
    """
    scored = {name: score_frames(reward_model, frames) for name, frames in batches.items()}
    baseline = getattr(reward_model, "baseline_embedding", None)
    baseline_reward = None
    if baseline is not None and hasattr(reward_model, "reward_of_embeddings"):
        unit = baseline / baseline.norm().clamp_min(1e-12)
        baseline_reward = float(reward_model.reward_of_embeddings(unit[None])[0])
    return judge(scored, baseline_reward=baseline_reward, start_is_goal=start_is_goal, warnings=warnings)


_BARS = " ▁▂▃▄▅▆▇█"


def render_text(result: PreflightResult) -> str:
    """Return `result` as lines for a terminal: a table with histograms, the AUCs, the verdict, warnings."""
    head = f"{'':9}{'states':>7}{'mean':>9}{'std':>9}{'5%':>9}{'50%':>9}{'95%':>9}{'margin':>9}  spread"
    lines = [head]
    for group in result.groups:
        peak = max(group.histogram) or 1
        # Rounded up: a bin with one state in it shows.
        bars = "".join(_BARS[-(-count * (len(_BARS) - 1) // peak)] for count in group.histogram)
        numbers = (group.mean, group.std, group.low, group.median, group.high)
        margin = "" if group.margin is None else f"{group.margin:+.4f}"
        cells = "".join(f"{number:9.4f}" for number in numbers)
        lines.append(f"{group.name:9}{group.count:7d}{cells}{margin:>9}  |{bars}|")
    if result.baseline_reward is not None:
        lines.append(f"a frame that showed exactly the baseline would earn {result.baseline_reward:.4f}")
    for name, value in (("start", result.auc_start), ("random", result.auc_random)):
        if value is not None:
            lines.append(f"goal above {name} states: AUC {value:.3f}")
    lines.append(f"verdict: {result.verdict} - {result.explanation}")
    lines += [f"warning: {warning}" for warning in result.warnings]
    return "\n".join(lines)
