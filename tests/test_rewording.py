"""The same said in other words: by rule, with the same truth, and never in a wording that is held out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.embedded import splits
from vlmrl_envs import held_out
from vlmrl_envs.rewording import Reworded, ways

SUBJECTS = ("a robot",)


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("a robot with its knees bent", {"a robot whose knees are bent", "a robot with bent knees", "a robot bending its knees",
                                         "a robot holding its knees bent"}),
        ("a robot with a twisted torso", {"a robot with its torso twisted", "a robot whose torso is twisted", "a robot twisting its torso"}),
        ("a robot raising its left arm", {"a robot with its left arm raised", "a robot whose left arm is raised"}),
        ("a robot whose left foot is in front", {"a robot with its left foot in front", "a robot holding its left foot in front"}),
        ("a robot leaning to its left", {"a robot leaning to its left side"}),
        ("a pole tilted left", {"a pole tilted to the left"}),
        ("a robot kneeling", set()),
    ],
)  # fmt: skip
def test_what_a_phrase_becomes(text: str, others: set[str]) -> None:
    assert set(ways(text, SUBJECTS)) == others


def test_a_relation_is_said_from_both_sides() -> None:
    said = ways("a robot with its hips below its knees", SUBJECTS)
    assert {"a robot with its hips lower than its knees", "a robot with its knees above its hips",
            "a robot whose knees are higher than its hips"} < set(said)  # fmt: skip
    assert not {"a robot with its knees below its hips", "a robot with its hips above its knees"} & set(said)
    assert not any("are higher than its hips are" in text or "holding" in text for text in said)


def test_whose_follows_a_noun() -> None:
    assert "a robot standing up, whose arms are crossed" in ways(
        "a robot standing up, with its arms crossed", SUBJECTS
    )
    assert not any("whose" in text for text in ways("a robot standing with its arms crossed", SUBJECTS))
    assert not any("whose" in text for text in ways("the robot is raising its left arm", SUBJECTS))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(splits.GRAMMARS)), st.integers(0, 2**31))
def test_truth_stays_and_nothing_held_out_is_said(world: str, seed: int) -> None:
    grammar = splits.GRAMMARS[world]
    sentences = [Reworded(grammar, share).draw(np.random.default_rng(seed)) for share in (0.0, 1.0)]
    assert sentences[0].terms == sentences[1].terms
    assert sentences[0].text == grammar.draw(np.random.default_rng(seed)).text
    assert not held_out.holds(sentences[1].text, grammar.held_wordings)


def test_most_of_what_can_be_said_otherwise_is() -> None:
    grammar, rng = splits.GRAMMARS["humanoid"], np.random.default_rng(0)
    plain = {grammar.draw(rng).text for _ in range(2000)}
    new = [text for text in (Reworded(grammar, 1.0).draw(rng).text for _ in range(400)) if text not in plain]
    assert len(new) > 100
