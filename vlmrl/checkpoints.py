"""Checkpoints that survive a kill at any moment: safetensors and a JSON manifest with checksums.

A checkpoint is a directory. It is written under a temporary name, synced, renamed, and only then named by
a pointer file that `os.replace` flips. Whatever is killed when, the pointer names a whole checkpoint.
No pickle: nothing in a checkpoint can run code when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.configs import redact, to_plain
from vlmrl.errors import usage_error

FORMAT = "vlmrl-checkpoint"
VERSION = 1
TENSORS = "tensors.safetensors"
MANIFEST = "manifest.json"
_NAME = re.compile(r"step-\d{12}(-\d+)?")
_TEMPORARY = ".tmp-"


class CheckpointWarning(UserWarning):
    """A checkpoint was damaged and an older one is used in its place."""


class DamagedCheckpoint(ValueError):
    """A checkpoint that is incomplete or altered; the message names file and finding."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    path: Path
    """The directory it was read from."""
    global_step: int
    """Environment steps done when it was written."""
    tensors: dict[str, np.ndarray]
    """Weights, optimiser state, statistics: arrays by name, bit for bit as saved."""
    extra: dict[str, Any]
    """Plain JSON values saved beside them, such as counters and generator states."""


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to a new file at `path` and sync it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Sync a directory, so that files created or renamed in it are found after a power loss."""
    if os.name == "nt":  # Windows opens no directories
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f"{_TEMPORARY}{path.name}-{os.getpid()}")
    try:
        write_file(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def save_checkpoint(
    folder: Path,
    global_step: int,
    tensors: Mapping[str, np.ndarray],
    extra: Mapping[str, Any] | None = None,
    *,
    pointers: tuple[str, ...] = ("latest",),
    keep: int = 3,
) -> Path:
    """Write a checkpoint into `folder`, flip `pointers` to it, and return its directory.

    Of the older ones the newest `keep` and those a pointer names are kept.
    Raises: OSError (disk full, no permission); the older checkpoints and pointers are then untouched.
    """
    from safetensors.numpy import save

    folder.mkdir(exist_ok=True)
    name = _free_name(folder, global_step)
    data = save({key: _storable(key, value) for key, value in tensors.items()})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "global_step": int(global_step),
        "files": {TENSORS: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
        "extra": redact(to_plain(dict(extra or {}))),
    }
    manifest["sha256"] = _digest(manifest)
    temporary = folder / f"{_TEMPORARY}{name}-{os.getpid()}"
    try:
        temporary.mkdir()
        write_file(temporary / TENSORS, data)
        write_file(temporary / MANIFEST, json.dumps(manifest, indent=1).encode())
        sync_directory(temporary)
        os.rename(temporary, folder / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(folder)
    for pointer in pointers:
        replace_file(folder / pointer, f"{name}\n".encode())
    _remove_old(folder, keep)
    return folder / name


def _storable(key: str, value: np.ndarray) -> np.ndarray:
    # order="C" and not ascontiguousarray, which would turn a scalar into a vector.
    array = np.array(value, order="C")
    if array.dtype.kind not in "biuf":
        raise usage_error(f"tensor {key!r}", f"dtype {array.dtype}", "numbers or bool", "put it into `extra`")
    return array


def _free_name(folder: Path, global_step: int) -> str:
    name = f"step-{global_step:012d}"
    taken = {path.name for path in list_checkpoints(folder)}
    number = 2
    while name in taken:
        name, number = f"step-{global_step:012d}-{number}", number + 1
    return name


def _digest(manifest: Mapping[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _order(name: str) -> tuple[int, int]:
    step, _, number = name.removeprefix("step-").partition("-")
    return int(step), int(number or 1)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint directories in `folder`, oldest first; unfinished ones are not among them."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: _order(path.name))


def _pointed(folder: Path, pointer: str) -> Path | None:
    try:
        name = (folder / pointer).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    # A pointer is a name in this folder and nothing else, whatever somebody wrote into it.
    return folder / name if _NAME.fullmatch(name) else None


def _remove_old(folder: Path, keep: int) -> None:
    pointed = {_pointed(folder, path.name) for path in folder.iterdir() if path.is_file()}
    for path in list_checkpoints(folder)[: -max(keep, 1)]:
        if path not in pointed:
            # Renamed first: a kill during removal must not leave something that looks like a checkpoint.
            doomed = path.with_name(f"{_TEMPORARY}{path.name}-old-{os.getpid()}")
            os.rename(path, doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def clean_up(folder: Path) -> list[str]:
    """Remove what killed writers left in `folder` and return the names; call it only before writing."""
    leftovers = sorted(path for path in folder.glob(f"{_TEMPORARY}*")) if folder.is_dir() else []
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [path.name for path in leftovers]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint directory at `path`, every checksum verified before anything is parsed.

    Raises: DamagedCheckpoint naming the file and what is wrong with it.
    """
    from safetensors.numpy import load

    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise DamagedCheckpoint(f"{path / MANIFEST}: no manifest of a {FORMAT}")
        if manifest.get("sha256") != _digest(manifest):
            raise DamagedCheckpoint(f"{path / MANIFEST}: checksum differs (altered)")
        if manifest["version"] > VERSION:
            raise DamagedCheckpoint(f"{path / MANIFEST}: version {manifest['version']}, newer than {VERSION}")
        entry, data = manifest["files"][TENSORS], (path / TENSORS).read_bytes()
        if len(data) != entry["bytes"]:
            raise DamagedCheckpoint(f"{path / TENSORS}: {len(data)} bytes of {entry['bytes']} (truncated)")
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise DamagedCheckpoint(f"{path / TENSORS}: checksum differs (altered)")
        return Checkpoint(path, int(manifest["global_step"]), load(data), manifest["extra"])
    except OSError as error:
        raise DamagedCheckpoint(f"{error.filename or path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedCheckpoint(f"{path / MANIFEST}: no JSON ({error})") from error


def load_checkpoint(folder: Path, pointer: str = "latest") -> Checkpoint:
    """Read the checkpoint that `pointer` names, or the newest older good one, with a warning.

    Warns: CheckpointWarning naming each damaged file that was passed over, and what is used.
    Raises: UsageError if no checkpoint in `folder` is good.
    """
    named = _pointed(folder, pointer)
    candidates = list_checkpoints(folder)[::-1]
    if named is not None:
        # Older than the named one first, then (a damaged best, say) whatever else there is.
        older = [path for path in candidates if _order(path.name) < _order(named.name)]
        candidates = [named, *older, *(path for path in candidates if path != named and path not in older)]
    findings: list[str] = []
    for path in candidates:
        try:
            checkpoint = read_checkpoint(path)
        except DamagedCheckpoint as error:
            findings.append(str(error))
            continue
        if findings:
            text = f"damaged checkpoint: {'; '.join(findings)}; using {path.name} instead"
            warnings.warn(text, CheckpointWarning, stacklevel=2)
        return checkpoint
    got = "; ".join(findings) or f"none in {folder}"
    raise usage_error("checkpoint", got, "at least one whole checkpoint", "train again, or copy one back")
