"""Keep the model card's figures those of the weights: what they were made of, and what the evaluation measured.

python -m experiments.embedded.card --record data/embedded/model    # writes recipe.json beside weights just trained
python -m experiments.embedded.card                                 # rewrites the card's blocks
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from experiments.common import RESULTS, provenance
from experiments.embedded import splits
from vlmrl.checkpoints import replace_file
from vlmrl.encoders.sources import EMBEDDED

CARD, RECIPE, TABLES = EMBEDDED / "MODEL_CARD.md", "recipe.json", RESULTS / "embedded_encoder.md"
SETTINGS = (
    "steps", "minutes", "batch", "captions", "lr", "warmup", "weight_decay", "beta2", "clip_norm", "max_logit_scale",
    "nothings", "jumbles", "augment", "labels", "held_out", "precision", "weights", "device", "seed", "workers",
)  # fmt: skip
"""What is kept of a training's configuration; paths are not."""
PART = ("commit", "steps", "seconds", "config", "hardware", "versions")
"""What is kept of an earlier part of a training: frames and what was held out are those of the last."""
KINDS = {
    "own": "own looks, ray tracer", "own96": "own looks, ray tracer", "varied": "other looks, ray tracer",
    "arms": "arms, ray tracer", "arms-varied": "arms, ray tracer",
    "gl": "own looks, GL", "stock": "Gymnasium's body, ray tracer", "stock-gl": "Gymnasium's body, GL",
    "gymnasium": "Gymnasium's own renderer",
}  # fmt: skip
"""Source, by the end of its name -> what drew it."""


def recipe(model: Path) -> dict[str, Any]:
    """Return what weights were made of, from the adapt.json beside them."""
    made = json.loads((model / "adapt.json").read_text())
    sources = {row["source"]: [row["frames"], row["held_out"]] for row in made["data"]}
    shares = {row["family"]: round(row["share"], 4) for row in made["data"]}
    config = {name: made["config"][name] for name in SETTINGS}
    config["precision"] = made.get("precision", config["precision"]).removeprefix(
        "torch."
    )  # what `auto` came to
    found = {
        "commit": made["git"]["sha"], "steps": made["step"], "seconds": round(made["seconds"]),
        "config": config, "shares": shares, "frames": sources,
        "reworded": splits.share_reworded(model),
        "validation": {k: round(v, 4) for k, v in made["validation"].items() if k in ("loss", "auc", "top1")},
        "hardware": provenance(_gpu(made))["hardware"], "versions": {k: made["versions"][k] for k in ("python", "torch")},
    }  # fmt: skip
    return found | ({"begun": before} if (before := _before(made["config"]["start"])) else {})


def _before(start: str) -> list[dict[str, Any] | None]:
    """Return the parts of a training that came before, the oldest first; None for weights of which nothing is known."""
    kind, _, folder = start.partition(":")
    if kind != "local-dir":
        return []
    path = Path(folder) / RECIPE
    if not path.is_file():
        return [None]
    found = json.loads(path.read_text())
    return [*found.get("begun", []), {name: found[name] for name in PART}]


def _gpu(made: dict[str, Any]) -> str | None:
    """Return the GPU that a training used, by its own name where it is at hand; None for a CPU."""
    import torch

    device = made["config"]["device"] or "cpu"
    if not device.startswith("cuda"):
        return None
    return torch.cuda.get_device_name(device) if torch.cuda.is_available() else device


def frames_table(frames: dict[str, list[int]]) -> str:
    """Return how many frames of each world were trained on, by what drew them, as Markdown."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for source, (trained, _) in frames.items():
        world, _, kind = source.partition("-")
        counts[world][KINDS[kind]] += trained
    kinds = list(dict.fromkeys(KINDS.values()))
    lines = ["| world | " + " | ".join(kinds) + " | all |", "|" + "---|" * (len(kinds) + 2)]
    for world, found in counts.items():
        cells = [f"{found[kind]:,}" if found[kind] else "–" for kind in kinds]
        lines.append(f"| {world} | " + " | ".join(cells) + f" | {sum(found.values()):,} |")
    return "\n".join(lines)


def made_of(found: dict[str, Any]) -> str:
    """Return the card's block on how the weights were made, as Markdown."""
    config, hardware = found["config"], found["hardware"]
    where = hardware["gpu"] or f"{hardware['cores']} CPU cores ({hardware['cpu']})"
    total = sum(trained for trained, _ in found["frames"].values())
    kept = sum(held_out for _, held_out in found["frames"].values())
    workers = config.get("workers", 1)
    parts = f"; normalised in {workers} parts of it" if workers > 1 else ""
    rows = [
        ("frames", f"{total:,} to train on, {kept:,} held out for validation"),
        ("batch", f"{config['batch']} frames, each judged by {config['captions']} sentences{parts}"),
        ("shows nothing", f"{config['nothings']:.1%} of the frames (blank, noise, tiles out of place)"),
        ("words in disorder", f"{config['jumbles']:.1%} of the sentences"),
        ("labels", ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in config["labels"].items())),
        ("optimiser", f"AdamW, rate {config['lr']:g} after {config['warmup']} steps of warm-up, cosine to 2% of it; "
                      f"weight decay {config['weight_decay']:g}, beta2 {config['beta2']:g}, gradients clipped at {config['clip_norm']:g}"),
        *lengths(found),
        ("hardware", where),
        ("commit", f"`{found['commit'][:7]}`, torch {found['versions']['torch']}"),
    ]  # fmt: skip
    if reworded := found["reworded"]:
        rows.insert(3, ("said otherwise by rule", f"{reworded:.0%} of the sentences that a rule fits"))
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n\n" + frames_table(found["frames"])


def lengths(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the card's rows on how long a training was: one, or one for each of its parts and their sum."""
    parts: list[dict[str, Any] | None] = [*found.get("begun", []), found]
    if len(parts) == 1:
        return [("length", _length(found))]
    rows = [
        (
            f"part {k}",
            f"{_length(part)}, rate {part['config']['lr']:g}, {part['config']['jumbles']:.1%} in disorder"
            if part
            else "weights of which nothing is known",
        )
        for k, part in enumerate(parts, start=1)
    ]
    if all(parts):
        steps, seconds = (sum(part[name] for part in parts if part) for name in ("steps", "seconds"))
        rows.append(
            ("length", f"{steps:,} steps, {seconds / 60:.0f} minutes, each part with a fresh optimiser")
        )
    return rows


def _length(part: dict[str, Any]) -> str:
    """Return how long a training was, in words."""
    config, minutes = part["config"], part["seconds"] / 60
    return f"{part['steps']:,} steps, {minutes:.0f} minutes, seed {config['seed']}, {config['precision']}"


def blocks() -> dict[str, str]:
    """Return the text of each of the card's blocks, by name."""
    return {
        "recipe": made_of(json.loads((EMBEDDED / RECIPE).read_text())),
        "evaluation": TABLES.read_text().strip(),
    }


def renewed(text: str) -> str:
    """Return the card's text with its blocks written anew."""
    for name, block in blocks().items():
        begin, end = f"<!-- {name}: python -m experiments.embedded.card -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n{block}\n{end}{after}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, metavar="MODEL", help="write recipe.json into this folder")
    args = parser.parse_args()
    if args.record is not None:
        made = json.dumps(recipe(args.record), indent=1)
        replace_file(args.record / RECIPE, f"{made}\n".encode())
    else:
        replace_file(CARD, renewed(CARD.read_text()).encode())


if __name__ == "__main__":
    main()
