"""What training never hears or sees: decided once, kept apart in words and in states, and left out without a trace."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vlmrl_envs
from experiments.embedded import splits
from experiments.embedded.evaluation.drawn import tasks_of
from vlmrl.tasks import POSES
from vlmrl_envs import held_out
from vlmrl_envs.captions import Fact, Grammar
from vlmrl_envs.cartpole.captions import GRAMMAR as CARTPOLE
from vlmrl_envs.errors import WorldError
from vlmrl_envs.humanoid import described, sampling
from vlmrl_envs.humanoid.captions import GRAMMAR as HUMANOID
from vlmrl_envs.humanoid.captions import POSE_FACTS
from vlmrl_envs.humanoid.rules import Humanoid
from vlmrl_envs.mountain_car.captions import GRAMMAR as MOUNTAIN_CAR

GRAMMARS = {"humanoid": HUMANOID, "cartpole": CARTPOLE, "mountain_car": MOUNTAIN_CAR}
RULES = Humanoid()


@pytest.fixture(scope="module")
def degrees() -> np.ndarray:
    return RULES.fact_degrees(RULES.sample_states(np.random.default_rng(11), 600))


@pytest.fixture(scope="module")
def tokenizer():
    import open_clip

    return open_clip.SimpleTokenizer(context_length=48)


def heard(grammar: Grammar, split: str, count: int = 1500, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [grammar.draw(rng, split=split) for _ in range(count)]


@pytest.mark.parametrize("name", GRAMMARS)
def test_training_never_says_what_is_held_out(name: str) -> None:
    grammar = GRAMMARS[name]
    for sentence in heard(grammar, "train"):
        assert not held_out.holds(sentence.text, grammar.held_wordings), sentence.text
        columns = [term.fact for term in sentence.terms]
        assert not grammar.held_pairs[np.ix_(columns, columns)].any(), sentence.text


@pytest.mark.parametrize("name", GRAMMARS)
def test_held_out_says_either_in_words_that_training_knows(name: str) -> None:
    grammar = GRAMMARS[name]
    known = grammar.vocabulary()
    for sentence in heard(grammar, "held_out", 400):
        columns = [term.fact for term in sentence.terms]
        worded = held_out.holds(sentence.text, grammar.held_wordings)
        assert worded or grammar.held_pairs[np.ix_(columns, columns)].any(), sentence.text
        assert set(held_out.words_of(sentence.text)) <= known, sentence.text


def test_a_fifth_of_all_compositions_is_held_out() -> None:
    assert 0.2 <= held_out.triple_share(HUMANOID) <= 0.4
    assert len(HUMANOID.axes) == 3


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_fact_has_ways_to_say_it_and_one_held_out(name: str) -> None:
    grammar = GRAMMARS[name]
    assert len({fact.name for fact in grammar.facts}) == len(grammar.facts)
    phrases = [p for fact in grammar.facts for p in fact.phrases]
    assert len(set(phrases)) == len(phrases), "a wording says one thing"
    for column, fact in enumerate(grammar.facts):
        assert 4 <= len(fact.phrases) <= 13, fact.name
        assert 1 <= len([t for t in (*fact.phrases, *fact.scenes) if t in grammar.held_wordings]) <= 5, (
            fact.name
        )
        assert grammar.wordings(column)[0] == fact.phrases[0]


def test_the_grammar_is_as_wide_as_it_says() -> None:
    assert len(HUMANOID.facts) >= 60
    assert RULES.fact_degrees(RULES.sample_states(np.random.default_rng(0), 3)).shape == (
        3,
        len(HUMANOID.facts),
    )


def test_goals_and_baselines_are_said_in_training() -> None:
    for world, grammar in splits.GRAMMARS.items():
        columns = range(len(grammar.facts))
        says = [
            *grammar.plain,
            *(t for i in columns for s in (False, True) for t in grammar.wordings(i, scenes=s)),
        ]
        for task in tasks_of(world):
            for text in (*task.goal, *task.baseline):
                assert any(text == said or text.endswith(f" {said}") for said in says), text
    for pose, (words, _) in POSES.items():
        assert words in HUMANOID.wordings(HUMANOID.columns[POSE_FACTS[pose]])


@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_sentences_fit_the_encoder(name: str, split: str, tokenizer) -> None:
    texts = [s.text for s in heard(GRAMMARS[name], split, 800, seed=5)]
    assert int((tokenizer(texts) != 0).sum(dim=1).max()) <= 32
    assert int((tokenizer([described.described(pose).text for pose in POSES]) != 0).sum(dim=1).max()) <= 32


@given(seed=st.integers(0, 10_000), row=st.integers(0, 599))
def test_any_draw_is_graded_and_repeats(seed: int, row: int, degrees: np.ndarray) -> None:
    first, second = (HUMANOID.draw(np.random.default_rng(seed), degrees[row]) for _ in range(2))
    assert first == second
    truth = first.truth(degrees)
    assert ((truth >= 0) & (truth <= 1)).all() and first.text.strip() == first.text
    columns = [term.fact for term in first.terms]
    groups = [HUMANOID.facts[c].group for c in columns]
    assert len(set(columns)) == len(columns) and len(set(groups)) == len(groups)


def test_states_that_show_a_held_out_composition_are_told(degrees: np.ndarray) -> None:
    shown = held_out.shows_held_out(HUMANOID, degrees)
    assert 0.03 < shown.mean() < 0.4
    for row in np.flatnonzero(shown)[:20]:
        columns = np.flatnonzero(degrees[row] >= held_out.SHOWN)
        assert HUMANOID.held_pairs[np.ix_(columns, columns)].any()


def test_a_truer_fact_hides_no_composition() -> None:
    one, other = np.argwhere(np.triu(HUMANOID.held_pairs))[0]
    degrees = np.ones((2, len(HUMANOID.facts))) * ~HUMANOID.held_pairs[one] * ~HUMANOID.held_pairs[other]
    degrees[:, [one, other]] = [[held_out.SHOWN, held_out.SHOWN], [held_out.SHOWN, 0.4]]
    assert held_out.shows_held_out(HUMANOID, degrees * (degrees < 1)).tolist() == [True, False]
    assert held_out.shows_held_out(HUMANOID, degrees)[0], "whatever else is truer"


@pytest.mark.parametrize("pose", POSES)
def test_a_pose_left_out_leaves_no_trace_and_can_be_described(pose: str, degrees: np.ndarray) -> None:
    grammar = described.without((pose,))
    fact = HUMANOID.facts[HUMANOID.columns[POSE_FACTS[pose]]]
    said = described.described(pose)
    assert set(held_out.words_of(said.text)) <= grammar.vocabulary()
    for name, wording in described.DESCRIBED[pose]:
        assert wording in (
            *grammar.wordings(grammar.columns[name], "all"),
            *HUMANOID.facts[HUMANOID.columns[name]].negations,
        )
        assert not held_out.holds(wording, fact.telling) and name not in grammar.silent
    for sentence in heard(grammar, "train", 600):
        assert not held_out.holds(sentence.text, fact.telling), sentence.text
        assert not {grammar.facts[t.fact].name for t in sentence.terms} & grammar.silent
    kept = held_out.training_states(grammar, degrees)
    column = HUMANOID.columns[POSE_FACTS[pose]]
    assert kept.any() and (degrees[kept, column] < held_out.TRACE).all()
    assert described.agreement(pose, degrees) > 0.3


def test_two_left_out_at_once_and_unknown_names() -> None:
    grammar = described.without(("lotus", "splits"))
    assert {"lotus", "splits", "front_splits"} <= grammar.silent
    assert not {"lotus", "splits", "gymnastics", "meditating"} & grammar.vocabulary()
    with pytest.raises(WorldError, match="pick"):
        HUMANOID.leave_out(["flying"])
    with pytest.raises(WorldError, match="pick"):
        described.described("flying")
    bare = Grammar(("it",), ("it",), (Fact("up", ("up",)),))
    with pytest.raises(WorldError, match="train"):
        bare.draw(np.random.default_rng(0), split="held_out")


WAYS = {"kneeling": ("kneel_tall", "hanging"), "one_leg": ("one_leg_knee", "hanging"), "arms_raised": ("standing", "raised"),
        "splits": ("straddle", "hanging"), "hands_on_hips": ("standing", "on_hips"), "arms_crossed": ("standing", "crossed")}  # fmt: skip


@pytest.mark.parametrize("pose", WAYS)
def test_half_way_to_a_pose_lies_between(pose: str) -> None:
    first = "forward" if pose == "hands_on_hips" else "hanging"  # hands that hang are near the hips as it is
    ends = [
        sampling.template(RULES.model, legs, (arms, arms)) for legs, arms in (("standing", first), WAYS[pose])
    ]
    way = np.stack([(1 - t) * ends[0] + t * ends[1] for t in np.linspace(0, 1, 11)])
    states = RULES.join(sampling.FloorSetter(RULES.model)(way), np.zeros((11, RULES.nv)))
    truth = Humanoid(pose).similarity(states)
    assert truth[0] < 0.25 and truth[-1] > 0.6 and truth[0] < truth[4:8].mean() < truth[-1]


def test_sides_are_the_robots_own() -> None:
    qpos = sampling.template(RULES.model, "standing", ("raised", "hanging"))
    degrees = RULES.fact_degrees(
        RULES.join(sampling.FloorSetter(RULES.model)(qpos[None]), np.zeros((1, RULES.nv)))
    )[0]
    found = {name: degrees[column] for name, column in HUMANOID.columns.items()}
    assert found["right_raised"] > 0.9 > 0.3 > found["left_raised"] and found["left_hanging"] > 0.9
    assert found["one_raised"] > 0.7


@pytest.mark.parametrize(("legs", "arms", "facts"), [
    ("kneel_tall", "behind", ("kneeling", "behind", "knees_floor", "feet_behind")),
    ("standing", "on_head", ("standing", "on_head", "feet_only", "elbows_bent")),
    ("handstand", "raised", ("upside_down",)), ("bridge", "behind", ("bridge",)), ("lunge", "hanging", ("lunging",)),
    ("sit_legs_forward", "in_lap", ("sit_forward", "hips_floor")), ("on_all_fours", "forward", ("all_fours",)),
])  # fmt: skip
def test_facts_hold_on_their_templates(legs: str, arms: str, facts: tuple[str, ...]) -> None:
    qpos = sampling.FloorSetter(RULES.model)(sampling.template(RULES.model, legs, (arms, arms))[None])
    degrees = RULES.fact_degrees(RULES.join(qpos, np.zeros((1, RULES.nv))))[0]
    for fact in facts:
        assert degrees[HUMANOID.columns[fact]] > 0.6, (fact, degrees[HUMANOID.columns[fact]])


def test_the_words_know_nothing_of_success() -> None:
    folder = Path(vlmrl_envs.__file__).parent / "humanoid"
    for file in ("wordings.py", "degrees.py", "described.py", "sampling.py"):
        tree = ast.parse((folder / file).read_text())
        names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        names += [
            a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
        ]
        assert not any("success" in name for name in names), file
