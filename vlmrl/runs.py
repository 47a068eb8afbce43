"""Run folders: config.json, metrics.jsonl, TensorBoard events, checkpoints/ and videos/ of one run."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl import checkpoints
from vlmrl.checkpoints import Checkpoint
from vlmrl.configs import redact, to_plain
from vlmrl.errors import usage_error

FORMAT = "vlmrl-run"
VERSION = 1
CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
VIDEOS = "videos"
PACKAGES = (
    *("vlmrl", "numpy", "torch", "jax", "optax", "open_clip_torch", "timm", "gymnasium", "mujoco"),
    *("mujoco-warp", "warp-lang", "stable-baselines3", "safetensors", "imageio", "imageio-ffmpeg", "pillow"),
)
"""The packages whose versions a run records."""


def default_run_path(task_name: str, seed: int, root: Path = Path("runs")) -> Path:
    """Return root/<task>-<seed>-<timestamp>, the folder of a run that names none."""
    return root / f"{task_name}-{seed}-{datetime.now():%Y%m%d-%H%M%S}"


def versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the packages that are installed; import none."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path = Path(__file__).parent) -> dict[str, Any] | None:
    """Return {"sha", "dirty"} of the checkout this package runs from; None if it runs from no checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "errors.py")  # an unrelated repository around an installed copy
        return {"sha": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


class RunFolder:
    """One run on disk; `create` makes it, `open` takes it up again."""

    def __init__(self, path: Path) -> None:
        """Hold `path`; use `create` or `open` instead."""
        self.path = path
        self._metrics: int | None = None
        self._events: Any = None
        self._best: float | None = None

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: object, kind: str = "train") -> RunFolder:
        """Make the folder `path`, which must not exist, and write config.json into it.

        `config` is a frozen dataclass or a mapping; strings that look like secrets are taken out of it.
        `kind` is the command that makes it: only the folders of `train` are agents' runs.
        Raises: UsageError if the folder exists or cannot be made; nothing is overwritten.
        """
        path = Path(path)
        make_folder(path)
        try:
            content = {
                "format": FORMAT,
                "version": VERSION,
                "kind": kind,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "config": to_plain(config),
                "versions": versions(),
                "git": git_state(),
                "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            }
            text = json.dumps(redact(content), indent=2, ensure_ascii=False, allow_nan=False)
            checkpoints.replace_file(path / CONFIG, text.encode())
            (path / CHECKPOINTS).mkdir()
            if kind == "train":
                (path / VIDEOS).mkdir()
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # it was made a moment ago, by us
            raise
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, writing: bool = False, kind: str = "train") -> RunFolder:
        """Take up the run at `path`; with `writing`, first clear away what a killed process left half done.

        Raises: UsageError if `path` is no run folder of this kind.
        """
        run = cls(Path(path))
        read_config(run.path, kind)
        if writing:
            for place in (run.path, run.path / CHECKPOINTS):
                checkpoints.clean_up(place)
            _cut_partial_line(run.path / METRICS)
            if (run.path / CHECKPOINTS / "best").exists():
                score = run.load_checkpoint("best").extra.get("score")
                run._best = float(score) if score is not None else None
        return run

    def log(self, global_step: int, metrics: Mapping[str, Any]) -> None:
        """Append `metrics` at `global_step` to metrics.jsonl, and its numbers to TensorBoard."""
        plain = {key: _number(value) for key, value in redact(to_plain(dict(metrics))).items()}
        line = json.dumps({"global_step": int(global_step), **plain}, ensure_ascii=False, allow_nan=False)
        if self._metrics is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._metrics = os.open(self.path / METRICS, flags, 0o644)
        os.write(self._metrics, (line + "\n").encode())
        self._log_events(int(global_step), plain)

    def _log_events(self, global_step: int, plain: Mapping[str, Any]) -> None:
        # The tensorboard package alone: torch.utils.tensorboard would bring in torch.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._events is None:
            self._events = EventFileWriter(str(self.path / "tensorboard"))
        numbers = {key: value for key, value in plain.items() if isinstance(value, (int, float))}
        values = [Summary.Value(tag=key, simple_value=float(value)) for key, value in numbers.items()]
        wall_time = datetime.now(UTC).timestamp()
        self._events.add_event(Event(wall_time=wall_time, step=global_step, summary=Summary(value=values)))
        self._events.flush()

    def save_checkpoint(
        self,
        global_step: int,
        tensors: Mapping[str, np.ndarray],
        extra: Mapping[str, Any] | None = None,
        *,
        score: float | None = None,
        keep: int = 3,
    ) -> Path:
        """Write a checkpoint and point `latest` to it, and `best` too if `score` is the highest so far.

        `score` is the mean VLM reward, never the true success: a checkpoint chosen by it is chosen blindly.
        Raises: OSError (disk full); what was saved before stays as it was.
        """
        is_best = score is not None and math.isfinite(score) and (self._best is None or score > self._best)
        if self._metrics is not None:
            os.fsync(self._metrics)
        path = checkpoints.save_checkpoint(
            self.path / CHECKPOINTS,
            global_step,
            tensors,
            {**(extra or {}), "score": score},
            pointers=("latest", "best") if is_best else ("latest",),
            keep=keep,
        )
        self._best = score if is_best else self._best
        return path

    def mend_best(self, latest: Checkpoint) -> None:
        """Point `best` to the latest checkpoint if it scores higher: a kill between the two pointers misses that."""
        score = latest.extra.get("score")
        if score is not None and (self._best is None or score > self._best):
            checkpoints.replace_file(self.path / CHECKPOINTS / "best", f"{latest.path.name}\n".encode())
            self._best = float(score)

    def take_back(self, global_step: int) -> None:
        """Remove the metrics that were logged after `global_step`, for a run that goes on from there."""
        file = self.path / METRICS
        if not file.exists():
            return
        lines = file.read_bytes().splitlines(keepends=True)
        parsed = [(line, _parse_row(line)) for line in lines]
        kept = [line for line, row in parsed if row is None or row["global_step"] <= global_step]
        if len(kept) < len(lines):
            checkpoints.replace_file(file, b"".join(kept))

    def load_checkpoint(self, which: str = "latest") -> Checkpoint:
        """Read the `latest` or `best` checkpoint, or with a warning an older one if it is damaged."""
        return checkpoints.load_checkpoint(self.path / CHECKPOINTS, which)

    def close(self) -> None:
        """Close the files; `log` opens them again."""
        if self._metrics is not None:
            os.close(self._metrics)
            self._metrics = None
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_folder(path: Path) -> None:
    """Make the folder `path` and its parents.

    Raises: UsageError if it exists or may not be made; OSError if the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError as error:
        taken = path if path.exists() else path.parent
        remedy = "choose another name, or move the old one away (nothing was overwritten)"
        raise usage_error("run folder", f"{taken}, which exists", "a new path", remedy) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        got = f"{path} ({error.strerror})"
        remedy = "name one elsewhere, for example with --out"
        raise usage_error("run folder", got, "a path you may write to", remedy) from error


def read_config(path: str | os.PathLike[str], kind: str = "train") -> dict[str, Any]:
    """Return the content of config.json of the run at `path`: "config", "versions", "git", "created", ...

    Raises: UsageError if `path` is no run folder of this kind or config.json cannot be read.
    """
    file = Path(path) / CONFIG
    remedy = f"give a folder that `vlmrl {kind}` made"
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise usage_error("run", f"{path} ({error.strerror}: {CONFIG})", "a run folder", remedy) from error
    except ValueError as error:
        raise usage_error("run", f"{file}, which is no JSON ({error})", "a run folder", remedy) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise usage_error("run", f"{file} of another kind", f"format {FORMAT}", remedy)
    if content.get("kind", "train") != kind:
        raise usage_error("run", f"{path}, made by `vlmrl {content['kind']}`", f"one of `{kind}`", remedy)
    if content.get("version", 0) > VERSION:
        raise usage_error("run", f"version {content['version']}", f"{VERSION} or older", "update vlmrl")
    return content


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl of the run at `path`, oldest first; [] if there is none.

    A last line that was cut off is left out. Warns: UserWarning if other lines are unreadable.
    """
    file = Path(path) / METRICS
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]  # what follows the last newline is a line cut off, or nothing
    rows = [row for row in map(_parse_row, lines) if row is not None]
    if len(rows) < len(lines):
        text = f"{file}: {len(lines) - len(rows)} of {len(lines)} lines are unreadable, left out"
        warnings.warn(text, stacklevel=2)
    return rows


def _parse_row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "global_step" in row else None


def _number(value: Any) -> Any:
    """JSON has no nan and inf: None stands for them in the metrics, which plots leave out."""
    return None if value in ("nan", "inf", "-inf") else value


def _cut_partial_line(file: Path) -> None:
    if not file.exists():
        return
    data = file.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(file, data.rfind(b"\n") + 1)
