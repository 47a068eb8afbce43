"""On a run folder: judge its agent, film it, let a person prefer its clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vlmrl.commands.outcome import Outcome, RunPath, Which, rows, say
from vlmrl.configs import to_plain


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
        return Outcome(result, rows(result))


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
    """Run folder with a store of pairs, or with pairs in preferences/."""
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
        return Outcome(result, rows(result))
