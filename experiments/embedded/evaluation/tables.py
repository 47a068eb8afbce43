"""Targets, met or missed, and everything measured as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.embedded.evaluation import metrics
from experiments.embedded.evaluation.controls import ANY_ORDER, FRESH, KINDS
from experiments.embedded.evaluation.goals import MIN_STATES
from experiments.embedded.evaluation.metrics import Estimate

VLM_RM = ("cartpole", "mountain_car", "humanoid")
"""Worlds of the ten VLM-RM goals, which the targets are about; what all worlds come to stands beside."""

WORDS = ("compositions", "paraphrases", "left_out")


@dataclass(frozen=True)
class Target:
    """What the encoder must reach."""

    name: str
    limit: float
    least: bool
    """True: at least the limit; False: at most."""
    unit: str = ""


GOALS_MEAN = Target("VLM-RM's ten goals against every other described state, AUC, mean", 0.97, True)
GOALS_WORST = Target("the same, worst", 0.93, True)
PATHS = Target("Spearman of their reward with progress along paths from start to goal, mean", 0.95, True)
COMPOSITIONS = Target("held-out compositions of their three worlds, AUC, mean", 0.93, True)
PARAPHRASES = Target("held-out paraphrases of their three worlds, AUC, mean", 0.93, True)
LEFT_OUT = Target("poses left out of training, described in known words, AUC, worst", 0.85, True)
DROP = Target("unseen camera and light, drop in AUC of the ten, mean", 0.02, False)
CONTROLS = Target("controls of the ten: share of rewards above the baseline, largest", 0.0, False)
SIZE = Target("size of the weights", 16.0, False, " MiB")
SPEED = Target("speed, preprocessing included", 3000.0, True, " frames/s")


def judge(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each target: value, interval where there is one, met (None: not measured), value of all worlds.

    found: goals, compositions, paraphrases, left_out, bodies, controls (rows), mebibytes, frames_per_s (or None).
    """
    ten = [row for row in found["goals"] if row["world"] in VLM_RM]
    few = sum(row["own"] is None for row in ten)
    count = f"{len(ten) - few} of {len(ten)} goals; the others had too few states" if few else None
    everywhere = _measured(found, {row["world"] for kind in ("goals", *WORDS) for row in found[kind]})
    values = _measured(found, set(VLM_RM)) | {SIZE: found["mebibytes"], SPEED: found["frames_per_s"]}
    rows = [_judged(target, value, everywhere.get(target)) for target, value in values.items()]
    for row in rows[:2]:
        row |= {"of": count} | ({"met": None} if count else {})
    return rows


def _measured(found: dict[str, Any], worlds: set[str]) -> dict[Target, Estimate | float | None]:
    """Return what targets ask of the given worlds, None where nothing was measured.

    Intervals of means over sentences are of other sentences and other states; of means over goals, of other states.
    """
    goals = [row for row in found["goals"] if row["world"] in worlds]
    own = [row["own"] for row in goals if row["own"] is not None]
    drops = [row["drop"] for row in goals if row["drop"] is not None]
    words = {kind: [row["auc"] for row in found[kind] if row["world"] in worlds] for kind in WORDS}
    shares = [r["share_above"] for r in found["controls"] if r["world"] in worlds and r["control"] in KINDS]
    return {
        GOALS_MEAN: metrics.average(own) if own else None,
        GOALS_WORST: metrics.extreme(own) if own else None,
        PATHS: _average(row["path"] for row in goals),
        COMPOSITIONS: metrics.of_others(words["compositions"]),
        PARAPHRASES: metrics.of_others(words["paraphrases"]),
        LEFT_OUT: metrics.extreme(words["left_out"]) if words["left_out"] else None,
        DROP: metrics.average(drops) if drops else None,
        CONTROLS: max(shares) if shares else None,
    }


def with_poses_left_out(judged: Sequence[dict[str, Any]], report: Path) -> list[dict[str, Any]]:
    """Return the targets' rows, that of poses left out as another training's report has it, where there is one."""
    if not report.is_file():
        return list(judged)
    (found,) = (r for r in json.loads(report.read_text())["targets"] if r["target"] == LEFT_OUT.name)
    found.pop("all_worlds", None)
    found["of"] = f"another training: {report.with_suffix('.md').name}"
    return [
        found if row["target"] == LEFT_OUT.name and (row["value"] is None or row.get("of")) else row
        for row in judged
    ]


def renew_poses_left_out(report: Path, other: Path) -> None:
    """Write what a newer report says of poses left out into the targets of a report and of the tables beside it."""
    if not report.is_file():
        return
    found = json.loads(report.read_text())
    before = found["targets"]
    found["targets"] = with_poses_left_out(before, other)
    report.write_text(json.dumps(found, indent=1) + "\n")
    page = report.with_suffix(".md")
    page.write_text(page.read_text().replace(_targets(before), _targets(found["targets"])))


def _average(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """Return the mean of estimates whose resamples may differ in number."""
    there = [e for e in estimates if e is not None]
    if not there:
        return None
    fewest = min(len(e.resamples) for e in there)
    return metrics.average([Estimate(e.value, e.resamples[:fewest]) for e in there])


def _judged(
    target: Target, value: Estimate | float | None, everywhere: Estimate | float | None = None
) -> dict[str, Any]:
    all_worlds = everywhere.value if isinstance(everywhere, Estimate) else everywhere
    row: dict[str, Any] = {"target": target.name, "limit": target.limit, "at": "least" if target.least else "most",
                           "unit": target.unit, "value": None, "interval": None, "met": None,
                           "all_worlds": None if all_worlds is None else round(all_worlds, 4)}  # fmt: skip
    if value is None:
        return row
    number = value.value if isinstance(value, Estimate) else float(value)
    row |= value.plain() if isinstance(value, Estimate) else {"value": round(number, 4)}
    return {**row, "met": number >= target.limit if target.least else number <= target.limit}


def plain(value: Any) -> Any:
    """Return rows with estimates as JSON values; arrays, which are for pictures, are left out."""
    if isinstance(value, Estimate):
        return value.plain()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not hasattr(v, "dtype")}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def markdown(found: dict[str, Any], judged: Sequence[dict[str, Any]]) -> str:
    """Return all tables: targets, then goals, words and controls, world by world."""
    parts = [_targets(judged), _goals(found["goals"])]
    parts.append(_words("Held-out compositions", found["compositions"]) + _too_rare(found["too_rare"]))
    parts.append(_words("Held-out paraphrases", found["paraphrases"]))
    if found["left_out"]:
        lines = ["| pose | said | AUC | by its own words |", "|---|---|---|---|"]
        lines += [
            f"| {r['pose']} | {r['sentence']} | {_shown(r['auc'])} | {_shown(r['own_words'])} |"
            for r in found["left_out"]
        ]
        parts.append("### Poses left out of training\n\n" + "\n".join(lines))
    if found["bodies"]:
        parts.append(_words("A body left out of training, in words of others", found["bodies"], worst=100))
    parts.append(_controls(found["controls"]))
    return "\n\n".join(parts) + "\n"


def _targets(judged: Sequence[dict[str, Any]]) -> str:
    lines = ["| target | measured | required | | all worlds |", "|---|---|---|---|---|"]
    for row in judged:
        value = "not measured" if row["value"] is None else f"{row['value']:.4g}{row['unit']}"
        if row["interval"]:
            value += " [{:.3f}, {:.3f}]".format(*row["interval"])
        if row.get("of"):
            value += f" ({row['of']})"
        sign = "≥" if row["at"] == "least" else "≤"
        word = {True: "met", False: "**missed**", None: "–"}[row["met"]]
        rest = "–" if row.get("all_worlds") is None else f"{row['all_worlds']:.4g}"
        lines.append(
            f"| {row['target']} | {value} | {sign} {row['limit']:g}{row['unit']} | {word} | {rest} |"
        )
    note = (
        "[95% interval]: of goals, over states; of compositions and paraphrases, over sentences too. Met or missed is said of "
        "the value. All worlds: the same of every goal and sentence below."
    )
    return "\n".join(lines) + f"\n\n{note}"


def _goals(rows: Sequence[dict[str, Any]]) -> str:
    head = [
        "task",
        "goal states",
        "AUC",
        "AUC, unseen view",
        "drop",
        "AUC, view beyond training's range",
        "AUC, Gymnasium's look",
        "Spearman with truth",
        "Spearman on paths",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["task"], str(row["goals"]), _shown(row["own"]), _shown(row["unseen"]), _shown(row["drop"]), _shown(row["beyond"]),
                 _shown(row.get("stock")),
                 f"{row['own_spearman']:.3f}", _shown(row["path"])]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "### Goals\n\n" + "\n".join(lines)


def _words(title: str, rows: Sequence[dict[str, Any]], worst: int = 8) -> str:
    """Return each world's mean, and the sentences that do worst."""
    if not rows:
        return f"### {title}\n\nnot measured"
    lines = ["| world | sentences | AUC, mean | AUC, worst | below 0.93 |", "|---|---|---|---|---|"]
    for world in dict.fromkeys(row["world"] for row in rows):
        mine = [row["auc"] for row in rows if row["world"] == world]
        mean = metrics.of_others(mine)
        low = min(e.value for e in mine)
        lines.append(
            f"| {world} | {len(mine)} | {_shown(mean)} | {low:.3f} | {sum(e.value < 0.93 for e in mine)} |"
        )
    lines += ["", "| worst of them | AUC | compare |", "|---|---|---|"]
    for row in sorted(rows, key=lambda r: r["auc"].value)[:worst]:
        other = row.get("usual") or row.get("halves")
        said = "usual wording" if "usual" in row else "against halves"
        compare = f"{said}: {_shown(other)}" if other else "–"
        lines.append(f"| {row['sentence']} | {_shown(row['auc'])} | {compare} |")
    return f"### {title}\n\n" + "\n".join(lines)


def _too_rare(rows: Sequence[dict[str, Any]]) -> str:
    """Return which held-out compositions were not measured, for too few states show both of their facts."""
    if not rows:
        return ""
    told = [
        f"{r['world']}: {' + '.join(r['facts'])} ({r['states']}, at most {r['most']:.2f} true)" for r in rows
    ]
    return f"\n\nHeld out too, and not measured, for fewer than {MIN_STATES} states show both: {'; '.join(told)}."


def _controls(rows: Sequence[dict[str, Any]]) -> str:
    """Return for each task and control the share above the baseline and the mean less it."""
    kinds = [kind for kind in (*KINDS, ANY_ORDER, *FRESH) if any(row["control"] == kind for row in rows)]
    lines = ["| task | random states | " + " | ".join(kinds) + " |", "|" + "---|" * (2 + len(kinds))]
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = {row["control"]: row for row in rows if row["task"] == task}
        first = next(iter(mine.values()))
        cells = [
            f"{mine[k]['share_above']:.0%} ({mine[k]['mean']:+.3f})" if k in mine else "–" for k in kinds
        ]
        lines.append(f"| {task} | {first['states_mean']:+.3f} | " + " | ".join(cells) + " |")
    note = (
        "Share of rewards above the baseline sentence's own (mean reward less it). Training shows what is blank, noise or of "
        f"another world, and says words in disorder, as nothing; of {' and '.join(FRESH)}, which no target is about, it shows nothing. "
        "Shuffled text keeps no two neighbours together. Any order may, and may be good English: a humanoid kneeling robot."
    )
    return f"### Controls\n\n{note}\n\n" + "\n".join(lines)


def _shown(value: Estimate | None) -> str:
    if value is None:
        return "–"
    low, high = value.interval
    return f"{value.value:.3f} [{low:.3f}, {high:.3f}]"
