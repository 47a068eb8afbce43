"""The oracle, the encoder and the routed labeller, and a stage of asking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_fakes import QUESTION, BudgetSpent, CountingLabeller, Unreachable, pair, segment, some_pairs

from vlmrl.errors import UsageError
from vlmrl.preferences.answers import failures, kept_answers
from vlmrl.preferences.asking import is_deterministic
from vlmrl.preferences.chat import BudgetConfig, ChatConfig, ChatLabeller
from vlmrl.preferences.chat import BudgetSpent as BudgetSpent_
from vlmrl.preferences.encoder_labeller import (
    EncoderLabeller,
    EncoderLabellerConfig,
    fit_temperature,
    slope_gradient,
)  # fmt: skip
from vlmrl.preferences.oracle import OracleConfig, OracleLabeller
from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment
from vlmrl.preferences.routed import RoutedConfig, RoutedLabeller
from vlmrl.preferences.samplers import Uniform, VisualGap
from vlmrl.preferences.segments import PoolConfig, SegmentPool
from vlmrl.preferences.stage import gather
from vlmrl.preferences.store import PreferenceStore
from vlmrl.rewards.goal_baseline import GoalBaselineReward

PAIRS = some_pairs(400)


def labels(labeller: Labeller, pairs: Sequence[Pair], question: Question = QUESTION) -> np.ndarray:
    return np.array([answer.label for answer in labeller.answer(pairs, question)])


# -- oracle -------------------------------------------------------------------------------------------------------


def test_the_oracle_is_right_and_ties_within_its_band():
    band = OracleLabeller(OracleConfig(tie_band=20 / 255))
    assert labels(band, [pair(30, 9), pair(30, 10), pair(10, 30), pair(9, 30)]).tolist() == [
        1.0,
        0.5,
        0.5,
        0.0,
    ]
    exact = OracleLabeller()
    assert labels(exact, [Pair(segment(1, 3), segment(3, 1))]).tolist() == [0.5]
    assert labels(exact, [pair(1, 2), pair(2, 1)]).tolist() == [0.0, 1.0]
    assert isinstance(exact, Labeller) and exact.parameters["flip"] == 0.0


@pytest.mark.parametrize("config", [OracleConfig(flip=0.3), OracleConfig(temperature=0.2), OracleConfig(flip=0.2, temperature=0.1, seed=3)])  # fmt: skip
def test_the_same_pair_gets_the_same_answer_in_any_order_and_company(config: OracleConfig):
    first = labels(OracleLabeller(config), PAIRS[:50])
    assert (labels(OracleLabeller(config), PAIRS[:50][::-1])[::-1] == first).all()
    assert (labels(OracleLabeller(config), [p.turned for p in PAIRS[:50]]) == 1 - first).all()
    other = OracleConfig(config.flip, config.tie_band, config.temperature, config.soft, config.seed + 1)
    assert (labels(OracleLabeller(other), PAIRS) != labels(OracleLabeller(config), PAIRS)).any()


def test_flips_are_as_many_as_asked_for():
    right = labels(OracleLabeller(), PAIRS)
    for flip in (0.0, 0.25, 1.0):
        turned = np.mean(labels(OracleLabeller(OracleConfig(flip=flip)), PAIRS) != right)
        assert turned == pytest.approx(flip, abs=0 if flip in (0, 1) else 0.07)


def test_soft_answers_are_bradley_terrys():
    soft = OracleLabeller(OracleConfig(temperature=10 / 255, soft=True))
    # gaps of 10, 20 and -10: sigmoid of 1, 2 and -1
    found = labels(soft, [pair(20, 10), pair(30, 10), pair(10, 20)])
    assert found.tolist() == pytest.approx([0.7310586, 0.8807971, 0.2689414])
    flipped = OracleLabeller(OracleConfig(flip=0.25, temperature=10 / 255, soft=True))
    assert labels(flipped, [pair(20, 10)])[0] == pytest.approx(0.7310586 * 0.75 + 0.2689414 * 0.25)
    drawn = labels(OracleLabeller(OracleConfig(temperature=10 / 255)), [pair(r + 10, r) for r in range(240)])
    assert drawn.mean() == pytest.approx(0.731, abs=0.08) and set(drawn) == {0.0, 1.0}


def test_an_oracle_without_progress_or_sense_is_refused():
    with pytest.raises(UsageError, match="segment progress: got none"):
        OracleLabeller().answer([pair(1, 2, progress=False)], QUESTION)
    bad = Segment(segment(1).frames, progress=np.array([np.nan]))
    with pytest.raises(UsageError, match="not finite"):
        OracleLabeller().answer([Pair(bad, segment(2))], QUESTION)
    for values, match in (({"flip": 1.1}, "flip"), ({"tie_band": -1}, "tie_band"), ({"temperature": math.inf}, "temp"), ({"soft": True}, "soft")):  # fmt: skip
        with pytest.raises(UsageError, match=match):
            OracleConfig(**values)


# -- encoder ------------------------------------------------------------------------------------------------------


def test_the_encoder_prefers_the_segment_that_shows_the_goal():
    labeller = EncoderLabeller(FakeEncoder(), EncoderLabellerConfig(temperature=0.1))
    answers = labeller.answer([pair(250, 10), pair(10, 250), pair(100, 101)], QUESTION)
    assert answers[0].label > 0.9 and answers[1].label == pytest.approx(1 - answers[0].label)
    assert 0.45 < answers[2].label < 0.5
    assert isinstance(labeller, Labeller) and answers[0].model == "fake" and answers[0].seconds > 0
    assert labeller.answer([], QUESTION) == []


def test_its_answer_is_the_sigmoid_of_the_rewards_difference():
    encoder = FakeEncoder()
    reward = GoalBaselineReward(encoder, "red", "blue", 0.5)
    one = Pair(segment(200, 100), segment(50))
    gap = float(
        reward.compute_reward(one.first.frames).mean() - reward.compute_reward(one.second.frames).mean()
    )
    labeller = EncoderLabeller(encoder, EncoderLabellerConfig(temperature=0.3))
    assert labels(labeller, [one])[0] == pytest.approx(1 / (1 + math.exp(-gap / 0.3)), abs=1e-6)
    without = GoalBaselineReward(encoder, "red", "red", 0.0)  # no baseline: plain cosine
    gap = float(
        without.compute_reward(one.first.frames).mean() - without.compute_reward(one.second.frames).mean()
    )
    assert labels(labeller, [one], Question("red"))[0] == pytest.approx(
        1 / (1 + math.exp(-gap / 0.3)), abs=1e-6
    )


def test_all_frames_are_embedded_together_each_segment_once():
    encoder = FakeEncoder()
    labeller = EncoderLabeller(encoder)
    shared = [segment(red, red + 1) for red in range(0, 40, 2)]
    pairs = [Pair(a, b) for a in shared for b in shared if a is not b]
    labeller.answer(pairs, QUESTION)
    assert (encoder.num_calls, encoder.num_frames) == (1, 40)
    labeller.answer([pair(1, 2, side=8), pair(3, 4, side=16)], QUESTION)
    assert encoder.num_calls == 3  # two sizes, two batches


def test_segments_own_embeddings_are_used_where_they_are_given():
    encoder = FakeEncoder()
    red, blue = encoder.embed_texts(["red", "blue"]).numpy()
    lying = Pair(Segment(segment(0).frames, red[None]), Segment(segment(255).frames, blue[None]))
    encoder.num_frames = 0
    assert labels(EncoderLabeller(encoder), [lying])[0] > 0.99 and encoder.num_frames == 0
    assert labels(EncoderLabeller(encoder, EncoderLabellerConfig(use_embeddings=False)), [lying])[0] < 0.01
    other = Pair(Segment(segment(0).frames, np.ones((1, 7))), Segment(segment(255).frames, np.ones((1, 7))))
    assert labels(EncoderLabeller(encoder), [other])[0] < 0.01, "embeddings of another encoder"


def test_ties_and_hard_labels():
    pairs = [pair(250, 10), pair(100, 101), pair(10, 250)]
    hard = EncoderLabeller(FakeEncoder(), EncoderLabellerConfig(tie_band=0.1, soft=False))
    assert labels(hard, pairs).tolist() == [1.0, 0.5, 0.0]
    soft = labels(EncoderLabeller(FakeEncoder(), EncoderLabellerConfig(tie_band=0.1)), pairs)
    assert soft[1] == 0.5 and soft[0] not in (0.5, 1.0)
    for values in ({"tie_band": 0.5}, {"temperature": 0.0}, {"temperature": math.nan}):
        with pytest.raises(UsageError, match=next(iter(values))):
            EncoderLabellerConfig(**values)


def test_other_weights_under_one_name_are_other_parameters():
    class Other(FakeEncoder):
        def embed_texts(self, texts):
            return super().embed_texts(texts).roll(1, dims=1)

    one, two = EncoderLabeller(FakeEncoder()), EncoderLabeller(Other())
    assert one.model == two.model and one.parameters != two.parameters
    assert one.parameters == EncoderLabeller(FakeEncoder()).parameters


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 10), st.integers(0, 2**32 - 1))
def test_the_temperature_is_found_again(temperature: float, seed: int):
    rng = np.random.default_rng(seed)
    differences = rng.normal(size=4000) * temperature * 2
    drawn = (rng.random(4000) < 1 / (1 + np.exp(-differences / temperature))).astype(float)
    assert fit_temperature(differences, drawn) == pytest.approx(temperature, rel=0.15)


def test_the_temperature_has_the_greatest_likelihood_and_no_order():
    differences = np.array([0.2, 0.1, -0.3, 0.05, -0.1])
    given = np.array([1.0, 1.0, 0.0, 0.0, 0.5])
    temperature = fit_temperature(differences, given)
    targets = (5 * given + 1) / 7
    assert slope_gradient(1 / temperature, differences, targets) == pytest.approx(0, abs=1e-9)
    assert fit_temperature(-differences, 1 - given) == pytest.approx(temperature)
    never_wrong = fit_temperature(differences, (differences > 0).astype(float))
    assert 0 < never_wrong < temperature


def test_a_calibration_that_teaches_nothing_is_refused():
    for differences, known, match in (
        ([], [], "0 differences"), ([0.1], [1.0], "1 preferences"), ([0.1, 0.2], [0.5, 0.5], "0 preferences"),
        ([0.0, 0.0], [1.0, 0.0], "do not rise"), ([0.1, -0.1], [0.0, 1.0], "do not rise"),
        ([0.1, 0.2], [1.0, np.nan], "2 differences"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=match):
            fit_temperature(np.array(differences), np.array(known))


def test_the_labeller_calibrated_is_another_with_likelier_answers():
    encoder = FakeEncoder()
    start = EncoderLabeller(encoder, EncoderLabellerConfig(temperature=5.0))
    known = labels(OracleLabeller(), PAIRS)
    fitted = start.calibrated(PAIRS, known.tolist(), QUESTION)

    def loss(labeller: EncoderLabeller) -> float:
        p = np.clip(labels(labeller, PAIRS), 1e-9, 1 - 1e-9)
        return -np.mean(known * np.log(p) + (1 - known) * np.log(1 - p))

    assert loss(fitted) < loss(start) and fitted.config.temperature < 5.0
    assert fitted.parameters != start.parameters and start.config.temperature == 5.0


# -- routed -------------------------------------------------------------------------------------------------------


class Says(CountingLabeller):
    """Say a fixed label for each first red; cost 1."""

    def __init__(self, name: str, by_red: dict[int, float | None]) -> None:
        super().__init__(name)
        self.by_red = by_red

    def label(self, pair: Pair) -> float | None:
        return self.by_red[int(pair.first.frames[0, 0, 0, 0])]


CHEAP = {1: 0.9, 2: 0.6, 3: None, 4: 0.3, 5: 0.45, 6: 0.0}
BETTER = {1: 0.0, 2: 1.0, 3: 0.0, 4: None, 5: 1.0, 6: 1.0}
SIX = [pair(red, 200) for red in CHEAP]


def test_only_what_is_unsure_is_escalated():
    first, second = Says("cheap", CHEAP), Says("better", BETTER)
    routed = RoutedLabeller(first, second, RoutedConfig(margin=0.2))
    answers = routed.answer(SIX, QUESTION)
    assert [a.label for a in answers] == [0.9, 1.0, 0.0, 0.3, 1.0, 0.0]  # 4 is just at the margin
    assert second.asked == [SIX[i].key for i in (1, 2, 4)]
    assert [a.labeller for a in answers] == ["cheap", "better", "better", "cheap", "better", "cheap"]
    assert answers[1].cost == pytest.approx(0.02) and answers[1].tokens == 14 and answers[0].tokens == 7
    assert answers[2].parameters["escalated_from"] == {"labeller": "cheap", "label": None}
    report = routed.report
    assert (report.asked, report.unsure, report.escalated, report.share) == (6, 3, 3, 0.5)
    assert isinstance(routed, Labeller) and routed.parameters["margin"] == 0.2
    wide = RoutedLabeller(first, second, RoutedConfig(margin=0.25))
    assert wide.answer(SIX, QUESTION)[3].label is None and wide.report.abstained == 1


def test_a_routed_labeller_is_as_deterministic_as_its_parts():
    one, other = Says("cheap", CHEAP), Says("better", BETTER)
    assert is_deterministic(one) and is_deterministic(RoutedLabeller(one, other))
    other.is_deterministic = False
    assert not is_deterministic(RoutedLabeller(one, other))


def test_the_budget_goes_to_the_least_sure_and_is_never_exceeded():
    second = Says("better", BETTER)
    routed = RoutedLabeller(Says("cheap", CHEAP), second, RoutedConfig(margin=0.2, budget=2))
    answers = routed.answer(SIX, QUESTION)
    assert second.asked == [SIX[i].key for i in (2, 4)] and answers[1].label == 0.6
    routed.answer(SIX, QUESTION)
    assert len(second.asked) == 2 and routed.report.escalated == 2 and routed.report.unsure == 6
    none = RoutedLabeller(Says("cheap", CHEAP), second, RoutedConfig(margin=0.0, budget=0))
    assert none.answer(SIX, QUESTION)[2].label is None
    assert none.report.share == 0 and RoutedLabeller(second, second).report.share == 0
    for values in ({"margin": -0.1}, {"margin": math.nan}, {"budget": -1}):
        with pytest.raises(UsageError, match=next(iter(values))):
            RoutedConfig(**values)


def test_a_run_that_goes_on_has_the_rest_of_its_budgets_left():
    def routed() -> RoutedLabeller:
        return RoutedLabeller(Says("cheap", CHEAP), Says("better", BETTER), RoutedConfig(budget=2))

    first, second = routed(), routed()
    answers = first.answer(SIX[:4], QUESTION)
    second.carry_on(answers)
    assert (second.report.asked, second.report.escalated) == (4, first.report.escalated)
    second.answer(SIX[4:], QUESTION)
    assert second.report.escalated == 2
    whole = routed()
    whole.answer(SIX[:4], QUESTION)
    whole.answer(SIX[4:], QUESTION)
    assert whole.report.escalated == second.report.escalated
    chat = ChatLabeller(ChatConfig("http://127.0.0.1:9/v1", "m", budget=BudgetConfig(tokens=100)), environ={})
    chat.carry_on([Answer(1.0, "chat", tokens=60), Answer(None, "chat", tokens=40)])
    with pytest.raises(BudgetSpent_, match="100 of 100 spent"):
        chat.answer([pair(1, 2, side=32)], QUESTION)


def test_when_the_better_one_stops_what_was_answered_is_carried_on(tmp_path: Path):
    class Poor(Says):
        def answer(self, pairs, question):
            raise BudgetSpent(super().answer(pairs[:1], question))

    routed = RoutedLabeller(Says("cheap", CHEAP), Poor("better", BETTER))
    with pytest.raises(BudgetSpent) as error:
        routed.answer(SIX, QUESTION)
    assert [a and a.label for a in error.value.answers] == [0.9, 1.0, None, 0.3, None, 0.0]
    assert routed.report.escalated == 1
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        with pytest.raises(BudgetSpent):
            store.ask(routed, SIX, QUESTION)
        assert len(store.answered()) == 4
        whole = RoutedLabeller(Says("cheap", CHEAP), Says("better", BETTER))
        assert store.ask(whole, SIX, QUESTION).asked == 2
    first_fails = RoutedLabeller(Poor("cheap", {1: 0.6}), Says("better", BETTER))
    with pytest.raises(BudgetSpent) as error:
        first_fails.answer(SIX[:1], QUESTION)
    assert error.value.answers == [None], "an unsure answer is not the routed labeller's"


# -- a stage ------------------------------------------------------------------------------------------------------


def reds_pool(count: int) -> SegmentPool:
    frames = np.zeros((count, 1, 8, 8, 3), np.uint8)
    frames[..., 0] = np.arange(count)[:, None, None, None]
    pool = SegmentPool(PoolConfig())
    pool.add(np.zeros((count, 1), bool), frames=frames, progress=np.arange(count)[:, None] / count)
    return pool


class Shy(CountingLabeller):
    """Abstain from every third pair, by its key."""

    def label(self, pair: Pair) -> float | None:
        return None if int(pair.key, 16) % 3 == 0 else super().label(pair)


def test_a_dropped_label_does_not_count_against_the_stage(tmp_path: Path):
    """RL-VLM-F drops labels and counts them all the same."""
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        stage = gather(reds_pool(100), Uniform(), store, Shy("shy"), QUESTION, 60, np.random.default_rng(0))
        assert stage.labels == 60 < len(stage.answered) <= 120 and stage.asked == len(stage.answered)
        assert len({p.key for p, _ in stage.answered}) == len(stage.answered)
        again = gather(reds_pool(100), Uniform(), store, Shy("shy"), QUESTION, 60, np.random.default_rng(0))
        assert again.asked == 0 and [a for _, a in again.answered] == [a for _, a in stage.answered]
        known = [p for p, _ in stage.answered]
        more = gather(
            reds_pool(100),
            Uniform(),
            store,
            Shy("shy"),
            QUESTION,
            10,
            np.random.default_rng(0),
            exclude=known,
        )
        assert more.labels == 10 and more.asked == len(more.answered)


def test_a_stage_ends_at_its_limit_or_with_its_pool(tmp_path: Path):
    class Mute(CountingLabeller):
        def label(self, pair):
            return None

    with PreferenceStore(tmp_path / "store.sqlite") as store:
        rng = np.random.default_rng(0)
        stage = gather(reds_pool(100), Uniform(), store, Mute(), QUESTION, 10, rng, max_pairs=25)
        assert (stage.labels, len(stage.answered)) == (0, 25)
        small = gather(reds_pool(3), Uniform(), store, Mute("mute"), QUESTION, 2, rng, max_pairs=50)
        assert (small.labels, len(small.answered)) == (0, 3)
        with pytest.raises(UsageError, match="different"):
            gather(reds_pool(1), Uniform(), store, Mute(), QUESTION, 2, rng)
        with pytest.raises(UsageError, match="segments without embeddings"):  # and not an empty stage
            gather(reds_pool(9), VisualGap(), store, Mute(), QUESTION, 2, rng, exclude=some_pairs(1))
        with pytest.raises(UsageError, match="stage: got"):
            gather(reds_pool(3), Uniform(), store, Mute(), QUESTION, 5, rng, max_pairs=4)


def test_what_nobody_answered_is_no_abstention_and_is_asked_first_in_the_next_stage(tmp_path: Path):
    pool, labeller = reds_pool(100), Unreachable()
    drawn = Uniform().sample(pool, 10, np.random.default_rng(0))
    labeller.lost = {p.key for p in drawn[:3]}
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        stage = gather(pool, Uniform(), store, labeller, QUESTION, 10, np.random.default_rng(0))
        assert [p.key for p in stage.open] == [p.key for p in drawn[:3]]
        assert stage.labels == len(stage.answered) == 10, "made up for by other pairs"
        labeller.lost, labeller.asked = {drawn[1].key}, []
        known = [p for p, _ in stage.answered]
        more = gather(
            pool, Uniform(), store, labeller, QUESTION, 2, np.random.default_rng(1), exclude=known, first=stage.open
        )  # fmt: skip
        assert [p.key for p, _ in more.answered] == [drawn[0].key, drawn[2].key]
        assert [p.key for p in more.open] == [drawn[1].key] and more.asked == 3
        few = gather(pool, Uniform(), store, labeller, QUESTION, 1, np.random.default_rng(1), first=drawn[:3])
        assert few.labels == 1 and {p.key for p in few.open} == {drawn[1].key, drawn[2].key}


def test_an_open_question_of_the_better_one_is_neither_counted_nor_kept(tmp_path: Path):
    second = Unreachable(SIX[1].key, SIX[2].key)
    routed = RoutedLabeller(Says("cheap", CHEAP), second, RoutedConfig(margin=0.2, budget=3))
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        answers = store.ask(routed, SIX, QUESTION).answers
        assert [a.is_open for a in answers] == [False, True, True, False, False, False]
        assert (routed.report.escalated, routed.report.abstained) == (1, 0)
        second.lost = set()
        assert store.ask(routed, SIX, QUESTION).asked == 2 and routed.report.escalated == 3
        other = RoutedLabeller(Says("cheap", CHEAP), second, RoutedConfig(margin=0.2, budget=3))
        other.carry_on([*kept_answers(store, routed, QUESTION), *failures(store, routed, QUESTION)])
        assert (other.report.asked, other.report.escalated) == (6, 3)


def test_an_answer_must_be_a_probability():
    for label in (-0.1, 1.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="label"):
            Answer(label, "x")
