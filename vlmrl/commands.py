"""The commands of `vlmrl`: their arguments as frozen dataclasses, and what each does.

A command returns its `Outcome` and prints nothing to standard output, so that a result printed as JSON stands
there alone. What is heavy (torch, JAX, MuJoCo) is imported where it is used.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vlmrl.adapt.options import AdaptOptions
from vlmrl.agents.config import PPOConfig
from vlmrl.configs import to_plain
from vlmrl.errors import usage_error
from vlmrl.rewards.learned_config import LearnedConfig
from vlmrl.task_options import ForTask
from vlmrl.tasks import TASKS

if TYPE_CHECKING:
    from vlmrl.progress import ProgressPrinter

RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Which = Literal["latest", "best"]


@dataclass(frozen=True)
class Outcome:
    """What a command found."""

    result: Any
    """As JSON values."""
    text: str
    """For people."""
    code: int = 0
    """Exit code: 0 done, 1 not."""


def _rows(result: dict[str, Any]) -> str:
    width = max(map(len, result), default=0)
    return "\n".join(f"{key:{width}}  {_shown(value)}" for key, value in result.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(_shown, value)) if isinstance(value, (list, tuple)) else str(value)


@dataclass(frozen=True)
class Tasks:
    """List the built-in tasks."""

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Return the tasks with goal, baseline and world."""
        lines = []
        for task in TASKS.values():
            lines.append(f"{task.name:24} {task.description}")
            lines.append(f'{"":24} "{task.goal[0]}", against "{task.baseline[0]}"')
        lines.append("\nAny other: vlmrl train --env ENV --goal SENTENCE --baseline SENTENCE")
        return Outcome(to_plain(list(TASKS.values())), "\n".join(lines))


@dataclass(frozen=True)
class Doctor:
    """Check the machine: Python, torch, JAX, renderer, ffmpeg, device, weights."""

    encoder: str = "embedded"
    """Encoder whose weights are loaded."""
    device: str | None = None
    """Device of the encoder: cpu, cuda or cuda:N; by default a GPU if there is one."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Return every check with its remedy; the code is 1 if one failed."""
        from vlmrl import doctor

        if self.device is not None:
            with contextlib.suppress(ImportError):  # a torch that is missing is for the checks to say
                from vlmrl.runtime import resolve_device

                resolve_device(self.device)
        checks = doctor.diagnose(doctor.probes(self.device, self.encoder))
        text = doctor.render_text(checks)
        return Outcome(to_plain(checks), text, 0 if all(check.ok for check in checks) else 1)


@dataclass(frozen=True)
class Preflight(ForTask):
    """See before training whether the reward tells the goal from other states."""

    goal_frames: Path | None = None
    """Folder with pictures of the goal; needed where the world cannot tell goal states itself."""
    encoder: str = "embedded"
    """embedded, MODEL/PRETRAINED, local-dir:PATH, or random:SEED."""
    device: str | None = None
    """Device of the encoder: cpu, cuda or cuda:N; by default a GPU if there is one."""
    states: int = 256
    """Number of states of each kind: start, random, goal."""
    seed: int = 0
    """Seed of the states."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Return how the reward spreads over start, random and goal states, and the verdict."""
        import numpy as np

        from vlmrl import making, preflight, samples
        from vlmrl.encoders import load_encoder
        from vlmrl.rewards import GoalBaselineReward
        from vlmrl.runtime import guard_import_order, limit_threads
        from vlmrl_envs.world import is_world

        if self.states < preflight.MIN_STATES:
            raise usage_error("states", self.states, f"{preflight.MIN_STATES} or more", "256 is usual")
        task = self.chosen_task()
        goal_frames = None if self.goal_frames is None else samples.read_frames(self.goal_frames)
        limit_threads()
        guard_import_order()
        encoder = load_encoder(self.encoder, self.device)
        goal, baseline = list(task.goal), list(task.baseline)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # truncated prompts: said among the warnings of the result
            reward = GoalBaselineReward(encoder, goal, baseline, task.alpha)
        found = preflight.prompt_warnings(goal, baseline, encoder)
        envs = making.open_task(task)
        rng = np.random.default_rng(self.seed)
        try:
            sample = samples.sample_world if is_world(envs) else samples.sample_env
            drawn = sample(envs, rng, self.states)
            if goal_frames is not None:
                drawn.batches["goal"] = goal_frames
            result = preflight.preflight(
                reward, drawn.batches, start_is_goal=drawn.start_is_goal, warnings=[*found, *drawn.notes]
            )
        finally:
            envs.close()
        head = {"task": task.name, "goal": goal, "baseline": baseline, "alpha": task.alpha}
        head |= {"encoder": self.encoder}
        text = f"{_rows(head)}\n\n{preflight.render_text(result)}"
        return Outcome({**head, **to_plain(result)}, text)


@dataclass(frozen=True)
class Train(ForTask):
    """Train an agent from a sentence; what is not given comes from the task's preset."""

    out: Path | None = None
    """Run folder, which must not exist; by default runs/<task>-<seed>-<time>."""
    encoder: str = "embedded"
    """embedded, MODEL/PRETRAINED, local-dir:PATH, or random:SEED."""
    reward: Literal[
        "vlm", "constant", "random_encoder", "swapped_goal", "blank", "true", "state_similarity"
    ] = "vlm"
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
    from vlmrl.progress import ProgressPrinter

    printer = ProgressPrinter(sys.stderr)
    try:
        run = train(printer)
    except KeyboardInterrupt:
        printer.close()
        say(_after_interrupt(out))
        raise
    finally:
        printer.close()
    return finish(run, out)


PRESET_FIELDS = (
    *(
        "encoder",
        "reward",
        "num_envs",
        "total_steps",
        "renderer",
        "reward_resolution",
        "queries",
        "query_share",
        "learned",
        "checkpoint_every",
        "video",
    ),
    "agent",
)
"""Fields of `Train` whose defaults are those of the task's preset."""


def train_defaults(task_name: str | None) -> Train:
    """Return the defaults of `Train`: a built-in task's preset, or those of TrainConfig."""
    from vlmrl import training

    if task_name in TASKS:
        preset = training.preset(task_name)
    else:
        preset = training.TrainConfig(task=next(iter(TASKS.values())))
    return Train(**{name: getattr(preset, name) for name in PRESET_FIELDS})


def say(text: str) -> None:
    """Print a line for people to standard error."""
    print(text, file=sys.stderr, flush=True)


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
    return Outcome(result, f"{_rows(result)}\nnext: vlmrl eval {out}")


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


@dataclass(frozen=True)
class Eval:
    """Judge a trained agent by its world's own check of success."""

    run_path: RunPath
    """Run folder."""
    episodes: int = 100
    """Episodes, each from a fresh start."""
    horizon: int | None = None
    """Steps of an episode; by default the task's."""
    seed: int = 10_000
    """Seed of the starts."""
    states: Path | None = None
    """New .npz file for the full states of all episodes, so that others can judge them."""
    checkpoint: Which = "latest"
    """latest, or best by VLM reward."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Return the share of successful episodes with its interval, and what else was measured."""
        from vlmrl import runs
        from vlmrl.video import checked_output

        runs.read_config(self.run_path)  # before what takes seconds to import
        if self.states is not None:
            checked_output(self.states, ".npz")
        from vlmrl import evaluation, training

        run = training.load_run(self.run_path, self.checkpoint)
        result = evaluation.evaluate(run, self.episodes, self.horizon, self.seed, states_file=self.states)
        result = {"run": str(self.run_path), "checkpoint": self.checkpoint, **to_plain(result)}
        result |= {"states": str(self.states)} if self.states is not None else {}
        return Outcome(result, _rows(result))


@dataclass(frozen=True)
class Video:
    """Write a video of an episode with the goal and the reward drawn on it."""

    run_path: RunPath
    """Run folder."""
    out: Path | None = None
    """New .mp4 file; by default videos/episode-<seed>.mp4 in the run folder."""
    seed: int = 20_000
    """Seed of the start."""
    horizon: int | None = None
    """Steps of the episode; by default the task's."""
    checkpoint: Which = "latest"
    """latest, or best by VLM reward."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Return where the video lies."""
        from vlmrl import runs
        from vlmrl.video import checked_output

        runs.read_config(self.run_path)
        path = self.out or self.run_path / runs.VIDEOS / f"episode-{self.seed}.mp4"
        checked_output(path, ".mp4")
        from vlmrl import evaluation, training

        run = training.load_run(self.run_path, self.checkpoint)
        evaluation.record_video(run, path, self.seed, self.horizon)
        return Outcome({"run": str(self.run_path), "video": str(path)}, str(path))


@dataclass(frozen=True)
class Label:
    """Answer in a browser which of two clips is closer to the goal; Ctrl-C or Finish ends it, nothing is lost."""

    run_path: RunPath
    """Run folder with pairs in preferences/."""
    person: str = ""
    """Who answers; kept with each answer."""
    port: int = 0
    """Port of the page on this machine; 0 takes a free one."""
    fps: float = 8.0
    """Frames of a clip that are shown in a second."""
    open: bool = False
    """Open the page in the browser."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Serve the page, and return what was answered, skipped and is left."""
        from vlmrl.preferences.human import label_run

        totals = label_run(
            self.run_path,
            port=self.port,
            person=self.person,
            fps=self.fps,
            open_browser=self.open,
            on_ready=lambda url: say(f"answer at {url}"),
        )
        result = {"run": str(self.run_path), **totals}
        return Outcome(result, _rows(result))


@dataclass(frozen=True)
class Adapt(AdaptOptions):
    """Train or fine-tune an open_clip model on frames and captions: of worlds, of videos, of stored files.

    Writes an open_clip directory, to be used as --encoder local-dir:OUT. For example, on a world of one's own:

        vlmrl adapt --out models/mine --world my/World-v0 --start embedded

    or a large pretrained model on videos, few of its weights at a time:

        vlmrl adapt --out models/large --videos clips --start ViT-B-32/laion2b_s34b_b79k --low-rank 8
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Train, or go on with --resume; what was made so far is whole at any moment."""
        config = None
        if self.resume is None:
            config = self.config()
        else:
            self.check_resume()
        from vlmrl import adapt
        from vlmrl.adapt.loop import adapt_line
        from vlmrl.progress import ProgressPrinter
        from vlmrl.runtime import limit_threads

        limit_threads()
        path = self.resume_path()
        printer = ProgressPrinter(sys.stderr, line=adapt_line)
        try:
            if config is None:
                result = adapt.resume(path, self.device, printer)
            else:
                result = adapt.run(config, printer)
        except KeyboardInterrupt:
            printer.close()
            say(f"interrupted; go on with: vlmrl adapt --resume {path}")
            raise
        finally:
            printer.close()
        plain = to_plain(result)
        figures = {f"held-out {name}": value for name, value in result.validation.items()}
        text = _rows({"open_clip directory": result.path, "steps": result.step,
                      "weights of step": result.exported_step, **figures})  # fmt: skip
        return Outcome(plain, f"{text}\nnext: vlmrl preflight TASK --encoder local-dir:{result.path}")


COMMANDS: dict[str, Any] = {
    **{"tasks": Tasks, "doctor": Doctor, "preflight": Preflight},
    **{"train": Train, "resume": Resume, "eval": Eval, "video": Video, "label": Label, "adapt": Adapt},
}
"""The commands by name, in the order a user meets them."""
