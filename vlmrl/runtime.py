"""Set the process up once: cores, threads, device, and the order of imports that Mesa's GL needs."""

from __future__ import annotations

import importlib
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vlmrl.errors import usage_error

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS", "NPROC")


def cores(cgroup: Path = CGROUP) -> int:
    """Count the CPU cores this process may really use (affinity and container quota), at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, math.ceil(min(allowed, _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """Return the container's CPU limit in cores, `inf` where there is none (cgroup v2, then v1)."""
    try:
        if (cgroup / "cpu.max").is_file():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def limit_threads(count: int | None = None) -> int:
    """Give torch, OpenMP, software GL and XLA `count` threads each, and return that count.

    None means every core this process has, or `OMP_NUM_THREADS` where the user set a smaller one. Libraries
    read these variables when they load, so call this first; a torch that is loaded is told directly.

    Raises:
        UsageError: `count` is below 1.
    """
    if count is None:
        wished = os.environ.get("OMP_NUM_THREADS", "")
        count = min(cores(), int(wished)) if wished.isdigit() and int(wished) > 0 else cores()
    if count < 1:
        raise usage_error(
            "threads", count, "an integer of at least 1", f"pass 1 to {cores()}, or None for all cores"
        )
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    return count


def guard_import_order() -> None:
    """Load triton's LLVM now, if triton is here: loaded after Mesa's software GL and its LLVM, it crashes.

    torch imports triton late (its first optimizer does). Call this before the process's first GL context.
    """
    for module in ("torch", "triton", "triton._C.libtriton"):
        try:
            importlib.import_module(module)
        except ImportError:  # a torch without triton has nothing to crash
            return


def without_display() -> None:
    """Tell SDL, which pygame draws Gymnasium's classic envs with, to look for no display where there is none."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """Return the torch device for "cpu", "cuda" or "cuda:N"; None takes the GPU where there is one.

    Raises:
        UsageError: the name is unknown, or this machine has no such GPU.
    """
    import torch

    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None:
        return torch.device("cuda:0" if available else "cpu")
    usable = ["cpu", *(f"cuda:{index}" for index in range(available))]
    remedy = "here is usable: " + ", ".join(usable)
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise usage_error("device", device, '"cpu", "cuda" or "cuda:N"', remedy) from error
    if resolved.type == "cuda" and resolved.index is None:
        resolved = torch.device("cuda:0")
    if str(resolved) in ("cpu", "cpu:0"):
        return torch.device("cpu")
    if resolved.type != "cuda":
        raise usage_error("device", device, '"cpu", "cuda" or "cuda:N"', remedy)
    if str(resolved) not in usable:
        raise usage_error("device", device, f"a GPU that torch sees (it sees {available})", remedy)
    return resolved
