"""What can be said of a car in the hills."""

from __future__ import annotations

import numpy as np

from vlmrl_envs.captions import Fact, Grammar, ramp
from vlmrl_envs.rules import Caption

GRAMMAR = Grammar(
    subjects=("a car", "the car", "a small car", "a car in the mountain that is", "the car is"),
    plain=("a car in the mountain", "a car in the mountains", "a car and a mountain", "a car on a hill with a flag",
           "a car, a hill and a yellow flag", "a picture of a car in the hills", "a mountain with a yellow flag"),
    facts=(
        Fact("at_flag", ("at the peak of the mountain, next to the yellow flag", "at the peak of the mountain",
                         "next to the yellow flag", "at the yellow flag", "on top of the mountain", "at the top of the hill",
                         "at the summit", "beside the flag", "that has reached the flag", "at the goal"),
             ("far from the flag", "not at the flag", "away from the peak"), "place",
             ("a car at the peak of the mountain, next to the yellow flag", "a car at the top of the mountain by the flag",
              "the car has reached the yellow flag")),
        Fact("valley", ("in the valley", "at the bottom of the valley", "at the lowest point", "down between the hills",
                        "at the bottom of the hill"), ("not in the valley",), "place"),
        Fact("right_slope", ("on the right slope", "climbing towards the flag", "on the slope below the flag",
                             "half way up to the flag"), (), "place"),
        Fact("left_slope", ("on the left slope", "on the hill opposite the flag", "on the slope to the left"), (), "place"),
        Fact("left_top", ("at the top of the left hill", "at the left end of the road", "as far left as it can go"),
             (), "place"),
    ),
)  # fmt: skip


def degrees(x: np.ndarray) -> np.ndarray:
    """Return the facts' degrees (B, 5) for a car at x (B,) metres; valley at -0.5, flag at 0.45."""
    return np.stack(
        [
            0.5 * ramp(x, -1.2, 0.45) + 0.5 * ramp(x, -0.1, 0.43),
            ramp(np.abs(x + 0.5), 0.45, 0.08),
            ramp(np.abs(x - 0.05), 0.45, 0.12),
            ramp(np.abs(x + 0.9), 0.4, 0.1),
            ramp(x, -0.7, -1.1),
        ],
        axis=1,
    )


def describe(x: float) -> list[Caption]:
    """Write graded captions of one state."""
    return GRAMMAR.describe(degrees(np.array([x]))[0])
