"""Checks of the machine: what training needs is tried out, and each failure comes with a remedy."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIN_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    name: str
    """What was checked."""
    ok: bool
    """Whether it works."""
    detail: str
    """What was found, in one line."""
    remedy: str
    """What to do if it does not work; empty if it does."""


@dataclass(frozen=True)
class Probe:
    """A check yet to be made."""

    name: str
    """What is checked."""
    run: Callable[[], str]
    """Returns what was found; raises if it does not work."""
    remedy: str
    """What to do in that case."""


def diagnose(probes: Iterable[Probe]) -> list[Check]:
    """Run `probes` one after another; a failing one does not stop the next."""
    return [_run(probe) for probe in probes]


def _run(probe: Probe) -> Check:
    start = time.perf_counter()
    try:
        detail = " ".join(probe.run().split())
    except Exception as error:  # whatever a library throws is the finding
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Check(probe.name, False, text[:300], probe.remedy)
    seconds = time.perf_counter() - start
    return Check(probe.name, True, f"{detail} ({seconds:.1f} s)" if seconds >= 0.5 else detail, "")


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> str:
    """Return the version of Python and the platform. Raises: RuntimeError if it is too old."""
    text = ".".join(map(str, version))
    if tuple(version[:2]) < MIN_PYTHON:
        raise RuntimeError(f"Python {text}, older than {MIN_PYTHON[0]}.{MIN_PYTHON[1]}")
    return f"{text} on {platform.platform()}"


def check_torch() -> str:
    """Multiply two matrices and return torch's version."""
    import torch

    product = torch.ones(64, 64) @ torch.ones(64, 64)
    if float(product[0, 0]) != 64.0:
        raise RuntimeError("a matrix product came out wrong")
    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def check_jax() -> str:
    """Compile and run a function and return JAX's version and devices."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes 75% of a GPU's memory
    jax = importlib.import_module("jax")
    total = jax.jit(lambda x: (x * x).sum())(jax.numpy.arange(4.0))
    if float(total) != 14.0:
        raise RuntimeError("a compiled sum came out wrong")
    return f"{jax.__version__}, {', '.join(str(device) for device in jax.devices())}"


def check_renderer() -> str:
    """Draw a frame of cart-pole and make sure that it shows something."""
    from vlmrl.making import open_task
    from vlmrl.tasks import get_task

    envs = open_task(get_task("cartpole"), num_envs=1)
    try:
        envs.reset(seed=0)
        frame = np.asarray(envs.unwrapped.render_states(envs.unwrapped.get_states()))[0]
    finally:
        envs.close()
    return check_drawn(frame)


def check_drawn(frame: np.ndarray) -> str:
    """Return a frame's size, uint8 (H, W, 3). Raises: RuntimeError if it is black or of one colour."""
    height, width = frame.shape[:2]
    if int(frame.max()) <= 3:
        raise RuntimeError(f"a black frame of {width}x{height}")
    if int(np.ptp(frame, axis=(0, 1)).max()) == 0:
        raise RuntimeError(f"a frame of one colour, {width}x{height}")
    return f"drew a frame of {width}x{height} pixels"


def check_ffmpeg() -> str:
    """Encode two frames as mp4 and return ffmpeg's version."""
    from vlmrl.video import write_video

    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[1, 16:48] = 200
    with tempfile.TemporaryDirectory() as folder:
        size = write_video(Path(folder) / "probe.mp4", frames).stat().st_size
    if size == 0:
        raise RuntimeError("ffmpeg wrote an empty file")
    ffmpeg = importlib.import_module("imageio_ffmpeg")
    return f"{ffmpeg.get_ffmpeg_version()}, encoded a frame"


def check_device(device: str | None = None) -> str:
    """Return the device that encoders use: `device`, or the one chosen if None."""
    import torch

    from vlmrl.runtime import cores, resolve_device

    resolved = resolve_device(device)
    if resolved.type == "cuda":
        memory = torch.cuda.get_device_properties(resolved).total_memory / 2**30
        return f"{resolved}, {torch.cuda.get_device_name(resolved)}, {memory:.0f} GiB"
    return f"{resolved}, {cores()} cores"


def check_weights(encoder: str = "embedded") -> str:
    """Load `encoder`, embed a frame and a sentence, and return its name and size."""
    from vlmrl.encoders import load_encoder

    loaded = load_encoder(encoder, "cpu")
    images = loaded.embed_images(np.full((1, 64, 64, 3), 128, np.uint8))
    texts = loaded.embed_texts(["a frame"])
    if images.shape != texts.shape:
        raise RuntimeError(f"image and text vectors differ: {tuple(images.shape)}, {tuple(texts.shape)}")
    return f"{encoder}, {images.shape[1]} numbers per frame"


def probes(device: str | None = None, encoder: str = "embedded") -> list[Probe]:
    """Return every check of the machine for a `device` (None: the best there is) and an `encoder`."""
    again = "install again: pip install --force-reinstall"
    python = ".".join(map(str, MIN_PYTHON))
    return [
        Probe("python", check_python, f"install Python {python} or newer and make the environment anew"),
        Probe("torch", check_torch, f"{again} torch torchvision"),
        Probe("jax", check_jax, f"{again} jax jaxlib"),
        Probe("renderer", check_renderer, f"{again} mujoco mujoco-warp warp-lang"),
        Probe(
            "ffmpeg", check_ffmpeg, f"{again} imageio imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg"
        ),
        Probe("device", lambda: check_device(device), "leave --device out, or check the driver (nvidia-smi)"),
        Probe(
            "weights",
            lambda: check_weights(encoder),
            "install the package whole, or pass --encoder local-dir:PATH",
        ),
    ]


def render_text(checks: Iterable[Check]) -> str:
    """Return `checks` as lines for a terminal."""
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:9} {check.detail}")
        lines += [f"{'':16}remedy: {check.remedy}"] if not check.ok else []
    return "\n".join(lines)
