"""What an adaptation leaves on disk: an open_clip directory that is whole at any moment, and what it is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlmrl.adapt.batches import Batch
from vlmrl.adapt.lora import merged_state
from vlmrl.checkpoints import replace_file
from vlmrl.configs import redact, to_plain
from vlmrl.encoders.sources import CONFIG_FILE, PREFERRED, LoadedClip
from vlmrl.runs import METRICS, git_state, versions

WEIGHTS, RECORD = PREFERRED[0], "adapt.json"


def open_clip_config(loaded: LoadedClip) -> dict[str, Any]:
    """Return the content of open_clip_config.json: the architecture, and how pictures are prepared.

    Towers are never to be fetched from elsewhere when the directory is loaded: all weights are in it.
    """
    model_cfg = json.loads(json.dumps(to_plain(loaded.config)))
    vision, text = model_cfg.get("vision_cfg", {}), model_cfg.get("text_cfg", {})
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
    preprocess = loaded.model.visual.preprocess_cfg
    kept = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    return {
        "model_cfg": model_cfg,
        "preprocess_cfg": {k: to_plain(preprocess[k]) for k in kept if k in preprocess},
    }


def export(folder: Path, loaded: LoadedClip, weights: str, record: dict[str, Any]) -> None:
    """Write weights ("fp16" or "fp32"), config, tokenizer files and adapt.json; each file is replaced whole.

    Raises: OSError (disk full), with what stood there before intact; FloatingPointError if a weight is not finite.
    """
    from safetensors.torch import save

    state = {}
    for key, value in merged_state(loaded.model).items():
        wanted = torch.float16 if weights == "fp16" and value.is_floating_point() else value.dtype
        tensor = value.detach().to("cpu", wanted, copy=True).contiguous()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FloatingPointError(
                f"weights: got NaN or infinity in {key} as {wanted}; expected finite numbers; try --weights fp32"
            )
        state[key] = tensor
    config = json.dumps(open_clip_config(loaded), indent=2) + "\n"
    replace_file(folder / CONFIG_FILE, config.encode())
    if hasattr(
        loaded.tokenizer, "save_pretrained"
    ):  # a Hugging Face one: open_clip looks for it beside the weights
        loaded.tokenizer.save_pretrained(folder)
    replace_file(folder / WEIGHTS, save(state, metadata={"format": "pt"}))
    write_record(folder, record)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write adapt.json: what the weights beside it were made of."""
    content = redact(
        to_plain({"format": "vlmrl-adapt", "versions": versions(), "git": git_state(), **record})
    )
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    replace_file(folder / RECORD, text.encode())


def save_bad_batch(folder: Path, step: int, batch: Batch) -> Path:
    """Write the batch of a step that gave no finite loss, and return its folder: batch.npz and captions.json."""
    place = folder / f"bad-batch-{step}"
    place.mkdir(exist_ok=True)
    np.savez_compressed(place / "batch.npz", frames=batch.frames, truth=batch.truth, same=batch.same)
    (place / "captions.json").write_text(json.dumps(batch.texts, indent=1, ensure_ascii=False) + "\n")
    return place


def drop_rows_after(folder: Path, step: int) -> None:
    """Take the rows of later steps out of metrics.jsonl: a resumed run writes them again."""
    file = folder / METRICS
    if not file.exists():
        return
    rows = file.read_bytes().splitlines(keepends=True)
    kept = [line for line in rows if _step_of(line) <= step]
    if len(kept) < len(rows):
        replace_file(file, b"".join(kept))


def _step_of(line: bytes) -> int:
    try:
        return int(json.loads(line)["global_step"])
    except (ValueError, KeyError, TypeError):
        return 0  # not ours to judge
