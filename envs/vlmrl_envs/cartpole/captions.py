"""What can be said of a cart and its pole."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.rules import Caption

REACH = 1.8
"""The end of the rail, metres."""
GRAMMAR = Grammar(
    subjects=("a pole", "the pole", "a cart pole with the pole", "a pole on a cart", "the pole of the cart",
              "the pole on the cart", "the pole is", "a pole that is"),
    plain=("pole and cart", "a pole and a cart", "cart and pole", "a cart with a pole", "a cart pole",
           "a picture of a cart with a pole on it", "the cart pole system", "the pole and the cart", "a pole on a cart"),
    facts=(
        Fact("upright", ("vertically upright on top of the cart", "upright", "standing upright", "vertical",
                         "balanced on top of the cart", "balanced upright", "pointing straight up", "standing straight",
                         "upright on the cart", "standing on end", "standing upright on the cart", "balanced on the cart"),
             ("fallen over", "not upright", "not balanced", "not vertical"), "angle",
             ("pole vertically upright on top of the cart", "pole upright on the cart", "a balanced pole", "an upright pole",
              "a cart balancing a pole", "a cart with an upright pole", "pole balanced on top of the cart",
              "a cart with a balanced pole", "a vertical pole", "a cart balancing an upright pole"),
             (("half upright", 0.5), ("almost fallen over", 0.3))),
        Fact("left", ("leaning left", "tilted to the left", "falling to the left", "pointing left", "leaning to the left",
                      "falling left", "tilted left", "pointing up and to the left"), ("not leaning left",), "angle", ("a pole falling to the left",)),
        Fact("right", ("leaning right", "tilted to the right", "falling to the right", "pointing right", "leaning to the right",
                       "falling right", "tilted right", "pointing up and to the right"), ("not leaning right",), "angle", ("a pole falling to the right",)),
        Fact("level", ("horizontal", "lying flat", "level", "pointing sideways", "lying level", "pointing to the side"),
             ("not horizontal", "not level"), "angle",
             ("a pole that has fallen over", "a horizontal pole", "a cart with a horizontal pole", "a level pole")),
        Fact("down", ("hanging down", "hanging below the cart", "upside down", "pointing straight down", "hanging straight down",
                      "pointing down", "below the cart", "pointing downwards"), ("not hanging down",), "angle",
             ("pole hanging below the cart", "a pole hanging straight down", "a cart with a hanging pole", "a hanging pole")),
        Fact("cart_left", ("with the cart on the left", "at the left end of the rail", "on the left side", "with the cart on the left side",
                           "with the cart at the left end", "on the left"), (), "cart", ("a cart on the left",)),
        Fact("cart_middle", ("with the cart in the middle", "in the centre", "in the middle of the rail", "in the middle",
                             "with the cart in the centre", "with the cart in the middle of the rail"), (), "cart",
             ("a cart in the middle",)),
        Fact("cart_right", ("with the cart on the right", "at the right end of the rail", "on the right side",
                            "with the cart on the right side", "with the cart at the right end", "on the right"), (), "cart",
             ("a cart on the right",)),
    ),
    axes=(("upright", "down", "level", "left", "right"), ("cart_left", "cart_right", "cart_middle")),
    kept=(("upright", "cart_middle"), ("upright", "cart_left"), ("upright", "cart_right")),
)  # fmt: skip


def degrees(x: np.ndarray, angle: np.ndarray, reach: float = REACH) -> np.ndarray:
    """Return the facts' degrees (B, 8); x (B,) metres with the rail's end at `reach`, angle (B,) radians, 0 up."""
    turn = (angle + np.pi) % (2 * np.pi) - np.pi
    tilt, side = np.abs(turn), np.sin(turn)
    upright = 0.3 * ramp(tilt, np.pi, 0.0) + 0.7 * ramp(tilt, np.deg2rad(60), np.deg2rad(2))
    leaning = ramp(tilt, np.deg2rad(3), np.deg2rad(25)) * ramp(tilt, np.deg2rad(120), np.deg2rad(80))
    place = x / reach
    return np.stack(
        [
            upright,
            leaning * (side < 0),
            leaning * (side > 0),
            ramp(np.abs(tilt - np.pi / 2), np.deg2rad(50), np.deg2rad(10)),
            ramp(tilt, np.deg2rad(100), np.deg2rad(170)),
            ramp(place, 0.0, -0.7),
            ramp(np.abs(place), 0.6, 0.1),
            ramp(place, 0.0, 0.7),
        ],
        axis=1,
    )


def describe(x: float, angle: float) -> list[Caption]:
    """Write graded captions of one state."""
    return GRAMMAR.describe(degrees(np.array([x]), np.array([angle]))[0])
