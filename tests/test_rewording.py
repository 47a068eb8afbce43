"""The same said in other words: by rule, with the same truth, and never in a wording that is held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
    assert {said for said, _ in ways(text, SUBJECTS)} == others


def test_a_relation_is_said_from_both_sides() -> None:
    said = {text for text, _ in ways("a robot with its hips below its knees", SUBJECTS)}
    assert {"a robot with its hips lower than its knees", "a robot with its knees above its hips",
            "a robot whose knees are higher than its hips"} < said  # fmt: skip
    assert not {"a robot with its knees below its hips", "a robot with its hips above its knees"} & said
    assert not any("are higher than its hips are" in text or "holding" in text for text in said)


def test_what_raised_arms_are_is_no_relation_of_heights() -> None:
    """A handstand with its arms along its body has them above its head as `raised` means it, and below it in height."""
    assert not ways("a robot with both hands above its head", SUBJECTS)
    assert not any(
        "above its head" in text for text, _ in ways("a robot with its head below its hands", SUBJECTS)
    )


def test_whose_and_with_follow_what_they_can_follow() -> None:
    said = [text for text, _ in ways("a robot standing up, with its arms crossed", SUBJECTS)]
    assert "a robot standing up, whose arms are crossed" in said
    assert not any("whose" in text for text, _ in ways("a robot standing with its arms crossed", SUBJECTS))
    subjects = splits.GRAMMARS["humanoid"].subjects
    assert any(subject.endswith(" is") for subject in subjects)
    for subject in ("the humanoid robot is", "a robot that is", "a robot beginning", "a robot half way to"):
        assert not ways(f"{subject} raising its left arm", subjects)


@pytest.mark.parametrize("world", splits.GRAMMARS)
def test_no_rule_makes_what_another_fact_says_or_any_world_holds_out(world: str) -> None:
    """Each fact's rewordings must keep its truth, so none may be a wording of another fact, from either side."""
    grammar, rng = splits.reworded(splits.GRAMMARS[world]), np.random.default_rng(1)
    plain = replace(grammar, share=0.0)
    never = frozenset().union(*(g.held_wordings for g in splits.GRAMMARS.values()))
    listed = {text: fact.name for fact in grammar.facts for text in (*fact.phrases, *fact.negations)}
    changed = 0
    for _ in range(1500):
        state = rng.bit_generator.state
        before = plain.draw(rng)
        rng.bit_generator.state = state
        after = replace(grammar, share=1.0).draw(rng)
        if after.text == before.text:
            continue
        changed += 1
        assert not held_out.holds(after.text, never)
        if len(after.terms) == 1:
            subject = max((s for s in grammar.subjects if after.text.startswith(f"{s} ")), key=len)
            name = listed.get(after.text.removeprefix(f"{subject} "))
            assert name in (None, grammar.facts[after.terms[0].fact].name)
    assert changed > 400 or world != "humanoid"


def test_most_of_what_can_be_said_otherwise_is() -> None:
    grammar, rng = splits.GRAMMARS["humanoid"], np.random.default_rng(0)
    plain = {grammar.draw(rng).text for _ in range(2000)}
    new = [text for text in (Reworded(grammar, 1.0).draw(rng).text for _ in range(400)) if text not in plain]
    assert len(new) > 100
    words = {word for text in new for word in held_out.words_of(text)}
    assert words <= Reworded(grammar, 1.0).vocabulary() and not words <= grammar.vocabulary()
    held = Reworded(grammar, 1.0).draw(np.random.default_rng(2), split="held_out")
    assert held == grammar.draw(np.random.default_rng(2), split="held_out")
