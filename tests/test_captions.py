"""Captions: graded, compositional, true of what they were written for, and apart from `success`."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import vlmrl_envs
from vlmrl_envs.captions import Fact, Grammar, Sentence, Term
from vlmrl_envs.cartpole.rules import CartPole
from vlmrl_envs.humanoid import sampling
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.mountain_car.rules import MountainCar

RULES = {"cartpole": CartPole(), "mountain_car": MountainCar(), "humanoid": Humanoid()}
SMALL = Grammar(
    subjects=("a robot",), plain=("robot",),
    facts=(Fact("up", ("standing",), ("not standing",), "legs"), Fact("arms", ("waving",)), Fact("sit", ("sitting",), (), "legs")),
)  # fmt: skip


def test_truth_is_the_product_of_terms() -> None:
    degrees = np.array([[1.0, 0.5, 0.0], [0.2, 1.0, 0.9]])
    np.testing.assert_allclose(Sentence("", (Term(0), Term(1))).truth(degrees), [0.5, 0.2])
    np.testing.assert_allclose(Sentence("", (Term(0, 0.0),)).truth(degrees), [0.0, 0.8])
    np.testing.assert_allclose(Sentence("", (Term(1, 0.5),)).truth(degrees), [1.0, 0.0])
    np.testing.assert_allclose(Sentence("", ()).truth(degrees), [1.0, 1.0])


def test_facts_of_one_group_are_not_said_together() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        columns = [term.fact for term in SMALL.draw(rng).terms]
        assert not {0, 2} <= set(columns) and len(columns) == len(set(columns))


@pytest.mark.parametrize("name", RULES)
def test_degrees_and_captions_of_any_state(name: str) -> None:
    rules = RULES[name]
    states = rules.sample_states(np.random.default_rng(3), 40)
    degrees = rules.fact_degrees(states)
    assert degrees.min() >= 0 and degrees.max() <= 1 and np.isfinite(degrees).all()
    assert (rules.similarity(states) >= 0).all()
    for state in states[:10]:
        captions = rules.describe(state)
        assert captions and all(0.6 <= c.degree <= 1 and c.text.strip() for c in captions)
        assert captions == rules.describe(state), "the same state, the same captions"


@pytest.mark.parametrize("name", RULES)
def test_sampling_repeats_and_holds_goals_and_others(name: str) -> None:
    rules = RULES[name]
    first, second = (rules.sample_states(np.random.default_rng(7), 300) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    success = rules.success(first)
    assert 0 < success.mean() < 0.7 and np.isfinite(first).all()
    similarity = rules.similarity(first)
    assert similarity[success].mean() > similarity[~success].mean() + 0.3


def test_similarity_rises_along_the_way_from_standing_to_kneeling() -> None:
    rules = RULES["humanoid"]
    ends = [
        sampling.template(rules.model, legs, ("hanging", "hanging")) for legs in ("standing", "kneel_tall")
    ]
    way = np.stack([(1 - t) * ends[0] + t * ends[1] for t in np.linspace(0, 1, 9)])
    similarity = rules.similarity(rules.join(sampling.FloorSetter(rules.model)(way), np.zeros((9, rules.nv))))
    assert similarity[0] < 0.1 and similarity[-1] > 0.9 and (np.diff(similarity) > -1e-9).all()


APART = (
    ("success.py", "captions"), ("composed.py", "captions"), ("limits.py", "captions"), ("composed.py", "degrees"),
    ("captions.py", "success"), ("captions.py", "composed"), ("degrees.py", "composed"), ("degrees.py", "limits"),
)  # fmt: skip
"""Files of a world that judge, and names of those that speak: neither may know the other."""


def test_success_and_captions_do_not_know_each_other() -> None:
    folder = Path(vlmrl_envs.__file__).parent
    for world in vlmrl_envs.WORLDS.values():
        for file, other in APART:
            if not (folder / world / file).exists():
                continue
            tree = ast.parse((folder / world / file).read_text())
            names = [getattr(n, "module", "") or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
            names += [
                a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
            ]
            assert not any(other in name for name in names), (world, file)
