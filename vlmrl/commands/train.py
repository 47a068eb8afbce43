"""Training, and going on with it: a line of progress, then videos and the page of the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.agents.config import PPOConfig
from vlmrl.commands.outcome import Outcome, RunPath, progress_line, rows, say
from vlmrl.preferences.online_config import LabellerName, PreferencesConfig
from vlmrl.rewards.learned_config import LearnedConfig
from vlmrl.task_options import ForTask
from vlmrl.tasks import TASKS
from vlmrl.train_config import RewardName

if TYPE_CHECKING:
    from vlmrl.progress import ProgressPrinter


@dataclass(frozen=True)
class Train(ForTask):
    """Train an agent from a sentence; what is not given comes from the task's preset."""

    out: Path | None = None
    """Run folder, which must not exist; by default runs/<task>-<seed>-<time>."""
    encoder: str = "embedded"
    """embedded, MODEL/PRETRAINED, local-dir:PATH, or random:SEED."""
    views: tuple[str, ...] = ()
    """Cameras of the world whose rewards are averaged, each at the cost of a frame; by default the task's own alone."""
    reward: RewardName = "vlm"
    """vlm, or a control: constant, random_encoder, swapped_goal, blank, true (the world's own reward), state_similarity."""
    num_envs: int = 64
    """Worlds that are stepped at once."""
    total_steps: int = 300_000
    """Environment steps in all."""
    seed: int = 0
    """Seed of worlds and agent."""
    device: str | None = None
    """Device of the encoder: cpu, cuda or cuda:N; by default a GPU if there is one."""
    renderer: str = "warp"
    """How worlds of vlmrl are drawn: warp (everywhere) or gl."""
    reward_resolution: float = 1e-3
    """An encoder's rewards whose range so far is no wider count as one constant and teach nothing; 0 turns it off."""
    queries: int | None = None
    """How many states the reward model may be asked about in all; a reward learned from the answers stands in."""
    query_share: float | None = None
    """How many as a share of all states, in (0, 1]; 0.1 is usual. Without either, it is asked about every state."""
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    """The learned reward, where there is a limit."""
    labeller: LabellerName | None = None
    """Learn the reward from preferences of encoder, chat, human, oracle, or routed (the encoder first); by default not."""
    preferences: PreferencesConfig = field(default_factory=PreferencesConfig)
    """Pairs, stages and learning, where there is a labeller."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints."""
    video: bool = True
    """Write videos of an episode before and after training."""
    agent: PPOConfig = field(default_factory=PPOConfig)
    """Hyper-parameters of PPO."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Train, then write videos and report.html; Ctrl-C leaves a checkpoint and is raised again."""
        from vlmrl import training
        from vlmrl.runs import default_run_path

        task = self.chosen_task()
        shared = {name: getattr(self, name) for name in PRESET_FIELDS}
        out = self.out or default_run_path(task.name, self.seed)
        config = training.TrainConfig(task=task, out=out, seed=self.seed, device=self.device, **shared)
        say(f'goal: "{task.goal[0]}", against "{task.baseline[0]}"; run folder: {out}')
        return _watched(lambda show: training.train(config, on_progress=show), out)


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, from its latest checkpoint."""

    run_path: RunPath
    """Run folder."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Train to the end, then write videos and report.html; Ctrl-C leaves a checkpoint and is raised again."""
        from vlmrl import runs

        runs.read_config(self.run_path)  # before what takes seconds to import
        from vlmrl import training

        return _watched(lambda show: training.resume(self.run_path, on_progress=show), self.run_path)


def _watched(train: Callable[[ProgressPrinter], Any], out: Path) -> Outcome:
    """Train with a line of progress, then finish the run folder."""
    with progress_line(lambda: _after_interrupt(out)) as printer:
        run = train(printer)
    return finish(run, out)


PRESET_FIELDS = (
    "encoder", "views", "reward", "num_envs", "total_steps", "renderer", "reward_resolution", "queries", "query_share", "learned",
    "labeller", "preferences", "checkpoint_every", "video", "agent",
)  # fmt: skip
"""Fields of `Train` whose defaults are those of the task's preset."""


def train_defaults(task_name: str | None) -> Train:
    """Return the defaults of `Train`: a built-in task's preset, or those of TrainConfig."""
    from vlmrl import training

    if task_name in TASKS:
        preset = training.preset(task_name)
    else:
        preset = training.TrainConfig(task=next(iter(TASKS.values())))
    return Train(**{name: getattr(preset, name) for name in PRESET_FIELDS})


def _after_interrupt(out: Path) -> str:
    from vlmrl.checkpoints import list_checkpoints

    if list_checkpoints(out / "checkpoints"):
        return f"interrupted; the agent so far is saved: vlmrl eval {out}; go on with: vlmrl resume {out}"
    return "interrupted before there was anything to save"


def finish(run: Any, out: Path) -> Outcome:
    """Write the videos and the page of a finished run; return where they lie, and the last figures."""
    from vlmrl import report, runs

    metrics = runs.read_metrics(out)
    videos = _before_and_after(run, out, metrics) if run.config.video else []
    page = report.write_run_report(out)
    last = metrics[-1] if metrics else {}
    keys = ("global_step", "seconds", "vlm_reward", "env_reward", "success", "frames_scored")
    result = {"run": str(out), **{key: last[key] for key in keys if last.get(key) is not None}}
    result |= {"videos": [str(path) for path in videos], "report": str(page)}
    return Outcome(result, f"{rows(result)}\nnext: vlmrl eval {out}")


def _before_and_after(run: Any, out: Path, metrics: list[dict[str, Any]]) -> list[Path]:
    from vlmrl import evaluation, making, runs, training

    envs = making.make_envs(run.config.task, 1)
    untrained = training.Run(run.config, run.folder, training.make_agent(run.config, envs))
    envs.close()
    rewards = [row["vlm_reward"] for row in metrics if row.get("vlm_reward") is not None]
    low, high = (min(rewards), max(rewards)) if rewards else (0.0, 1.0)
    room = (high - low) or 0.1  # single frames lie further apart than means over rollouts
    steps = f"{metrics[-1]['global_step']:,} steps" if metrics else "training"
    paths = []
    for name, agent, caption in (("before", untrained, "before training"), ("after", run, f"after {steps}")):
        path = out / runs.VIDEOS / f"{name}.mp4"
        if not path.exists():
            view: dict[str, Any] = {"caption": caption, "reward_range": (low - room, high + room)}
            evaluation.record_video(agent, path, **view)
        paths.append(path)
    return paths
