"""The state of a stable-baselines3 agent: small arrays by name, and a replay buffer's large ones as files; no pickle."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vlmrl.checkpoints import sync_directory
from vlmrl.errors import usage_error

if TYPE_CHECKING:
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

COUNTERS = ("num_timesteps", "_episode_num", "_n_updates")


def agent_state(model: OffPolicyAlgorithm) -> dict[str, np.ndarray]:
    """Return copies of all that the rest of training depends on, but for the replay buffer and the envs."""
    state = {"counters": np.array([getattr(model, name) for name in COUNTERS], np.int64)}
    for name, part in model.get_parameters().items():
        if isinstance(part, dict) and "param_groups" in part:  # an optimiser; its settings are the config's
            for place, values in part["state"].items():
                state |= {f"part/{name}/{place}/{key}": _array(value) for key, value in values.items()}
        elif isinstance(part, dict):
            state |= {f"part/{name}/{key}": _array(value) for key, value in part.items()}
    for name in _variables(model):
        state[f"variable/{name}"] = _array(getattr(model, name))
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 (SB3 draws from it)
    state["random/numpy"] = np.array(keys, np.uint32)
    state["random/numpy_rest"] = np.array([position, has_gauss, gauss], np.float64)
    state["random/torch"] = torch.get_rng_state().numpy().copy()
    return state


def load_agent_state(model: OffPolicyAlgorithm, state: dict[str, np.ndarray]) -> None:
    """Take over an `agent_state` of a model made with the same arguments.

    Raises: ValueError or RuntimeError, stable-baselines3's own, for weights of other names or shapes.
    """
    for name, value in zip(COUNTERS, state["counters"], strict=True):
        setattr(model, name, int(value))
    parts: dict[str, Any] = dict(model.get_parameters())
    for name, part in parts.items():
        prefix = f"part/{name}/"
        mine = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if isinstance(part, dict) and "param_groups" in part:
            found: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in mine.items():
                place, _, field = key.partition("/")
                found.setdefault(int(place), {})[field] = torch.from_numpy(value.copy())
            part["state"] = found
        elif isinstance(part, dict):
            parts[name] = {key: torch.from_numpy(value.copy()) for key, value in mine.items()}
    model.set_parameters(parts, exact_match=True)
    for name in _variables(model):
        getattr(model, name).data = torch.from_numpy(state[f"variable/{name}"].copy()).to(model.device)
    position, has_gauss, gauss = state["random/numpy_rest"]
    rest = (int(position), int(has_gauss), float(gauss))
    np.random.set_state(("MT19937", state["random/numpy"], *rest))  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(state["random/torch"].copy()))


def _variables(model: Any) -> list[str]:
    """Return names of tensors outside of any module, such as SAC's entropy coefficient."""
    return list(model._get_torch_save_params()[1])


def _array(value: Any) -> np.ndarray:
    return np.array(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Write C-contiguous arrays as .npy files into the new folder `folder`, without copying them; return checksums.

    The folder appears whole or not at all. Raises: OSError (disk full, no permission).
    """
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, array in arrays.items():
            with open(temporary / f"{name}.npy", "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        sync_directory(temporary)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(folder.parent)
    return {name: zlib.crc32(array.data) for name, array in arrays.items()}


def read_arrays(folder: Path, into: Mapping[str, np.ndarray], checksums: Mapping[str, int]) -> None:
    """Read the rows that `write_arrays` wrote into the first rows of arrays by the same names.

    Raises: UsageError for rows of another shape or type or too many of them, and for files that are damaged.
    """
    for name, array in into.items():
        file, remedy = folder / f"{name}.npy", "train again, or copy the checkpoint back"
        try:
            rows = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise usage_error("replay buffer", f"{file} ({error})", "a whole file", remedy) from error
        if len(rows) > len(array) or rows.shape[1:] != array.shape[1:] or rows.dtype != array.dtype:
            got, expected = f"{name} {rows.dtype} {rows.shape}", f"{array.dtype} {array.shape} at most"
            raise usage_error("replay buffer", got, expected, "make the agent as it was made")
        array[: len(rows)] = rows
        if zlib.crc32(array[: len(rows)].data) != checksums.get(name):
            raise usage_error(
                "replay buffer", f"{file}, altered or cut off", "the file that was saved", remedy
            )
