"""Doctor: every failure has a remedy, and none hides the next."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fakes import FakeEncoder

from vlmrl import doctor
from vlmrl.doctor import Check, Probe, diagnose, render_text


def test_every_probe_is_made_and_each_failure_has_its_remedy():
    def fails() -> str:
        raise ImportError("no such\nmodule")

    checks = diagnose(
        [Probe("a", lambda: "fine", "x"), Probe("b", fails, "mend it"), Probe("c", lambda: "ok", "x")]
    )
    assert checks == [
        Check("a", True, "fine", ""),
        Check("b", False, "ImportError: no such module", "mend it"),
        Check("c", True, "ok", ""),
    ]
    text = render_text(checks)
    assert text.splitlines()[1].startswith("FAIL  b") and "remedy: mend it" in text


def test_python_is_checked():
    assert doctor.check_python((3, 12, 1)).startswith("3.12.1 on ")
    with pytest.raises(RuntimeError, match=r"Python 3\.10\.2, older than 3\.11"):
        doctor.check_python((3, 10, 2))


def test_ffmpeg_encodes_here_and_its_absence_is_found(monkeypatch):
    assert "encoded a frame" in doctor.check_ffmpeg()
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nonexistent/ffmpeg")
    (check,) = diagnose([probe for probe in doctor.probes() if probe.name == "ffmpeg"])
    assert not check.ok and "IMAGEIO_FFMPEG_EXE" in check.remedy


def test_black_and_constant_frames_are_found():
    frame = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    assert doctor.check_drawn(frame) == "drew a frame of 8x8 pixels"
    with pytest.raises(RuntimeError, match="a black frame of 8x8"):
        doctor.check_drawn(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(RuntimeError, match="a frame of one colour"):
        doctor.check_drawn(np.full((8, 8, 3), (1, 2, 200), np.uint8))


def test_torch_and_jax_compute_here():
    import jax
    import torch

    assert doctor.check_torch().startswith(torch.__version__)
    assert doctor.check_jax().startswith(jax.__version__)


def test_the_renderer_draws_here():
    assert doctor.check_renderer() == "drew a frame of 64x64 pixels"


def test_missing_packages_devices_and_weights_are_findings(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    found = {
        check.name: check
        for check in diagnose(
            probe
            for probe in doctor.probes(device="tpu:9", encoder="local-dir:/nonexistent")
            if probe.name in ("jax", "device", "weights")
        )
    }
    assert all(not check.ok and check.remedy for check in found.values())
    assert "tpu:9" in found["device"].detail and "/nonexistent" in found["weights"].detail


def test_weights_are_loaded_and_used(monkeypatch):
    asked = []

    def load(name: str, device: str) -> FakeEncoder:
        asked.append((name, device))
        return FakeEncoder()

    monkeypatch.setattr("vlmrl.encoders.load_encoder", load)
    assert doctor.check_weights("embedded") == "embedded, 4 numbers per frame"
    assert asked == [("embedded", "cpu")]
