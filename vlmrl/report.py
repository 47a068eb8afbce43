"""One self-contained HTML page about a run: the sentence, before and after, curves, settings, versions.

Plots are inline SVG, videos are embedded, nothing is fetched; the page's own policy forbids it.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmrl import checkpoints, runs
from vlmrl.errors import usage_error
from vlmrl.figures import asking, preferring
from vlmrl.page import page
from vlmrl.plots import Curve, line_plot
from vlmrl.progress import duration

MAX_VIDEO = 32 * 2**20
"""Larger videos are named on the page and not embedded, in bytes."""


@dataclass(frozen=True)
class ReportData:
    """Everything a page shows."""

    goal: Sequence[str]
    """The sentences that were the reward."""
    baseline: Sequence[str]
    """Their neutral counterparts."""
    title: str
    """Name of the task or run."""
    subtitle: str = ""
    """A sentence below the goal."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows with global_step and vlm_reward, env_reward, success (None where unknown)."""
    figures: Sequence[tuple[str, str]] = ()
    """(what, value) in large print."""
    videos: Sequence[tuple[str, Path]] = ()
    """(caption, mp4 file), at best before and after."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Configuration, nested mappings allowed."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of what was used."""
    command: str = ""
    """The command that made the run."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """What an evaluation found."""


def write_run_report(
    run: str | os.PathLike[str],
    *,
    videos: Sequence[tuple[str, Path]] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the page of the run folder `run` (to its report.html, or to `path`) and return where it lies.

    videos: (caption, mp4 file); None takes those in videos/, one called before* first. evaluation: what
    `evaluate` returned; None takes evaluation.json if there is one. An earlier page of the run is replaced.
    Raises: UsageError if `run` is no run folder.
    """
    folder = Path(run)
    content = runs.read_config(folder)
    if evaluation is None and (folder / "evaluation.json").is_file():
        evaluation = json.loads((folder / "evaluation.json").read_text())
    if videos is None:
        found = sorted(
            (folder / runs.VIDEOS).glob("*.mp4"), key=lambda p: (not p.stem.startswith("before"), p.name)
        )
        videos = [(file.stem.replace("_", " ").replace("-", " "), file) for file in found]
    data = run_data(folder, content, runs.read_metrics(folder), videos, evaluation or {})
    target = folder / "report.html" if path is None else Path(path)
    if not target.parent.is_dir():
        raise usage_error("report", target, "a folder that exists", f"make {target.parent} first")
    checkpoints.replace_file(target, render_report(data).encode())
    return target


def run_data(
    folder: Path,
    content: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    videos: Sequence[tuple[str, Path]],
    evaluation: Mapping[str, Any],
) -> ReportData:
    """Return what the page of a run shows, from config.json's content, the metrics and an evaluation."""
    config: Mapping[str, Any] = content.get("config", {})
    task: Mapping[str, Any] = config.get("task", {})
    git = content.get("git") or {}
    versions = dict(content.get("versions", {}))
    if git:
        versions["git"] = f"{git['sha'][:12]}{' (with changes)' if git.get('dirty') else ''}"
    return ReportData(
        goal=_sentences(task.get("goal")),
        baseline=_sentences(task.get("baseline")),
        title=str(task.get("name", folder.name)),
        subtitle=str(task.get("description", "")),
        metrics=metrics,
        figures=headline(metrics, evaluation),
        videos=videos,
        settings=config,
        versions=versions,
        command=" ".join(map(_quoted, content.get("command", ()))),
        evaluation=evaluation,
    )


def _sentences(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value or ()]


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def headline(metrics: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the figures in large print: success, reward at the start and at the end, steps, speed, time."""
    figures = []
    success = evaluation.get("success_rate", evaluation.get("success"))
    if isinstance(success, (int, float)) and not isinstance(success, bool):
        episodes = evaluation.get("episodes")
        name = f"success in {episodes} episodes" if episodes else "success"
        interval = evaluation.get("success_interval")
        name += f" (95% between {interval[0]:.0%} and {interval[1]:.0%})" if interval else ""
        figures.append((name, f"{success:.0%}"))
    else:
        known = [row["success"] for row in metrics if row.get("success") is not None]
        figures += [("success in training, last", f"{known[-1]:.0%}")] if known else []
    rewards = [row["vlm_reward"] for row in metrics if row.get("vlm_reward") is not None]
    if rewards:
        part = max(1, len(rewards) // 20)
        first, last = sum(rewards[:part]) / part, sum(rewards[-part:]) / part
        figures.append(("reward per step, first to last", f"{first:.3f} → {last:.3f}"))
    figures += asking(metrics) + preferring(metrics)
    if metrics:
        figures.append(("environment steps", f"{metrics[-1]['global_step']:,}"))
        seconds = metrics[-1].get("seconds")
        figures += [("training time", duration(seconds))] if seconds is not None else []
    return figures


def render_report(data: ReportData) -> str:
    """Return the page as one string of HTML; everything shown is escaped."""
    goal = " / ".join(data.goal) or data.title
    body = "".join(
        [
            _header(data),
            _figures(data.figures),
            _videos(data.videos),
            _plots(data.metrics, _reward_kind(data.settings)),
            _table("Evaluation", data.evaluation),
            _table("Settings", data.settings),
            _table("Versions", data.versions),
            _command(data.command),
        ]
    )
    return page(goal, body)


def _header(data: ReportData) -> str:
    goals = "".join(f"<h1><q>{html.escape(sentence)}</q></h1>" for sentence in data.goal)
    against = " / ".join(f"<q>{html.escape(sentence)}</q>" for sentence in data.baseline)
    lines = [f"<p>measured against {against}</p>"] if against else []
    lines += [f"<p>{html.escape(data.subtitle)}</p>"] if data.subtitle else []
    name = html.escape(data.title.replace("_", " "))
    return f'<header><p class="kicker">vlmrl &middot; {name}</p>{goals}{"".join(lines)}</header>'


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    if not figures:
        return ""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in figures
    )
    return f'<dl class="figures">{items}</dl>'


def _videos(videos: Sequence[tuple[str, Path]]) -> str:
    if not videos:
        return ""
    figures = []
    for caption, path in videos:
        text = html.escape(caption)
        if path.stat().st_size > MAX_VIDEO:
            figures.append(
                f'<figure><p class="empty">{html.escape(str(path))} is too large to embed.</p></figure>'
            )
            continue
        data = base64.b64encode(path.read_bytes()).decode()
        player = (
            f'<video controls loop muted autoplay playsinline src="data:video/mp4;base64,{data}"></video>'
        )
        figures.append(f"<figure>{player}<figcaption>{text}</figcaption></figure>")
    return f'<section><h2>The agent</h2><div class="pair">{"".join(figures)}</div></section>'


def _reward_kind(settings: Mapping[str, Any]) -> str:
    """Return what the reward of a run is, as the title of its plot."""
    if settings.get("labeller"):
        return f"Reward learned from preferences of: {settings['labeller']}"
    name = settings.get("reward", "vlm")
    return "Reward from the sentence" if name == "vlm" else f"Reward of the control: {name}"


def _plots(metrics: Sequence[Mapping[str, Any]], kind: str) -> str:
    def points(key: str) -> tuple[tuple[float, float], ...]:
        rows = [row for row in metrics if isinstance(row.get(key), (int, float))]
        return tuple((float(row["global_step"]), float(row[key])) for row in rows)

    if not metrics:
        return ""
    reward = Curve("VLM reward", points("vlm_reward"), "a")
    success = Curve("true success", points("success"), "b")
    env = Curve("env reward", points("env_reward"), "c")
    learned = Curve("learned reward, which the agent got", points("learned/given"), "c")
    plots = [
        (kind, "per step; the only thing the agent is trained on", line_plot([reward], title=kind)),
        (
            "True success",
            "share of episodes, checked on the physics; the agent never sees it",
            line_plot([success], title="True success", y_range=(0.0, 1.0), percent=True),
        ),
    ]
    if learned.points:
        note = "per step, estimated from the states that were asked about; the agent got what was learned from these"
        plots[0] = (kind, note, line_plot([reward, learned], title=kind))
    if env.points and not success.points:
        note = "the environment's own reward per step; the agent never sees it"
        plots[1] = ("True reward", note, line_plot([env], title="True reward"))
    figures = "".join(
        f"<figure><figcaption><strong>{name}</strong><br>{note}</figcaption>{svg}</figure>"
        for name, note, svg in plots
    )
    return f'<section><h2>Learning</h2><div class="pair">{figures}</div></section>'


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            rows.append((prefix + key, f"{value:.6g}"))
        elif isinstance(value, (list, tuple)):
            rows.append((prefix + key, ", ".join(map(_item, value)) or "none"))
        else:
            rows.append((prefix + key, "none" if value is None else str(value)))
    return rows


def _item(value: Any) -> str:
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    return f"{value[0]}={value[1]}" if is_pair else f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(title: str, content: Mapping[str, Any]) -> str:
    rows = _flat(content)
    if not rows:
        return ""
    lines = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows
    )
    open_ = "" if len(rows) > 12 else " open"
    return f"<details{open_}><summary>{title}</summary><table>{lines}</table></details>"


def _command(command: str) -> str:
    return f"<section><h2>Command</h2><pre>{html.escape(command)}</pre></section>" if command else ""
