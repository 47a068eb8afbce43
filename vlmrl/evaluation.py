"""Judge a trained agent by the world's own check, which neither the reward nor the agent has seen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.making import make_envs
from vlmrl.training import Run
from vlmrl_envs.world import is_world


def evaluate(
    run: Run,
    episodes: int = 100,
    horizon: int | None = None,
    seed: int = 10_000,
    states_file: str | os.PathLike[str] | None = None,
    deterministic: bool = True,
) -> dict[str, Any]:
    """Run whole episodes from fresh starts and judge them.

    Returns success (share of episodes, None where the env has no check) with a 95% Wilson interval, the mean share of
    steps at the goal, the mean return of the env's own reward, and how it was measured. `states_file` (.npz, new) takes
    states (T, E, S) and success (T, E), so that others can judge the same episodes.

    Raises: UsageError for no episodes, a file that exists, or states asked of an env that has none.
    """
    if episodes < 1:
        raise usage_error("episodes", episodes, "an integer >= 1", "100 is usual")
    if states_file is not None and Path(states_file).exists():
        raise usage_error("states", f"{states_file}, which exists", "a new file", "choose another name")
    envs = make_envs(run.config.task, episodes, horizon=horizon)
    try:
        found = run_episodes(run, envs, seed, deterministic)
    finally:
        envs.close()
    if states_file is not None:
        if found["states"] is None:
            raise usage_error("states", run.config.task.env_id, "a World of vlmrl", "leave --states out")
        with open(states_file, "xb") as file:
            np.savez_compressed(file, states=found["states"], success=found["success"])
    verdicts = found["verdicts"]
    success = float(verdicts.mean()) if verdicts is not None else None
    return {
        "task": run.config.task.name,
        "reward": run.config.reward,
        "episodes": episodes,
        "horizon": found["horizon"],
        "seed": seed,
        "success": success,
        "success_interval": wilson(int(verdicts.sum()), episodes) if verdicts is not None else None,
        "steps_at_goal": float(found["success"].mean()) if found["success"] is not None else None,
        "env_return": float(found["env_rewards"].sum(axis=0).mean()),
    }


def run_episodes(run: Any, envs: Any, seed: int, deterministic: bool = True) -> dict[str, Any]:
    """Run one episode in each of E envs to its end; `run` needs `.act(obs, deterministic)`.

    Returns env_rewards (T, E), states (T, E, S), success bool (T, E) and verdicts bool (E,), the last three None where
    the env is no World (verdicts then come from info["is_success"] if it is there), and horizon T. An episode that ended
    before the others stays in its last state, without success.
    """
    world = envs.unwrapped if is_world(envs) else None
    obs, _ = envs.reset(seed=seed)
    alive = np.ones(envs.num_envs, bool)
    rewards: list[np.ndarray] = []
    states: list[np.ndarray] = []
    success: list[np.ndarray] = []
    verdicts = np.zeros(envs.num_envs, bool)
    judged = False
    while alive.any():
        obs, reward, terminated, truncated, infos = envs.step(run.act(obs, deterministic))
        rewards.append(np.where(alive, reward, 0.0))
        if world is not None:
            found = infos["states_before_reset"]
            states.append(np.where(alive[:, None], found, states[-1]) if states else found)
            success.append(infos["success"] & alive)
        ended = alive & (terminated | truncated)
        source = infos.get("final_info", infos)
        if ended.any() and "is_success" in source:
            verdicts[ended] = np.asarray(source["is_success"], bool)[ended]
            judged = True
        alive &= ~ended
    return {
        "env_rewards": np.stack(rewards),
        "states": np.stack(states) if states else None,
        "success": np.stack(success) if success else None,
        "verdicts": verdicts if judged else None,
        "horizon": len(rewards),
    }


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share, 95% by default."""
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def record_video(
    run: Any,
    path: str | os.PathLike[str],
    seed: int = 20_000,
    horizon: int | None = None,
    *,
    caption: str = "",
    size: tuple[int, int] = (256, 256),
    reward_range: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a video (.mp4) of one episode with the goal's words, the reward of each frame and the verdict on it.

    The frames shown are drawn at `size`; the reward is that of frames as the agent's reward saw them.

    Raises: UsageError for a file that exists.
    """
    from vlmrl.rollout import score_states
    from vlmrl.training import shown_reward
    from vlmrl.video import RolloutVideo

    task = run.config.task
    envs = make_envs(task, 1, horizon=horizon)
    reward_model = shown_reward(run, envs)
    try:
        if not is_world(envs):
            return _record_plain(run, envs, reward_model, path, seed, caption, reward_range, overwrite)
        found = run_episodes(run, envs, seed)
        states = found["states"][:, 0]
        rewards = (
            found["env_rewards"][:, 0]
            if reward_model is None
            else score_states(envs.unwrapped, reward_model, states)
        )
        frames = envs.unwrapped.render_states(states, size=size)
        fps = envs.metadata["render_fps"]
    finally:
        envs.close()
    with RolloutVideo(path, task.goal[0], horizon=len(frames), fps=min(fps, 60), reward_range=reward_range,
                      caption=caption, overwrite=overwrite) as video:  # fmt: skip
        for frame, reward, success in zip(frames, rewards, found["success"][:, 0], strict=True):
            video.step(frame, float(reward), bool(success))
    return Path(path)


def _record_plain(run: Any, envs: Any, reward_model: Any, path: Any, seed: int, caption: str, reward_range: Any,
                  overwrite: bool) -> Path:  # fmt: skip
    """Write the video of an env that is no World: drawn step by step, its last frame from before the reset."""
    from vlmrl.video import RolloutVideo

    env = envs.envs[0]
    obs, _ = env.reset(seed=seed)
    frames, rewards, ended = [], [], False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(run.act(obs))
        frames.append(env.render())
        rewards.append(float(reward))
        ended = terminated or truncated
    if reward_model is not None:
        rewards = [float(reward_model.compute_reward(frame[None])[0]) for frame in frames]
    with RolloutVideo(path, run.config.task.goal[0], horizon=len(frames), reward_range=reward_range, caption=caption,
                      overwrite=overwrite) as video:  # fmt: skip
        for frame, reward in zip(frames, rewards, strict=True):
            video.step(frame, reward)
    return Path(path)
