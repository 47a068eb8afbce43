"""Frames: what is refused and why, and preprocessing that agrees with open_clip's own PIL path."""

from __future__ import annotations

import re

import numpy as np
import open_clip
import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from PIL import Image

from vlmrl import frames as frames_module
from vlmrl.errors import UsageError
from vlmrl.frames import MAX_SIDE, MIN_SIDE, check_frames, fit_frames, resized_sides

RESIZE_MODES = {"squash": "squash", "pad": "longest", "crop": "shortest"}
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def pil_path(frames: np.ndarray, size: int, fit: str, interpolation: str, fill: int = 0) -> torch.Tensor:
    """Preprocess as open_clip does: one PIL image at a time."""
    transform = open_clip.image_transform(
        size, False, MEAN, STD, RESIZE_MODES[fit], interpolation, fill_color=fill
    )
    return torch.stack([transform(Image.fromarray(frame)) for frame in frames])


def test_check_frames_shares_memory_and_takes_both_kinds():
    array = noise(2, 16, 16)
    assert check_frames(array).data_ptr() == array.ctypes.data
    tensor = torch.from_numpy(array)
    assert check_frames(tensor).data_ptr() == tensor.data_ptr()
    assert check_frames(array[:0]).shape == (0, 16, 16, 3)


def test_check_frames_takes_flipped_and_read_only_memory():
    array = noise(2, 16, 16)
    flipped = array[:, ::-1]
    assert np.array_equal(check_frames(flipped).numpy(), flipped)
    array.flags.writeable = False
    checked = check_frames(array)
    checked[:] = 0
    assert array.any()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), "float32 (2, 16, 16, 3).*uint8 RGB.*255"),
        (np.zeros((2, 16, 16, 3), np.int64), "int64.*uint8"),
        (torch.zeros(2, 16, 16, 3), "torch.float32 (2, 16, 16, 3).*uint8"),
        (np.zeros((2, 16, 16, 4), np.uint8), "RGBA.*drop the alpha channel"),
        (np.zeros((2, 16, 16, 1), np.uint8), "grey.*repeat the channel"),
        (np.zeros((2, 16, 16), np.uint8), "grey.*three channels"),
        (np.zeros((16, 16, 3), np.uint8), "a single image.*frames.None."),
        (np.zeros((2, 3, 16, 16), np.uint8), "channels first.*transpose"),
        (np.zeros((), np.uint8), "not an image batch"),
        (np.zeros((1, 1, 1, 3), np.uint8), "1x1 pixels (too small).*8 to 16384"),
        (np.zeros((1, 0, 0, 3), np.uint8), "0x0 pixels (too small)"),
        (np.broadcast_to(np.uint8(0), (1, 20000, 20000, 3)), "20000x20000 pixels (too large).*16384"),
        ([np.zeros((16, 16, 3), np.uint8)], "list.*numpy.stack"),
        (None, "NoneType.*numpy.asarray"),
    ],
)
def test_bad_frames_are_refused_in_one_line(bad, words):
    with pytest.raises(UsageError) as caught:
        check_frames(bad)
    message = str(caught.value)
    assert message.startswith("frames: got ") and "\n" not in message
    pattern = words.replace("(", r"\(").replace(")", r"\)")
    assert re.search(pattern, message), message


@pytest.mark.parametrize("fit", RESIZE_MODES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("sides", "size"), [((96, 96), 64), ((40, 60), 64), ((61, 40), 32), ((64, 64), 64)])
def test_fit_frames_agrees_with_the_pil_path(fit, interpolation, sides, size):
    frames = noise(2, *sides)
    ours = fit_frames(check_frames(frames), size, fit, MEAN, STD, interpolation)
    theirs = pil_path(frames, size, fit, interpolation)
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    assert ours.is_contiguous(memory_format=torch.channels_last)
    levels = (ours - theirs).abs() * 255 * torch.tensor(STD).view(3, 1, 1)
    tall_squash = fit == "squash" and sides[0] > sides[1]  # Pillow 13 resizes these vertically first
    assert levels.max() <= (32 if tall_squash else 2.01)  # of 255, on noise, the worst there is
    assert torch.cosine_similarity(ours.flatten(1), theirs.flatten(1)).min() >= (
        0.999 if tall_squash else 0.9999
    )


def test_pad_fills_with_the_models_colour():
    frames = noise(1, 16, 32)
    ours = fit_frames(check_frames(frames), 32, "pad", MEAN, STD, fill=200)
    assert torch.allclose(ours, pil_path(frames, 32, "pad", "bicubic", fill=200), atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [24, 96])
def test_the_float_kernel_of_gpus_agrees_with_the_uint8_kernel(interpolation, size):
    pixels = check_frames(noise(2, 48, 72)).permute(0, 3, 1, 2)
    native = torch.nn.functional.interpolate(pixels, size=(size, size), mode=interpolation, antialias=True)
    floating = frames_module._resize_float(pixels, size, size, interpolation)
    assert floating.dtype == torch.uint8
    assert (native.int() - floating.int()).abs().max() <= 2


def test_squash_keeps_the_flag_that_a_centre_crop_cuts_away():
    """MountainCar's 400x600 frame has its flag at the right edge."""
    without = np.full((1, 400, 600, 3), 255, np.uint8)
    flag = without.copy()
    flag[:, 40:80, 540:580] = (204, 204, 0)
    for fit, seen in (("squash", True), ("pad", True), ("crop", False)):
        a, b = (fit_frames(check_frames(frame), 64, fit) for frame in (without, flag))
        assert bool((a != b).any()) is seen, fit


def test_fit_frames_of_no_frames():
    assert fit_frames(torch.empty(0, 40, 60, 3, dtype=torch.uint8), 32, "crop").shape == (0, 3, 32, 32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(MIN_SIDE, MAX_SIDE),
    st.integers(MIN_SIDE, MAX_SIDE),
    st.integers(32, 336),
    st.sampled_from(["squash", "pad", "crop"]),
)
def test_resized_sides_contain_or_cover_the_square(height, width, size, fit):
    sides = resized_sides(height, width, size, fit)
    if fit == "squash":
        assert sides == (size, size)
    elif fit == "pad":
        assert max(sides) == size and min(sides) >= 1
    else:
        assert min(sides) == size


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 70), st.integers(8, 70), st.sampled_from(["squash", "pad", "crop"]), st.integers(0, 3))
def test_any_size_fits_and_stays_in_range(height, width, fit, count):
    fitted = fit_frames(check_frames(noise(count, height, width)), 32, fit)
    assert fitted.shape == (count, 3, 32, 32)
    assert count == 0 or (fitted.min() >= 0 and fitted.max() <= 1)


@pytest.mark.parametrize(("argument", "value"), [("fit", "stretch"), ("interpolation", "nearest")])
def test_unknown_choices_are_refused(argument, value):
    with pytest.raises(UsageError, match=f"{argument}: got {value}; expected "):
        fit_frames(check_frames(noise(1, 16, 16)), 32, **{argument: value})


def test_annotations_hold_and_are_checked():
    checked = jaxtyped(typechecker=beartype)(fit_frames)
    assert checked(check_frames(noise(2, 16, 24)), 32).shape == (2, 3, 32, 32)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(2, 16, 24, 3), 32)
