"""Our PPO beside stable-baselines3's on stock tasks with the true reward: return at equal steps, and time.

    python -m benchmarks.ppo_parity                     # all tasks, five seeds
    python -m benchmarks.ppo_parity --quick             # a check that it runs; writes nothing

Both agents get the same hyper-parameters (rl-baselines3-zoo's for the first two tasks, with a constant clip
range; its set for MountainCarContinuous wants ortho_init=False, which ours lacks), the same steps, seeds and
evaluation starts. Returns are of deterministic actions after the last update. Intervals are 95%
percentile bootstraps over seeds. Time is training alone, our compilation included.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro

from experiments.aggregate import mean_interval
from experiments.common import Book, provenance
from vlmrl.agents import PPO, PPOConfig, Rollout
from vlmrl.errors import usage_error

Act = Callable[[np.ndarray], np.ndarray]
ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2, 3, 4)


@dataclasses.dataclass(frozen=True)
class ParityTask:
    """Hold a stock task and the hyper-parameters that both agents train with."""

    num_envs: int
    """Worlds."""
    steps: int
    """Environment steps in all."""
    config: PPOConfig
    """Hyper-parameters."""


PLAIN = PPOConfig(normalise_obs=False, normalise_reward=False, num_epochs=10)
TASKS = {
    "CartPole-v1": ParityTask(
        num_envs=8,
        steps=100_000,
        config=dataclasses.replace(
            PLAIN, num_steps=32, num_minibatches=1, num_epochs=20, gamma=0.98, gae_lambda=0.8,
            learning_rate=1e-3, anneal_lr=True,
        ),
    ),
    "Pendulum-v1": ParityTask(
        num_envs=4,
        steps=100_000,
        config=dataclasses.replace(
            PLAIN, num_steps=1024, num_minibatches=64, gamma=0.9, learning_rate=1e-3, sde=True,
            sde_sample_freq=4,
        ),
    ),
    "MountainCarContinuous-v0": ParityTask(
        num_envs=4,
        steps=50_000,
        config=dataclasses.replace(
            PLAIN, num_steps=256, num_minibatches=16, gamma=0.999, gae_lambda=0.9, sde=True,
            sde_sample_freq=16, normalise_obs=True, normalise_reward=True,
        ),
    ),
}  # fmt: skip


def train_ours(env_id: str, task: ParityTask, num_updates: int, seed: int) -> Act:
    """Train our PPO; return its deterministic policy."""
    same_step = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
    envs = gymnasium.make_vec(env_id, task.num_envs, vectorization_mode="sync", vector_kwargs=same_step)
    spaces = envs.single_observation_space, envs.single_action_space
    agent = PPO(*spaces, task.config, task.num_envs, seed, num_updates)
    obs, _ = envs.reset(seed=seed)
    valid = np.ones(task.num_envs, bool)
    for _ in range(num_updates):
        rows = []
        for _ in range(task.config.num_steps):
            drawn = agent.sample(obs)
            after, reward, terminated, truncated, infos = envs.step(drawn.actions)
            next_obs = after.copy()
            for n in np.flatnonzero(terminated | truncated):
                next_obs[n] = infos["final_obs"][n]
            ends = terminated.copy(), truncated.copy()
            rows.append((obs, drawn.raw_actions, drawn.log_probs, reward.copy(), next_obs, *ends, valid))
            obs = after
        agent.update(Rollout(*(np.stack(column) for column in zip(*rows, strict=True))))
    envs.close()
    return lambda batch: agent.act(batch, deterministic=True)


def train_theirs(env_id: str, task: ParityTask, num_updates: int, seed: int) -> Act:
    """Train stable-baselines3's PPO with the same hyper-parameters; return its deterministic policy."""
    import torch
    from stable_baselines3 import PPO as TheirPPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    config = task.config
    envs: Any = make_vec_env(env_id, n_envs=task.num_envs, seed=seed)
    if config.normalise_obs or config.normalise_reward:
        envs = VecNormalize(
            envs, norm_obs=config.normalise_obs, norm_reward=config.normalise_reward, gamma=config.gamma
        )
    rows = config.num_steps * task.num_envs
    # Their progress has moved on before an update is made; ours moves on after it.
    annealed = lambda left: config.learning_rate * (left + 1.0 / num_updates)  # noqa: E731
    widths = list(config.hidden_sizes)
    activation = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU}[config.activation]
    agent = TheirPPO(
        "MlpPolicy",
        envs,
        learning_rate=annealed if config.anneal_lr else config.learning_rate,
        n_steps=config.num_steps,
        batch_size=rows // config.num_minibatches,
        n_epochs=config.num_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_coef,
        ent_coef=config.ent_coef,
        vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm,
        use_sde=config.sde,
        sde_sample_freq=config.sde_sample_freq,
        target_kl=config.target_kl,
        normalize_advantage=config.norm_adv,
        policy_kwargs={
            "net_arch": {"pi": widths, "vf": widths},
            "activation_fn": activation,
            "log_std_init": config.init_log_std,
        },
        seed=seed,
        device="cpu",
    )
    agent.learn(num_updates * rows)
    scaled = envs.normalize_obs if isinstance(envs, VecNormalize) else np.asarray
    return lambda batch: agent.predict(scaled(batch), deterministic=True)[0]


def evaluate(act: Act, env_id: str, episodes: int, seed: int) -> np.ndarray:
    """Return the true returns (episodes,) of the first episode of each of `episodes` worlds."""
    envs = gymnasium.make_vec(env_id, num_envs=episodes, vectorization_mode="sync")
    obs, _ = envs.reset(seed=seed)
    returns, alive = np.zeros(episodes), np.ones(episodes, bool)
    while alive.any():
        obs, rewards, terminated, truncated, _ = envs.step(act(obs))
        returns += np.where(alive, rewards, 0.0)
        alive &= ~(terminated | truncated)
    envs.close()
    return returns


def table(rows: list[dict[str, Any]]) -> str:
    """Return mean return, interval and training time of both agents on each task, and the difference, as Markdown."""
    lines = ["| task | steps | seeds | agent | return | 95% interval | training, s |", "|" + "---|" * 7]
    for task in dict.fromkeys(row["task"] for row in rows):
        means: dict[str, np.ndarray] = {}
        for agent in ("vlmrl", "stable-baselines3"):
            chosen = [row for row in rows if row["task"] == task and row["agent"] == agent]
            if not chosen:
                continue
            returns = [row["return_mean"] for row in chosen]
            low, high = mean_interval(returns)
            seconds = np.mean([row["train_seconds"] for row in chosen])
            what = f"| {task} | {chosen[0]['steps']:,} | {len(chosen)} | {agent} "
            lines.append(f"{what}| {np.mean(returns):.1f} | [{low:.1f}, {high:.1f}] | {seconds:.1f} |")
            # Seeds share nothing between the agents, so the two means are resampled independently.
            rng = np.random.default_rng(len(means))
            means[agent] = rng.choice(np.asarray(returns), (10_000, len(returns))).mean(1)
        if len(means) == 2:
            drawn = means["vlmrl"] - means["stable-baselines3"]
            low, high = np.percentile(drawn, [2.5, 97.5])
            lines.append(f"| {task} | | | difference | {drawn.mean():.1f} | [{low:.1f}, {high:.1f}] | |")
    return "\n".join(lines) + "\n"


def main(
    seeds: tuple[int, ...] = SEEDS,
    steps: int | None = None,
    tasks: tuple[str, ...] = tuple(TASKS),
    episodes: int = 50,
    torch_threads: int = 1,
    quick: bool = False,
    out: Path | None = None,
) -> None:
    """Compare both agents and fill experiments/results/ppo_parity.json; runs that it holds are skipped.

    Args:
        seeds: Seeds of both agents.
        steps: Environment steps per run; each task's own if not given.
        tasks: Which stock tasks.
        episodes: Evaluation episodes per run.
        torch_threads: Threads of stable-baselines3's torch.
        quick: Two seeds and few steps, to see that it runs; writes only where --out says.
        out: The file to fill.
    """
    import torch

    torch.set_num_threads(torch_threads)
    for name in tasks:
        if name not in TASKS:
            raise usage_error("--tasks", name, f"some of {', '.join(TASKS)}", "choose from these")
    if quick:
        seeds, episodes, steps = (0, 1) if seeds == SEEDS else seeds, 5, steps or 8192
    elif out is None:
        out = ROOT / "experiments" / "results" / "ppo_parity.json"
    about = {**provenance(), "torch_threads": torch_threads}
    book, rows = Book(out) if out is not None else None, []
    for name in tasks:
        task = TASKS[name]
        per_update = task.config.num_steps * task.num_envs
        num_updates = max(1, (steps or task.steps) // per_update)
        for seed in seeds:
            for agent, train in (("vlmrl", train_ours), ("stable-baselines3", train_theirs)):
                keys = {"task": name, "agent": agent, "seed": seed, "steps": num_updates * per_update}
                if book is not None and book.has(**keys):
                    continue
                start = time.perf_counter()
                act = train(name, task, num_updates, seed)
                seconds = time.perf_counter() - start
                returns = evaluate(act, name, episodes, seed=10_000 + seed)
                row = {
                    "benchmark": "ppo_parity", **keys, "num_envs": task.num_envs, "episodes": episodes,
                    "return_mean": float(returns.mean()), "return_std": float(returns.std()),
                    "train_seconds": round(seconds, 2), "config": dataclasses.asdict(task.config), **about,
                }  # fmt: skip
                shown = f"return {row['return_mean']:.1f} after {row['steps']} steps, {seconds:.1f} s"
                print(f"{name} {agent} seed {seed}: {shown}", flush=True)
                rows.append(row)
                if book is not None:
                    book.add(row)
    shown = table(book.rows if book is not None else rows)
    print(shown)
    if out is not None:
        about_table = (
            "Both agents, the same hyper-parameters, steps and seeds, true reward; returns over seeds."
        )
        out.with_suffix(".md").write_text(f"{about_table}\n\n{shown}")


if __name__ == "__main__":
    tyro.cli(main)
