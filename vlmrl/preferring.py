"""Make the reward of a run that learns it from preferences: labeller, encoder, ensemble, store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.errors import usage_error
from vlmrl.preferences.online_config import LabellerName, PreferencesConfig
from vlmrl.preferences.protocol import Labeller, task_question
from vlmrl.tasks import Task

if TYPE_CHECKING:
    from vlmrl.preferences.learned import LearnedReward
    from vlmrl.preferences.online import OnlinePreferenceReward, PreferenceLearner


def make_labeller(
    name: LabellerName, config: PreferencesConfig, task: Task, encoder: Any, folder: Path
) -> Labeller:
    """Make the labeller called `name`; a person answers into the store in `folder`, one answer after the other.

    Raises: UsageError for a chat labeller without address, model or key.
    """
    if name == "encoder":
        from vlmrl.preferences.encoder_labeller import EncoderLabeller

        return EncoderLabeller(encoder, replace(config.encoder, alpha=task.alpha))
    if name == "oracle":
        from vlmrl.preferences.oracle import OracleLabeller

        return OracleLabeller(config.oracle)
    if name == "chat":
        from vlmrl.preferences.chat import ChatLabeller

        return ChatLabeller(config.chat)
    if name == "human":
        from vlmrl.preferences.human import HumanLabeller
        from vlmrl.preferences.store import STORE

        return HumanLabeller(config.person, open_browser=False, store=folder / STORE)
    from vlmrl.preferences.routed import RoutedLabeller

    first, second = (make_labeller(n, config, task, encoder, folder) for n in ("encoder", config.better))
    return RoutedLabeller(first, second, config.routed)


def make_reward_to_learn(config: PreferencesConfig, encoder: Any, seed: int) -> LearnedReward:
    """Make the reward that is learned, as yet of nothing."""
    from vlmrl.preferences.learning import PixelPreferenceReward, PreferenceReward

    def seeded(part: Any) -> Any:
        return replace(part, fit=replace(part.fit, seed=part.fit.seed + seed))

    if config.learn_from == "pixels":
        return PixelPreferenceReward(seeded(config.cnns), getattr(encoder, "device", None))
    return PreferenceReward(encoder, seeded(config.heads))


def make_learner(
    name: LabellerName, config: PreferencesConfig, task: Task, encoder: Any, folder: Path, seed: int = 0
) -> PreferenceLearner:
    """Make what asks and learns for an agent; its store will lie in `folder`.

    Raises: UsageError for a task of several goal sentences, and as `make_labeller`.
    """
    from vlmrl.preferences.online import PreferenceLearner

    reward = make_reward_to_learn(config, encoder, seed)
    labeller = make_labeller(name, config, task, encoder, folder)
    return PreferenceLearner(reward, labeller, task_question(task), config, folder, seed=seed)


def make_online_reward(
    name: LabellerName,
    config: PreferencesConfig,
    task: Task,
    encoder: Any,
    envs: Any,
    folder: Path,
    seed: int = 0,
) -> OnlinePreferenceReward:
    """Make the reward that a World's agent is trained on while it is learned.

    Raises: UsageError for envs that are no World, and as `make_learner`.
    """
    from vlmrl.preferences.online import OnlinePreferenceReward
    from vlmrl_envs.world import is_world

    if not is_world(envs):
        got = f"{name} for {task.env_id}"
        remedy = "train stable-baselines3's SAC with `vlmrl.sb3_preferences`, which takes frames step by step"
        raise usage_error("labeller", got, "a World of vlmrl, whose frames can be drawn late", remedy)
    return OnlinePreferenceReward(make_learner(name, config, task, encoder, folder, seed), envs.unwrapped)


def load_learned(config: PreferencesConfig, encoder: Any, run: Path) -> Any:
    """Return the reward that a run learned last; None where it has learned none.

    Raises: UsageError for damaged files, or an encoder it was not learned with.
    """
    from vlmrl.preferences.learning import PixelPreferenceReward, PreferenceReward
    from vlmrl.preferences.online import REWARD
    from vlmrl.preferences.weights import RECORD

    if not (run / REWARD / RECORD).is_file():
        return None
    if config.learn_from == "pixels":
        return PixelPreferenceReward.load(run / REWARD, getattr(encoder, "device", None))
    return PreferenceReward.load(run / REWARD, encoder)
