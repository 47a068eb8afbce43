"""What can be said of a container of water on a table; written after `success`, from its own reading of place and spill."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp

CARRIED = "as close to the red circle as possible without causing too many water droplets to spill"
GRAMMAR = Grammar(
    subjects=("the container", "a container", "the container, which holds water,", "a container of water",
              "the container of water", "a container on a table", "the container is"),
    plain=("a container", "a container of water", "the container", "a container on a table", "a container and a red circle",
           "a container of water and a red circle", "a picture of a container of water", "the container on the table",
           "water in a container"),
    facts=(
        Fact("delivered", (CARRIED, "at the red circle with all of its water", "above the red circle and still full",
                           "full of water at the red circle", "at the red circle without a spilled droplet",
                           "at the red circle with no water spilled"),
             ("not at the red circle with all of its water",), "place",
             (f"the container, which holds water, is {CARRIED}", "a full container at the red circle",
              "the container has been brought to the red circle without spilling",
              "a container full of water above the red circle"),
             (("half way to the red circle with all of its water", 0.5),), says=("at_circle", "full")),
        Fact("at_circle", ("at the red circle", "above the red circle", "over the red circle", "close to the red circle",
                           "standing at the red circle", "right above the red circle"),
             ("far from the red circle", "not at the red circle", "away from the red circle"), "place",
             ("a container above the red circle",), (("half way to the red circle", 0.5),)),
        Fact("left", ("on the left", "on the left side of the table", "at the left end of the table", "at the left end",
                      "on the left side"), ("not on the left",), "place", ("a container on the left",)),
        Fact("middle", ("in the middle of the table", "in the middle", "in the centre of the table", "in the centre",
                        "at the middle of the table"), (), "place", ("a container in the middle",)),
        Fact("past", ("past the red circle", "to the right of the red circle", "beyond the red circle",
                      "too far to the right", "at the right end of the table"), (), "place"),
        Fact("full", ("full of water", "full", "full to the brim", "filled with water", "with all of its water",
                      "without a spilled droplet", "with no water spilled"),
             ("not full", "not full of water"), "water", ("a full container", "a container full of water")),
        Fact("little", ("with a little water spilled", "with a few droplets spilled", "with a few droplets on the table",
                        "with some water on the table", "with some droplets spilled"), (), "water"),
        Fact("half", ("half full", "half empty", "half full of water", "with half of its water spilled",
                      "with half of its water on the table"), (), "water", ("a half full container",)),
        Fact("empty", ("almost empty", "empty", "with most of its water spilled", "with nearly all of its water spilled",
                       "with most of its water on the table"), ("not empty",), "water", ("an empty container",)),
    ),
    axes=(("at_circle", "left", "middle", "past"), ("full", "little", "half", "empty")),
    kept=(("at_circle", "full"),),
)  # fmt: skip


def facts(x: np.ndarray, spilled: np.ndarray, circle: float) -> dict[str, np.ndarray]:
    """Return fact -> degree (B,); the container's place and the circle's (m), and the spilled share, 0..1."""
    apart = np.abs(x - circle)
    kept = 0.4 * ramp(spilled, 1.0, 0.0) + 0.6 * ramp(spilled, 0.2, 0.02)
    return {
        "delivered": (0.4 * ramp(apart, 1.2, 0.0) + 0.6 * ramp(apart, 0.4, 0.04)) * kept,
        "at_circle": 0.3 * ramp(apart, 1.2, 0.0) + 0.7 * ramp(apart, 0.3, 0.05),
        "left": ramp(x, -0.2, -0.5),
        "middle": ramp(np.abs(x), 0.3, 0.1),
        "past": ramp(x - circle, 0.06, 0.16),
        "full": ramp(spilled, 0.15, 0.02),
        "little": ramp(spilled, 0.0, 0.05) * ramp(spilled, 0.4, 0.2),
        "half": ramp(np.abs(spilled - 0.5), 0.28, 0.08),
        "empty": ramp(spilled, 0.55, 0.85),
    }
