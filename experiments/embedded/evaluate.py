"""Judge an embedded encoder on states, cameras, lights and wordings that no training batch held.

    python -m experiments.embedded.evaluate                                       # the shipped weights, all worlds
    python -m experiments.embedded.evaluate --dir data/embedded/model --worlds humanoid --states 1000

Writes results/embedded_encoder.json (everything), .md (tables with targets, met or missed) and .png (the worst-ranked
states). Seeds are fixed. The encoder is trained in-domain, on captions that the simulator wrote: beside zero-shot CLIPs
its figures are no like for like. What training left out is read from splits.json beside the weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import RESULTS, provenance
from experiments.embedded import metaworld, splits
from experiments.embedded.data import WORLDS as TRAINED
from experiments.embedded.evaluation import controls, goals, pictures, tables, words
from experiments.embedded.evaluation.drawn import SEED, Drawn, draw
from experiments.weights import fingerprint
from vlmrl.encoders import load_encoder
from vlmrl.encoders.sources import EMBEDDED
from vlmrl.errors import UsageError, usage_error
from vlmrl_envs import WORLDS

CAVEAT = "In-domain: trained on captions that the simulator wrote. Not comparable with zero-shot models."

NEVER = "It never saw nor heard of {}: targets on goals count these all the same, though their names tell it nothing."
NOT_HELD_OUT = "These weights' training is not known to have held out today's compositions and wordings: read those as seen."


def measure(
    encoder: Any,
    worlds: list[str],
    count: int,
    num_paths: int,
    leave_out: list[str],
    without: Sequence[str] = (),
) -> tuple[dict, list]:
    """Return all rows, and each goal's row with its world's frames for the pictures."""
    found: dict[str, Any] = {
        k: [] for k in ("goals", "compositions", "too_rare", "paraphrases", "left_out", "bodies", "controls")
    }
    drawn: dict[str, Drawn] = {}
    for world in worlds:
        print(f"{world}: drawing", file=sys.stderr, flush=True)
        drawn[world] = draw(world, encoder, count)
    shown = []
    for world, one in drawn.items():
        others = [two.frames[:48] for name, two in drawn.items() if name != world]
        wrong = np.concatenate(others) if others else np.zeros((0, 64, 64, 3), np.uint8)
        for task in one.tasks:
            row = goals.goal_row(one, encoder, task, num_paths)
            found["goals"].append(row)
            shown.append((row, one.frames))
            found["controls"] += controls.control_rows(one, encoder, task, wrong)
            print(json.dumps(tables.plain(row)), file=sys.stderr, flush=True)
        found["compositions"] += words.compositions(one, encoder)
        found["too_rare"] += words.too_rare(one)
        found["paraphrases"] += words.paraphrases(one, encoder)
        found["left_out"] += words.left_out(one, encoder, leave_out)
        found["bodies"] += words.body_left_out(one, encoder, splits.grammars(leave_out, without))
    return found, shown


def mebibytes(folder: Path) -> float:
    """Return the size of an encoder's weights in MiB."""
    weights = [path for path in folder.glob("*.safetensors") if "state" not in path.name]
    return sum(path.stat().st_size for path in weights) / 2**20


def frames_per_s(name: str, seconds: float) -> float | None:
    """Return the slower of the two frame sizes' speeds, as `benchmarks.encoder_speed` measures; None for no time."""
    if seconds <= 0:
        return None
    from benchmarks import encoder_speed
    from vlmrl.runtime import limit_threads

    config = encoder_speed.SpeedConfig(encoder=(name,), repeats=3, seconds=seconds, plain=False)
    limit_threads(config.threads)
    rows = [row for row in encoder_speed.make_rows(name, config) if row.how == "vlmrl"]
    fastest = [row for row in rows if row.precision == rows[0].precision]
    return min(result["frames_per_s"] for result in encoder_speed.measure(fastest, config))


def checked_worlds(names: list[str], without: Sequence[str] = ()) -> list[str]:
    """Return worlds by folder name; without names all that training draws, of Meta-World's what it has seen and is installed.

    Raises: UsageError for one that is none.
    """
    known = [*dict.fromkeys(WORLDS.values()), *metaworld.WORLDS]
    if wrong := [name for name in names if name not in known]:
        raise usage_error("worlds", wrong, f"some of {known}", "pick from these")
    if (missing := set(names) & set(metaworld.WORLDS)) and not metaworld.is_installed():
        raise usage_error(
            "worlds", sorted(missing), "Meta-World's package", 'pip install --no-deps "metaworld==3.1.1"'
        )
    more = [world for world in metaworld.WORLDS if metaworld.is_installed() and world not in without]
    return names or [*TRAINED, *more]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=EMBEDDED, help="an encoder's folder")
    parser.add_argument("--worlds", nargs="+", default=[], help="folders of vlmrl_envs; all by default")
    parser.add_argument("--states", type=int, default=3000, help="random states of each world")
    parser.add_argument("--paths", type=int, default=12, help="paths from start to goal, for each goal")
    parser.add_argument(
        "--speed", type=float, default=1.0, metavar="SECONDS", help="of each repeat; 0: not measured"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "embedded_encoder.json")
    args = parser.parse_args()
    try:
        leave_out, without = splits.read(args.dir)
        worlds = checked_worlds(args.worlds, without)
        if min(args.states, args.paths) < 1:
            raise usage_error(
                "states, paths", (args.states, args.paths), "1 or more", "3000 and 12 are usual"
            )
        name = "embedded" if args.dir == EMBEDDED else f"local-dir:{args.dir}"
        encoder = load_encoder(name, "cpu")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    found, shown = measure(encoder, worlds, args.states, args.paths, leave_out, without)
    found |= {"mebibytes": mebibytes(args.dir), "frames_per_s": frames_per_s(name, args.speed)}
    judged = tables.judge(found)
    if args.dir == EMBEDDED:
        judged = tables.with_poses_left_out(judged, RESULTS / "embedded_without_poses.json")
    held = splits.holds_out(args.dir)
    report = {
        "about": CAVEAT, "weights": fingerprint(name), "held_out_of_training": held, "encoder": name if name == "embedded" else args.dir.name, "seed": SEED, "states": args.states,
        "worlds": worlds, "left_out_of_training": {"poses": leave_out, "worlds": without},
        "targets": judged, **tables.plain(found), **provenance(),
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    caveat = CAVEAT if held else f"{CAVEAT} {NOT_HELD_OUT}"
    if leave_out:
        caveat += f" {NEVER.format(', '.join(leave_out))}"
    text = f"{caveat}\n\n{tables.markdown(found, judged)}"
    args.out.with_suffix(".md").write_text(text)
    pictures.write_sheet(args.out.with_suffix(".png"), shown)
    print(text)


if __name__ == "__main__":
    main()
