"""Small formulas that several parts of preference learning share. NumPy only."""

from __future__ import annotations

import hashlib

import numpy as np


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), float64, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64)))


def pixels_key(pixels: np.ndarray) -> str:
    """Return the SHA-256 of an array's dtype, shape and numbers, hexadecimal: equal pictures, equal key."""
    head = f"{pixels.dtype}{pixels.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def pair_key(first: str, second: str) -> str:
    """Return the key of a pair of segments with these keys, in this order."""
    return hashlib.sha256(f"{first}{second}".encode()).hexdigest()


def unit_number(text: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the text, as even as its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56
