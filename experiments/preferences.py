"""Rewards learned from preferences, task by task: RL-VLM-F's loop with an encoder that answers, and with an oracle.

    python -m experiments.preferences                                    # encoder and oracle; skips what is there
    python -m experiments.preferences --tasks cartpole --labellers encoder control_flipped_labels --seeds 0
    python -m experiments.preferences --report                           # the table of what is there
    python -m experiments.preferences --labellers control_random_labels control_flipped_labels    # must fail

Rows go to results/preferences.json, one for each training run. The policy is trained on a reward learned from at most
1,000 answered pairs of single frames and on nothing else; the oracle answers by the world's own progress and is the
ceiling of every row of its task and seed, so it is run first. Judged is the last checkpoint by the world's own check;
nothing is chosen or stopped by it. The encoder is in-domain and supervised by captions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments import aggregate, common, settings
from experiments import preference_targets as targets
from experiments.book import Book, Row
from experiments.filling import end, fill
from experiments.preference_targets import GOOD, NEAR, SEEDS, count, reaches
from experiments.preference_targets import SEVEN as SEVEN
from experiments.weights import EARLIER, footnote, is_earlier
from vlmrl.checkpoints import replace_file
from vlmrl.errors import UsageError
from vlmrl.preferences.calibration import accuracy_by_gap
from vlmrl.preferences.online_config import LabellerName, PreferencesConfig
from vlmrl.preferences.oracle import OracleConfig, progress
from vlmrl.preferences.reading import ReadOnlyStore
from vlmrl.preferences.store import STORE
from vlmrl.runs import read_metrics
from vlmrl.tasks import METAWORLD, RECREATIONS
from vlmrl.training import TrainConfig, preset


@dataclass(frozen=True)
class Setting:
    """How one task is asked about and judged."""

    horizons: tuple[int, ...]
    """Steps of the judged episodes."""
    preferences: PreferencesConfig
    """Pairs and stages, so that the budget lasts for most of the run."""
    total_steps: int | None = None
    """Of the run; None is the preset's."""


SETTINGS: dict[str, Setting] = {
    "cartpole": Setting((200, 500), PreferencesConfig(every=10_000)),
    **{task: Setting((75,), PreferencesConfig(every=15_000)) for task in RECREATIONS},
    **{task: Setting((250,), PreferencesConfig(every=10_000), 200_000) for task in METAWORLD},
    "mountain_car": Setting((200,), PreferencesConfig(every=15_000)),
    "humanoid_kneeling": Setting((100, 400), PreferencesConfig(every=15_000)),
}
"""Task -> settings, fixed before any run of the table; RL-VLM-F's tasks first, extras last. Agent, sentence and else steps are those of the task's preset; on
Meta-World the agent is stable-baselines3's SAC, see `experiments.sac_preferences`."""
LABELLERS: dict[str, tuple[LabellerName, OracleConfig]] = {
    "encoder": ("encoder", OracleConfig()),
    "oracle": ("oracle", OracleConfig()),
    "oracle_noisy": ("oracle", OracleConfig(flip=0.1)),
    "control_random_labels": ("oracle", OracleConfig(flip=0.5)),
    "control_flipped_labels": ("oracle", OracleConfig(flip=1.0)),
}
"""Who answers: one answer in ten of the noisy oracle is wrong, and of the controls every second and every one."""
REPORTED = (
    "pairs_asked", "labels", "abstained", "label_accuracy", "label_accuracy_wide", "validation_accuracy", "ece",
    "progress_correlation", "stages", "unparseable", "refused", "network_failures", "unanswered", "reused",
    "first_share", "flip_rate", "calls", "tokens", "cost",
)  # fmt: skip
"""What a row takes over of the learner's last figures, see `vlmrl.preferences.account`."""


def configured(task: str, labeller: str, seed: int) -> TrainConfig:
    """Return a run's settings: the one place where conditions become settings."""
    name, oracle = LABELLERS[labeller]
    setting, config = SETTINGS[task], preset(task)
    asked = replace(setting.preferences, oracle=replace(oracle, seed=seed))
    length = setting.total_steps or config.total_steps
    return replace(config, labeller=name, preferences=asked, seed=seed, total_steps=length, video=False)


def run_row(config: TrainConfig, labeller: str, episodes: int, repeat: int = 1) -> dict[str, Any]:
    """Train once in the run's own folder, `config.out`; return the row, but for its oracle's success (`with_oracles`).

    repeat: environment steps for which SAC holds an action.
    """
    assert config.out is not None
    task = config.task.name
    if task in METAWORLD:
        from experiments import sac_preferences

        row = sac_preferences.run_one(config, episodes, repeat)
    else:
        row = common.run_one(config, SETTINGS[task].horizons, episodes, None)
        row.pop("condition")
    metrics = read_metrics(config.out)
    last = {key.removeprefix("learned/"): value for key, value in metrics[-1].items()}
    curve = aggregate.thinned(metrics)
    return {
        **row, "labeller": labeller, "oracle_success": None, "evidence": _evidence(labeller),
        **{name: last.get(name) for name in REPORTED},
        "beyond_chance": last.get("evidence"),
        "flat_stages": len({row["learned/stages"] for row in metrics if row.get("learned/is_flat")}),
        "label_accuracy_by_gap": by_gap(config.out / STORE, str(config.labeller)),
        "checkpoint": "latest", "curve": curve,
    }  # fmt: skip


def by_gap(store: Path, labeller: str) -> list[dict[str, float]]:
    """Return how often a labeller's answers in a run's store were right, in ten equal parts by the gap of progress."""
    if not store.is_file():  # a run so short that nobody was asked
        return []
    with closing(ReadOnlyStore(store)) as opened:
        answered = opened.answered(labeller=labeller)
    known = [
        (progress(pair.first) - progress(pair.second), answer.label)
        for pair, answer in answered
        if pair.first.progress is not None and pair.second.progress is not None
    ]
    if not known:
        return []
    gaps, labels = (np.array(column, float) for column in zip(*known, strict=True))
    return [asdict(part) for part in accuracy_by_gap(gaps, labels)]


def _evidence(labeller: str) -> str:
    return "in-domain, caption-supervised" if labeller == "encoder" else "the world's own progress"


def settings_of(config: TrainConfig, repeat: int = 1) -> dict[str, Any]:
    """Return what decides a run: the settings of the agent that is trained; repeat as of `run_row`."""
    if config.task.name not in METAWORLD:
        return settings.settings_of(config)
    from experiments import sac_preferences

    return sac_preferences.settings_of(config, repeat)


def with_oracles(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, each with the success of the oracle's of its task and seed: None until that one has been run."""
    reached = {(row["task"], row["seed"]): row["success"] for row in rows if row["labeller"] == "oracle"}
    return [{**row, "oracle_success": reached.get((row["task"], row["seed"]))} for row in rows]


def table(rows: Sequence[Row]) -> str:
    """Return Markdown: a line for each task and labeller, success as interquartile mean over seeds; then `count`."""
    head = ["task", "who answers", "seeds", "success", "oracle's, same seeds", "reaches it", "pairs asked",
            "labels right", "of the wider half", "env steps", "minutes"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (task, labeller), mine in aggregate.groups(rows, task=SETTINGS, labeller=LABELLERS):
        lines.append(_line(task, labeller, mine))
    return "\n".join([*lines, "", count(rows)]) + "\n" + footnote(rows)


def _line(task: str, labeller: str, rows: Sequence[Row]) -> str:
    horizons = list(rows[0]["success"])
    known = all(row["oracle_success"] for row in rows)

    def shown(which: str) -> str:
        return "; ".join(aggregate.shown([[row[which][h] for row in rows]]) for h in horizons)

    mark = EARLIER if any(is_earlier(row) for row in rows) else ""
    cells = [
        task, labeller, ", ".join(str(row["seed"]) for row in rows), shown("success") + mark, shown("oracle_success") if known else "not run",
        "–" if labeller == "oracle" or not known else reaches(rows),
        f"{np.median([row['pairs_asked'] for row in rows]):,.0f}",
        _share([row["label_accuracy"] for row in rows]), _share([row["label_accuracy_wide"] for row in rows]),
        f"{np.median([row['env_steps'] for row in rows]):,.0f}", aggregate.minutes(rows),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _share(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.1%}" if known else "–"


def report(results: Path) -> None:
    """Put the oracles' successes, which another process may have measured since, into the rows; write their table."""
    book = Book(results)
    book.change(with_oracles)
    claim = (
        "Policies trained on a reward learned from answered pairs alone. Interquartile mean over seeds [95% bootstrap "
        f"interval] of 100 episodes, one figure for each horizon; reaches it: within {NEAR:.0%} of the policy trained on the "
        f"oracle's answers, where that one reaches {GOOD:.0%} itself. Labels right: on the side of more progress, ties half. The encoder is in-domain."
    )
    with book.held():
        parts = [
            targets.table(book.rows, results.parent),
            claim,
            table(book.rows),
            targets.gap_table(book.rows),
        ]
        replace_file(
            results.with_suffix(".md"), "\n\n".join(part.strip() for part in parts if part).encode() + b"\n"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the book of results lacks, then report; arguments as on the command line, None reads sys.argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="TASK")
    parser.add_argument("--labellers", nargs="+", default=["oracle", "encoder"], choices=list(LABELLERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    common.add_arguments(parser, "preferences")
    parser.add_argument("--report", action="store_true", help="run nothing")
    held = "environment steps for which an action is held, by SAC on Meta-World only"
    parser.add_argument("--action-repeat", type=int, default=1, metavar="N", help=held)
    args = common.parsed(parser, arguments)
    if args.action_repeat < 1:
        parser.error(f"action-repeat: got {args.action_repeat}; expected 1 or more; 1 holds none")
    book = Book(args.results)
    # The oracle goes first whether it is asked for or not: each row is to hold what it reached.
    wanted = []
    for task, seed in [] if args.report else product(args.tasks, args.seeds):
        for who in dict.fromkeys(["oracle", *args.labellers]):
            out = args.runs / f"preferences-{task}-{who}-{seed}"
            config = common.placed(configured(task, who, seed), seed, out, args.total_steps)
            wanted.append(({"task": task, "labeller": who, "seed": seed}, config))
    try:
        failed = fill(
            book,
            wanted,
            lambda named, config: run_row(config, named["labeller"], args.episodes, args.action_repeat),
            lambda: report(args.results),
            lambda config: settings_of(config, args.action_repeat),
        )
        if book.rows:
            report(args.results)
            print(targets.table(book.rows, args.results.parent))
            print(table(book.rows))
        end(failed)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
