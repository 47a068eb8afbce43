"""What an adaptation leaves on disk: an open_clip directory that is whole at any moment, and what it is made of."""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlmrl.adapt.batches import Batch
from vlmrl.adapt.lora import merged_state
from vlmrl.adapt.pairs import Family
from vlmrl.adapt.worlds import WorldFrames
from vlmrl.checkpoints import replace_file
from vlmrl.configs import redact, to_plain
from vlmrl.encoders.sources import CONFIG_FILE, PREFERRED, LoadedClip
from vlmrl.runs import git_state, versions

WEIGHTS, RECORD, TOKENIZER = PREFERRED[0], "adapt.json", "tokenizer_config.json"


def open_clip_config(loaded: LoadedClip) -> dict[str, Any]:
    """Return the content of open_clip_config.json: the architecture, and how pictures are prepared.

    Towers are never to be fetched from elsewhere when the directory is loaded: all weights are in it. Frames are
    squashed as in training, whatever the start did with them.
    """
    model_cfg = json.loads(json.dumps(to_plain(loaded.config)))
    vision, text = model_cfg.get("vision_cfg", {}), model_cfg.get("text_cfg", {})
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
    preprocess = loaded.model.visual.preprocess_cfg
    kept = ("mean", "std", "interpolation", "fill_color")
    plain = {k: to_plain(preprocess[k]) for k in kept if k in preprocess}
    return {"model_cfg": model_cfg, "preprocess_cfg": {**plain, "resize_mode": "squash"}}


def export(folder: Path, loaded: LoadedClip, weights: str, record: dict[str, Any]) -> None:
    """Write weights ("fp16" or "fp32"), config, tokenizer files and adapt.json; each file is replaced whole.

    A tensor with numbers over fp16's range stays as it is, with a warning: open_clip reads both in one file.
    Raises: OSError (disk full), with what stood there before intact; FloatingPointError if a weight is not finite.
    """
    from safetensors.torch import save

    state, large = {}, []
    for key, value in merged_state(loaded.model).items():
        tensor = value.detach().to("cpu", copy=True).contiguous()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            remedy = "begin anew with a lower --lr"
            raise FloatingPointError(
                f"weights: got NaN or infinity in {key}; expected finite numbers; {remedy}"
            )
        if weights == "fp16" and tensor.is_floating_point():
            half = tensor.to(torch.float16)
            if torch.isfinite(half).all():
                tensor = half
            else:
                large.append(key)
        state[key] = tensor
    if large:
        warnings.warn(f"weights: {', '.join(large)} stay in fp32, over the range of fp16", stacklevel=2)
    config = json.dumps(open_clip_config(loaded), indent=2) + "\n"
    replace_file(folder / CONFIG_FILE, config.encode())
    _write_tokenizer(folder, loaded.tokenizer)
    replace_file(folder / WEIGHTS, save(state, metadata={"format": "pt"}))
    write_record(folder, record)


def _write_tokenizer(folder: Path, tokenizer: Any) -> None:
    """Write the files of a Hugging Face tokenizer, which open_clip looks for beside the weights, if they are not there."""
    if not hasattr(tokenizer, "save_pretrained") or (folder / TOKENIZER).exists():
        return
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as place:
        tokenizer.save_pretrained(place)
        files = [path for path in Path(place).iterdir() if path.is_file()]
        for path in sorted(
            files, key=lambda path: path.name == TOKENIZER
        ):  # that last: it says that all are there
            replace_file(folder / path.name, path.read_bytes())


def source_rows(families: Sequence[Family], shares: Sequence[float]) -> list[dict[str, Any]]:
    """Return what adapt.json says of each source; of one that is drawn anew for each batch, no counts of frames."""
    rows = []
    for family, share in zip(families, shares, strict=True):
        for store in family.stores:
            anew = isinstance(store, WorldFrames)
            counts = {
                "frames": None if anew else store.count,
                "held_out": None if anew else store.held_out,
            }
            rows.append({"family": family.name, "source": store.name, "share": share, **counts})
    return rows


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write adapt.json: what the weights beside it were made of."""
    content = redact(
        to_plain({"format": "vlmrl-adapt", "versions": versions(), "git": git_state(), **record})
    )
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    replace_file(folder / RECORD, text.encode())


def last_good(folder: Path) -> str:
    """Say which weights a folder holds."""
    file = folder / RECORD
    if not file.exists():
        return "no weights were saved before"
    return f"the last good weights, of step {json.loads(file.read_bytes())['step']}, are in {folder}"


@contextlib.contextmanager
def what_is_kept_said(folder: Path) -> Iterator[None]:
    """Add to an error of the disk, wherever it is met, what is kept in the folder and how to go on.

    Raises: OSError that says so.
    """
    try:
        yield
    except OSError as error:
        text = f"{error.strerror or error}; {last_good(folder)}; then: vlmrl adapt --resume {folder}"
        raise OSError(error.errno or 0, text) from error


def save_bad_batch(folder: Path, step: int, batch: Batch) -> Path:
    """Write the batch of a step that gave no finite loss, and return its folder: batch.npz and captions.json."""
    place = folder / f"bad-batch-{step}"
    place.mkdir(exist_ok=True)
    np.savez_compressed(place / "batch.npz", frames=batch.frames, truth=batch.truth, same=batch.same)
    (place / "captions.json").write_text(json.dumps(batch.texts, indent=1, ensure_ascii=False) + "\n")
    return place
