"""The settings of a training run, and those with which each built-in task is trained here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from vlmrl.agents.config import PPOConfig
from vlmrl.errors import usage_error
from vlmrl.preferences.online_config import LabellerName, PreferencesConfig
from vlmrl.rewards.learned_config import LearnedConfig, check_budget
from vlmrl.rewards.protocol import FLAT
from vlmrl.tasks import Task, get_task

RewardName = Literal["vlm", "constant", "random_encoder", "swapped_goal", "blank", "true", "state_similarity"]
REWARDS: tuple[RewardName, ...] = get_args(RewardName)
FROM_FRAMES: tuple[RewardName, ...] = ("vlm", "random_encoder", "swapped_goal", "blank")
"""Rewards that an encoder gives."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run is made from."""

    task: Task
    """The goal in words and the world it is meant for."""
    encoder: str = "embedded"
    """What `load_encoder` takes: embedded, MODEL/PRETRAINED, local-dir:PATH, random:SEED or as-slow-as:MODEL."""
    agent: PPOConfig = field(default_factory=PPOConfig)
    """Hyper-parameters of PPO."""
    num_envs: int = 64
    """Worlds N that are stepped at once."""
    total_steps: int = 300_000
    """Environment steps to train for, over all worlds."""
    seed: int = 0
    """Seed of worlds and agent."""
    device: str | None = None
    """Where the encoder runs: cpu, cuda[:i], or None for the GPU if there is one."""
    renderer: str = "warp"
    """How worlds of vlmrl are drawn: warp (everywhere) or gl."""
    out: Path | None = None
    """Run folder, which must not exist; None makes runs/<task>-<seed>-<time>."""
    views: tuple[str, ...] = ()
    """Cameras of the World whose rewards are averaged, each at the cost of a frame; () is the task's own alone."""
    reward: RewardName = "vlm"
    """vlm, or a control: constant, random_encoder, swapped_goal, blank (black frames), true (the world's own
    reward), state_similarity (how true the goal's words are of the physics: what a perfect encoder would say)."""
    reward_resolution: float = FLAT
    """An encoder's rewards whose range in the run so far is no wider count as one constant: nothing is learnt
    from them. 0 learns from any difference."""
    queries: int | None = None
    """How many states the reward model may be asked about in all; None is no limit."""
    query_share: float | None = None
    """How many as a share of all states, in (0, 1]; None is no limit. Without either, it is asked about every state."""
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    """The reward that is learned from the answers where there is a limit."""
    labeller: LabellerName | None = None
    """Who prefers: with one, the reward is learned from answers to pairs of clips, and no frame is scored by words."""
    preferences: PreferencesConfig = field(default_factory=PreferencesConfig)
    """Which pairs are asked, and how the reward is learned, where there is a labeller."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints."""
    video: bool = True
    """Write a video of an episode before and after training."""

    def __post_init__(self) -> None:
        if self.reward not in REWARDS:
            raise usage_error("reward", self.reward, f"one of {', '.join(REWARDS)}", "vlm is the usual one")
        if not 0 <= self.reward_resolution < float("inf"):
            remedy = "0 learns from any difference"
            raise usage_error("reward_resolution", self.reward_resolution, "a finite number >= 0", remedy)
        for name in ("num_envs", "total_steps", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise usage_error(name, getattr(self, name), "an integer >= 1", f"set {name} accordingly")
        check_budget(self.queries, self.query_share)
        object.__setattr__(self, "views", tuple(self.views))
        if self.views and (self.labeller or not self.from_frames):
            by = f"labeller {self.labeller}" if self.labeller else f"reward {self.reward}"
            remedy = "leave the views out"
            raise usage_error(
                "views", f"{', '.join(self.views)} with {by}", "a reward that frames give", remedy
            )
        if self.asks_rarely and self.reward == "true":
            remedy = "leave them out: the world's own reward costs nothing"
            raise usage_error("queries", "a limit with reward 'true'", "a reward that can be asked", remedy)
        if self.labeller not in (None, *get_args(LabellerName)):
            expected = f"one of {', '.join(get_args(LabellerName))}"
            raise usage_error("labeller", self.labeller, expected, "leave it out for a reward from words")
        if self.labeller and (self.asks_rarely or self.reward != "vlm"):
            got = f"{self.labeller} with " + (
                "a limit on queries" if self.asks_rarely else f"reward {self.reward}"
            )
            remedy = "limit the answers with preferences.pairs; controls are the oracle's flips"
            raise usage_error("labeller", got, "a reward learned from pairs alone", remedy)

    @property
    def from_frames(self) -> bool:
        """Whether an encoder gives the reward."""
        return self.reward in FROM_FRAMES

    @property
    def asks_rarely(self) -> bool:
        """Whether the reward model is asked about some states only."""
        return self.queries is not None or self.query_share is not None

    @property
    def num_updates(self) -> int:
        """Updates that the run will make."""
        return -(-self.total_steps // (self.num_envs * self.agent.num_steps))


def preset(task_name: str) -> TrainConfig:
    """Return the settings with which a built-in task is trained here.

    Raises: UsageError for an unknown task.
    """
    task = get_task(task_name)
    if task.name == "cartpole":
        agent = PPOConfig(num_steps=32, learning_rate=1e-3, gamma=0.98, num_epochs=8, init_log_std=-0.5)
        return TrainConfig(task=task, agent=agent, total_steps=150_000)
    if task.name == "mountain_car":
        agent = PPOConfig(
            num_steps=100,
            learning_rate=1e-3,
            anneal_lr=True,
            gamma=0.998,
            gae_lambda=0.97,
            num_epochs=8,
            sde=True,
        )
        return TrainConfig(task=task, agent=agent, total_steps=300_000)
    agent = PPOConfig(
        num_steps=32, learning_rate=5e-4, gamma=0.97, num_epochs=6, num_minibatches=4, hidden_sizes=(256, 128),
        init_log_std=-1.0, activation="elu", target_kl=0.03,
    )  # fmt: skip
    if task.env_id == "vlmrl/Humanoid-v0":
        agent = replace(agent, anneal_lr=True, final_log_std=-2.0, target_kl=0.06)
        steps = 300_000 if task.name in ("humanoid_kneeling", "humanoid_standing") else 1_000_000
        return TrainConfig(task=task, agent=agent, total_steps=steps)
    return TrainConfig(task=task, agent=agent, total_steps=300_000)
