"""The embedded encoder's shape, as open_clip reads it."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "init_logit_scale": 2.3,
        "init_logit_bias": -2.0,
        "vision_cfg": {
            "image_size": 64,
            "layers": [1, 1, 1, 1],
            "width": 16,
            "patch_size": None,
            "head_width": 64,
        },
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 96, "heads": 3, "layers": 3},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}
