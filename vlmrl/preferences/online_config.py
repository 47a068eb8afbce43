"""The settings of learning a reward from preferences while an agent trains, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from vlmrl.errors import usage_error
from vlmrl.preferences.chat.config import ChatConfig
from vlmrl.preferences.configs import EncoderLabellerConfig, PixelPreferenceConfig, PreferenceConfig
from vlmrl.preferences.oracle import OracleConfig
from vlmrl.preferences.routed import RoutedConfig
from vlmrl.preferences.segments import PoolConfig

LabellerName = Literal["encoder", "chat", "human", "oracle", "routed"]
SamplerName = Literal["uniform", "disagreement", "entropy", "visual_gap", "mixture"]
LearnFrom = Literal["embeddings", "pixels"]


@dataclass(frozen=True)
class PreferencesConfig:
    """Which pairs are asked, when and how many, and how the reward is learned from the answers.

    Source: RL-VLM-F's schedule (M pairs every K steps up to a cap, the reward refitted each time). Deviations: the first
    stage comes after the first rollout, whose actions are random, and is larger; the budget counts what is asked in the
    whole run, abstentions too; K is 10,000 and M 50 where RL-VLM-F has 1,000 to 5,000 and 40 to 100, for a fifth of its
    answers or less.
    """

    pairs: int = 1000
    """Pairs asked at most in the whole run, abstentions among them."""
    first_pairs: int = 150
    """Labels wanted in the first stage, after the first rollout."""
    stage_pairs: int = 50
    """Labels wanted in each further stage, RL-VLM-F's M."""
    every: int = 10_000
    """Environment steps from one stage to the next, RL-VLM-F's K."""
    sampler: SamplerName = "uniform"
    """How pairs are drawn from the pool once there is a reward: uniform, by the ensemble's disagreement or entropy, by
    visual gap, or mixture: half uniform, half disagreement. The first stage draws uniformly."""
    pool: PoolConfig = field(default_factory=lambda: PoolConfig(capacity=8192, per_rollout=512))
    """Segments that pairs are drawn from."""
    encoder: EncoderLabellerConfig = field(default_factory=EncoderLabellerConfig)
    """The labeller `encoder`, but for alpha, which is the task's."""
    oracle: OracleConfig = field(default_factory=OracleConfig)
    """The labeller `oracle`, which knows the world's own reward: for tests and tables."""
    chat: ChatConfig = field(default_factory=ChatConfig)
    """The labeller `chat`."""
    person: str = ""
    """Who answers, for the labeller `human`; kept with each answer."""
    routed: RoutedConfig = field(default_factory=RoutedConfig)
    """The labeller `routed`: the encoder, and what it is unsure of goes to `better`."""
    better: Literal["chat", "human", "oracle"] = "chat"
    """Who answers what the encoder is unsure of."""
    known: tuple[Path, ...] = ()
    """Stores of other runs, or their folders: what was answered there to the same question (frames, words, model,
    parameters) is taken over and not paid again; at a temperature above 0 nothing is."""
    learn_from: LearnFrom = "embeddings"
    """An ensemble of heads on the encoder's embeddings, or of small CNNs on pixels, as RL-VLM-F's."""
    heads: PreferenceConfig = field(default_factory=PreferenceConfig)
    """The reward on embeddings."""
    cnns: PixelPreferenceConfig = field(default_factory=PixelPreferenceConfig)
    """The reward on pixels."""

    def __post_init__(self) -> None:
        for name in ("pairs", "first_pairs", "stage_pairs", "every"):
            if getattr(self, name) < 1:
                raise usage_error(
                    f"preferences.{name}", getattr(self, name), "1 or more", "leave it as it is"
                )
        for name, kind in (("sampler", SamplerName), ("learn_from", LearnFrom)):
            if getattr(self, name) not in get_args(kind):
                expected = f"one of {', '.join(get_args(kind))}"
                raise usage_error(f"preferences.{name}", getattr(self, name), expected, "choose one of these")
        if self.sampler == "visual_gap" and self.learn_from == "pixels":
            remedy = "learn from embeddings, or draw uniformly"
            raise usage_error("preferences.sampler", "visual_gap on pixels", "embeddings to compare", remedy)
