"""What can be said of a car in the hills."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.mountain_car.model import HEIGHT
from vlmrl_envs.rules import Caption

_LEVELS = (float(HEIGHT(-0.5)), float(HEIGHT(0.45)))


GRAMMAR = Grammar(
    subjects=("a car", "the car", "a small car", "a car in the mountain that is", "the car is", "the small car", "a car that is"),
    plain=("a car in the mountain", "a car in the mountains", "a car and a mountain", "a car on a hill with a flag",
           "a car, a hill and a yellow flag", "a picture of a car in the hills", "a mountain with a yellow flag",
           "the car in the mountain", "a car and a flag"),
    facts=(
        Fact("at_flag", ("at the peak of the mountain, next to the yellow flag", "at the peak of the mountain",
                         "next to the yellow flag", "at the yellow flag", "on top of the mountain", "at the top of the hill",
                         "at the summit", "beside the flag", "that has reached the flag", "at the goal", "at the flag",
                         "on top of the hill next to the flag", "at the top of the mountain"),
             ("far from the flag", "not at the flag", "away from the peak", "not at the top"), "place",
             ("a car at the peak of the mountain, next to the yellow flag", "a car at the top of the mountain by the flag",
              "the car has reached the yellow flag", "the car has reached the top of the mountain", "the car has reached the flag"),
             (("half way to the flag", 0.5),)),
        Fact("valley", ("in the valley", "at the bottom of the valley", "at the lowest point", "down between the hills",
                        "at the bottom of the hill", "down in the valley", "between the hills", "at the bottom"),
             ("not in the valley", "out of the valley"), "place", ("a car in the valley", "a car at the bottom of the valley")),
        Fact("right_slope", ("on the right slope", "climbing towards the flag", "on the slope below the flag",
                             "half way up to the flag", "half way up the right slope", "on the slope to the right"), (), "place"),
        Fact("left_slope", ("on the left slope", "on the hill opposite the flag", "on the slope to the left", "half way up the left slope",
                            "on the left hill"), (), "place"),
        Fact("left_top", ("at the top of the left hill", "at the left end of the road", "as far left as it can go", "at the left end",
                          "at the top of the left slope"), (), "place"),
        Fact("high", ("high up", "high above the valley", "high on the mountain", "far up on the hill", "up on the hill",
                      "a long way up"),
             ("low down", "low in the valley"), "height"),
        Fact("right_side", ("on the right", "on the right side", "to the right of the valley", "on the right side of the valley"),
             ("on the left", "on the left side"), "side"),
    ),
)  # fmt: skip


def degrees(x: np.ndarray) -> np.ndarray:
    """Return the facts' degrees (B, 7) for a car at x (B,) metres; valley at -0.5, flag at 0.45."""
    return np.stack(
        [
            0.5 * ramp(x, -1.2, 0.45) + 0.5 * ramp(x, -0.1, 0.43),
            ramp(np.abs(x + 0.5), 0.45, 0.08),
            ramp(np.abs(x - 0.05), 0.45, 0.12),
            ramp(np.abs(x + 0.9), 0.4, 0.1),
            ramp(x, -0.7, -1.1),
            ramp(HEIGHT(x), *_LEVELS),
            ramp(x, -0.75, -0.25),
        ],
        axis=1,
    )


def describe(x: float) -> list[Caption]:
    """Write graded captions of one state."""
    return GRAMMAR.describe(degrees(np.array([x]))[0])
