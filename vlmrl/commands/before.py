"""Before training: what there is, whether it works here, whether the reward tells the goal."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from vlmrl.commands.outcome import Outcome, rows
from vlmrl.configs import to_plain
from vlmrl.errors import usage_error
from vlmrl.task_options import ForTask
from vlmrl.tasks import TASKS


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
        text = f"{rows(head)}\n\n{preflight.render_text(result)}"
        return Outcome({**head, **to_plain(result)}, text)
