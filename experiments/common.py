"""What the experiments with the JAX agent share: conditions, seeds, what a row holds, a table.

A row of `experiments/results/<name>.json` is one training run: its condition, seed and sentence, the success over
100 fresh episodes at each horizon by the world's own check, what it cost, and on which hardware and commit.
The checkpoint judged is the last one; nothing is chosen or stopped by success.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments import summary
from experiments.book import Book
from experiments.filling import end, fill
from experiments.load import Load
from experiments.settings import settings_of
from experiments.summary import RESULTS
from experiments.weights import EARLIER, SEES, fingerprint, footnote, is_earlier
from vlmrl.checkpoints import replace_file
from vlmrl.configs import from_plain
from vlmrl.encoders.slow import PREFIX
from vlmrl.errors import UsageError
from vlmrl.evaluation import evaluate, record_video
from vlmrl.making import make_envs
from vlmrl.progress import ProgressPrinter
from vlmrl.runs import RunFolder, git_state, read_config, read_metrics, versions
from vlmrl.runtime import cores, limit_threads, resolve_device
from vlmrl.training import Run, TrainConfig, load_run, make_agent, preset, resume, train

CONDITIONS = ("vlm", "state_similarity", "constant", "random_encoder", "swapped_goal")
"""The reward, the ceiling, and three controls that must fail."""
STATES = "episodes.npz"
"""In a run folder: the states (T, E, S) of judged episodes, so that other checks can judge the same ones."""
IN_DOMAIN = "The embedded encoder is in-domain, caption-supervised; VLM-RM's figures are zero-shot."
"""What stands over every table that the two might be compared by."""


def provenance(gpu: str | None = None) -> dict[str, Any]:
    """Return hardware (gpu: the one that was used), commit and versions, as every row carries them."""
    models = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    git = git_state() or {"sha": None, "dirty": None}
    wanted = (
        "python",
        "numpy",
        "torch",
        "jax",
        "mujoco",
        "mujoco-warp",
        "gymnasium",
        "open_clip_torch",
        "stable-baselines3",
    )
    return {
        "hardware": {"cpu": models[0] if models else platform.processor(), "cores": cores(), "gpu": gpu},
        "commit": git["sha"],
        "dirty": git["dirty"],
        "versions": {k: v for k, v in versions().items() if k in wanted},
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def run_one(
    config: TrainConfig, horizons: Sequence[int], episodes: int, video: Path | None, keep_states: bool = False
) -> dict[str, Any]:
    """Train once in the folder `config.out`, judge the last checkpoint at each horizon; return the row.

    A stopped sitting in that folder is gone on with where it can be (`stopped_after`); else what it holds goes first.
    wall_seconds counts all sittings. keep_states: write the states of the shortest horizon's episodes into the run
    folder, as `STATES`.
    """
    assert config.out is not None
    printer = ProgressPrinter(every_s=10)
    known = known_before(config)
    before = stopped_after(config, known["weights"])
    load = Load()
    if before is None:
        shutil.rmtree(config.out, ignore_errors=True)
        run = train(config, printer)
    else:
        run = resume(config.out, printer)
    seconds = (before or 0.0) + load.seconds
    burden = load.row()
    printer.close()
    rows = read_metrics(run.path)
    run = load_run(run.path)
    verdicts = judged(run, horizons, episodes, run.path / STATES if keep_states else None)
    if video is not None:
        video.parent.mkdir(parents=True, exist_ok=True)
        record_video(
            run, video, horizon=max(horizons), caption=f"{config.reward}, seed {config.seed}", overwrite=True
        )
    return {
        **known,
        "condition": config.reward,
        "learned": any(row["ppo/learning"] for row in rows),
        "env_steps": rows[-1]["global_step"],
        "frames_scored": rows[-1]["frames_scored"],
        "wall_seconds": round(seconds, 1),
        **burden,
        **verdicts,
    }


def judge_untrained(config: TrainConfig, horizons: Sequence[int], episodes: int) -> dict[str, Any]:
    """Judge the agent of a run before any update, as `run_one` does after the last; return the row. No run is left."""
    assert config.out is not None
    limit_threads()
    known, load = known_before(config), Load()
    envs = make_envs(config.task, 1)
    run = Run(config, RunFolder(config.out), make_agent(config, envs))
    envs.close()
    verdicts = judged(run, horizons, episodes)
    return {**known, "condition": config.reward, "learned": False, "env_steps": 0, "frames_scored": 0,
            "wall_seconds": round(load.seconds, 1), **load.row(), **verdicts}  # fmt: skip


def judged(run: Run, horizons: Sequence[int], episodes: int, states: Path | None = None) -> dict[str, Any]:
    """Return what a row says of an agent's success at each horizon; states: a new file for those of the shortest."""
    kept = {min(horizons): states}
    found = {str(h): evaluate(run, episodes, horizon=h, states_file=kept.get(h)) for h in horizons}
    return {
        "success": {h: one["success"] for h, one in found.items()},
        "steps_at_goal": {h: round(one["steps_at_goal"], 4) for h, one in found.items()},
        "episodes": episodes,
    }


def stopped_after(config: TrainConfig, weights: str | None) -> float | None:
    """Return the seconds that a stopped run in the folder `config.out` took so far; None where it is to begin anew.

    That is where it began with other settings or weights of the encoder, or has no whole checkpoint. A finished run, for
    its row was deleted then, and one of an encoder that measures its own time, which it does for one sitting, too.
    """
    assert config.out is not None
    try:
        began = from_plain(TrainConfig, read_config(config.out)["config"])
        checkpoint = RunFolder.open(config.out).load_checkpoint()
    except UsageError:
        return None
    same = replace(began, out=config.out) == config and checkpoint.extra.get("weights") == weights
    goes_on = same and 0 < checkpoint.global_step < config.total_steps and "loop" in checkpoint.extra
    if not goes_on or config.encoder.startswith(PREFIX):
        return None
    return float(checkpoint.extra["loop"]["seconds"])


def known_before(config: TrainConfig) -> dict[str, Any]:
    """Return what a run's row says that is known before it is run: ask before, for weights and code may change meanwhile."""
    return {
        "task": config.task.name,
        "encoder": encoder_of(config),
        "weights": fingerprint(config.encoder) if config.reward in SEES else None,
        "goal": list(config.task.goal),
        "baseline": list(config.task.baseline),
        "alpha": config.task.alpha,
        "seed": config.seed,
        "settings": settings_of(config),
        "date": time.strftime("%Y-%m-%d"),
        **provenance(gpu_of(config.device)),
    }


def gpu_of(device: str | None) -> str | None:
    """Return the name of the GPU that a run's device, or none given, comes to; None for the CPU."""
    resolved = resolve_device(device)
    return torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else None


def encoder_of(config: TrainConfig) -> str | None:
    """Return the name of the encoder whose answers a run was trained on; None for a reward without one."""
    if config.reward == "random_encoder":
        return f"random:{config.seed}"
    return config.encoder if config.reward in SEES else None


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: one line for each condition, seeds side by side."""
    horizons = list(rows[0]["success"])
    head = ["condition", "seeds", *(f"success, {h} steps" for h in horizons), "env steps", "minutes (median)"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for condition in dict.fromkeys(row["condition"] for row in rows):
        mine = sorted((r for r in rows if r["condition"] == condition), key=lambda r: r["seed"])
        cells = [condition, ", ".join(str(r["seed"]) for r in mine)]
        mark = EARLIER if any(is_earlier(row) for row in mine) else ""
        cells += [" / ".join(f"{r['success'][h]:.0%}" for r in mine) + mark for h in horizons]
        cells += [f"{mine[0]['env_steps']:,}", f"{np.median([r['wall_seconds'] for r in mine]) / 60:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + footnote(rows)


def add_arguments(parser: argparse.ArgumentParser, results: str) -> None:
    """Add what every experiment takes; its rows go to the book called `results`. Read them by `parsed`."""
    parser.add_argument(
        "--episodes", type=int, default=100, help="to judge; use --results with another number"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "experiments", help="where run folders go"
    )
    parser.add_argument("--results", type=Path, default=RESULTS / f"{results}.json")
    parser.add_argument("--total-steps", type=int, help="for a quick try; use --results with it")


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; None reads sys.argv.

    A quick try (`--total-steps`, other `--episodes`) is kept out of the published rows and of the folders of their runs.
    """
    args = parser.parse_args(arguments)
    changed = [
        name for name in ("total_steps", "episodes") if getattr(args, name) != parser.get_default(name)
    ]
    if not changed:
        return args
    if args.results.resolve().parent == RESULTS.resolve():
        name = changed[0].replace("_", "-")
        parser.error(
            f"--{name}: got it without --results; expected a file of its own; name one with --results"
        )
    if args.runs == parser.get_default("runs"):
        args.runs = args.runs.with_name("quick")
    return args


def placed(config: TrainConfig, seed: int, out: Path, total_steps: int | None) -> TrainConfig:
    """Return a run's settings with its seed and folder, and with so many steps instead of its own if any are given."""
    config = replace(config, seed=seed, out=out)
    return config if total_steps is None else replace(config, total_steps=total_steps)


def main(task_name: str, horizons: Sequence[int], claim: str, arguments: Sequence[str] | None = None) -> None:
    """Run the conditions and seeds of one task that are not in the book yet, and write its table; None reads sys.argv.

    A row that other settings, or other weights of the encoder, gave is measured again and replaced.
    """
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=CONDITIONS)
    add_arguments(parser, task_name)
    args = parsed(parser, arguments)
    book = Book(args.results)
    wanted = []
    for condition in args.conditions:
        for seed in args.seeds:
            out = args.runs / f"{task_name}-{condition}-{seed}"
            config = placed(replace(preset(task_name), reward=condition), seed, out, args.total_steps)
            wanted.append(({"condition": condition, "seed": seed}, config))

    def run(_: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
        assert config.out is not None
        return run_one(config, horizons, args.episodes, args.runs / "videos" / f"{config.out.name}.mp4")

    def report() -> None:
        with book.held():
            text = f"{claim}\n\n{table(book.rows)}"
            replace_file(args.results.with_suffix(".md"), text.encode())
            if args.results.parent == RESULTS:
                summary.write()

    failed = fill(book, wanted, run, report)
    if book.rows:
        print(table(book.rows))
    end(failed)
