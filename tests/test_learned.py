"""A learned reward: what it asks, what it says where it did not ask, and how it knows how good that is."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeEncoder
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.errors import NonFiniteError, UsageError
from vlmrl.rewards import LearnedConfig, LearnedReward, LearnedRewardDrift
from vlmrl.rewards.answers import LEVELS, Answers, Record, compare_trends, level_quota
from vlmrl.rewards.asking import Tally, choose
from vlmrl.rewards.budget import Budget, total_queries
from vlmrl.rewards.ensemble import Ensemble
from vlmrl.rewards.learned import SkippedAnswers
from vlmrl.rewards.sources import thumbnails

SMALL = LearnedConfig(hidden_sizes=(32,), fit_steps=40, batch_size=64)


def truth(states: np.ndarray) -> np.ndarray:
    """A known reward of the first two numbers of a state."""
    return (0.3 + 0.1 * np.sin(2 * states[..., 0]) + 0.05 * states[..., 1]).astype(np.float32)


class CountingWorld:
    """Draw states as frames that carry them (a float a pixel's bytes) and count what was drawn."""

    def __init__(self) -> None:
        self.drawn: list[np.ndarray] = []

    def visible_features(self, states: np.ndarray) -> np.ndarray:
        return states[:, :3].astype(np.float32)

    def render_states(self, states: np.ndarray) -> np.ndarray:
        self.drawn.append(states.copy())
        return np.arange(len(states), dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)

    @property
    def num_drawn(self) -> int:
        return sum(map(len, self.drawn))


class TruthOfDrawn:
    """A reward model of frames that knows which states the world has just drawn."""

    reads: Any = "frames"

    def __init__(self, world: CountingWorld) -> None:
        self.world = world
        self.spoil: Any = None

    def compute_reward(self, batch: np.ndarray) -> torch.Tensor:
        assert batch.dtype == np.uint8 and len(batch) == len(self.world.drawn[-1])
        rewards = truth(self.world.drawn[-1])
        if self.spoil is not None:
            rewards[self.spoil(self.world.drawn[-1])] = np.nan
        return torch.from_numpy(rewards)


def make(total: int, config: LearnedConfig = SMALL, **kwargs) -> tuple[LearnedReward, CountingWorld]:
    world = CountingWorld()
    return LearnedReward(TruthOfDrawn(world), total, config=config, world=world, **kwargs), world


def states_of(rng: np.random.Generator, steps: int = 16, worlds: int = 8, centre: float = 0.0) -> np.ndarray:
    return rng.normal(centre, 1.0, (steps, worlds, 5))


def everything(states: np.ndarray) -> np.ndarray:
    return np.ones(states.shape[:2], bool)


# -- the whole -------------------------------------------------------------------------------------------------


def test_it_learns_asks_rarely_and_draws_nothing_else() -> None:
    rng = np.random.default_rng(0)
    learned, world = make(40 * 512, query_share=0.1, resolution=1e-6)
    assert learned.reads == "states"
    for _ in range(40):
        states = states_of(rng, 32, 16)
        before = world.num_drawn
        rewards, kept = learned.score_rollout(states, everything(states))
        found = learned.metrics()
        assert kept.all() and rewards.dtype == np.float32 and rewards.shape == (32, 16)
        assert world.num_drawn - before == found["asked"]
    assert world.num_drawn == learned.asked == 2048 == found["asked_in_all"]
    assert found["queries_left"] == 0 and found["share_in_all"] == pytest.approx(0.1)
    assert np.corrcoef(rewards.ravel(), truth(states).ravel())[0, 1] > 0.97
    assert found["error"] < 0.4 and found["rank_correlation"] > 0.9 and abs(found["bias"]) < 0.01
    assert found["trusted"] == 1 and found["drift"] == 0
    assert found["vlm_reward"] == pytest.approx(truth(states).mean(), abs=0.01)
    exact = np.isclose(rewards, truth(states), atol=1e-7)
    assert exact.sum() >= found["asked"] > 0  # the model's own answer where it was asked


def test_the_beginning_asks_more_and_the_estimate_is_cautious() -> None:
    rng = np.random.default_rng(1)
    learned, _ = make(20 * 128, query_share=0.2)
    counts = []
    for _ in range(20):
        states = states_of(rng)
        rewards, _ = learned.score_rollout(states, everything(states))
        counts.append(learned.metrics()["asked"])
    assert counts[0] == 64 > counts[-1] and sum(counts) == 512
    mean, spread = learned.ensemble.predict(states.reshape(-1, 5)[:, :3].astype(np.float32))
    exact = np.isclose(rewards.ravel(), truth(states).ravel(), atol=1e-7)
    np.testing.assert_allclose(
        rewards.ravel()[~exact],
        np.maximum(np.clip(mean, learned._low, learned._high) - spread, learned._low)[~exact],
        rtol=1e-5,
    )


@given(
    total=st.integers(1, 400),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=25),
    warm=st.sampled_from([0.0, 0.3, 1.0]),
    data=st.data(),
)
def test_a_budget_is_met_and_never_passed(total: int, sizes: list[int], warm: float, data) -> None:
    steps = sum(sizes)
    total = min(total, steps)
    budget = Budget(total, steps)
    for size in sizes:
        candidates = data.draw(st.integers(0, size)) if data.draw(st.integers(0, 3)) == 0 else size
        taken = budget.take(size, candidates, warm, 0.25)
        assert 0 <= taken <= candidates and budget.asked <= total
        if budget.seen < steps:
            continue
        assert budget.asked == total or taken == candidates  # the last rollout gets all that is left
    budget.take(10, 10, 1.0, 1.0)  # a rollout more than was planned
    assert budget.asked <= total


def test_without_a_warm_beginning_queries_are_spread_evenly() -> None:
    budget = Budget(100, 1000)
    assert [budget.take(4, 4) for _ in range(250)].count(0) == 150 and budget.asked == 100
    budget = Budget(3, 1000)
    assert budget.take(100, 100) == 1  # at least one, or nothing would ever be known
    assert Budget(3, 1000).take(100, 0) == 0


@pytest.mark.parametrize(
    ("queries", "share", "expected"),
    [(None, 0.1, 3), (7, None, 7), (2, 0.5, 2), (99, 0.5, 15), (99, 1.0, 30)],
)
def test_the_smaller_limit_counts(queries: int | None, share: float | None, expected: int) -> None:
    assert total_queries(30, queries, share) == expected


@pytest.mark.parametrize(
    ("queries", "share", "match"),
    [
        (0, None, "queries: got 0; expected an integer >= 1"),
        (-3, 0.1, "queries: got -3"),
        (None, 0.0, r"query_share: got 0.0; expected a number in \(0, 1\]"),
        (None, 1.01, "query_share: got 1.01"),
        (None, float("nan"), "query_share: got nan"),
        (None, 1e-6, "no query"),
        (None, None, "neither"),
    ],
)
def test_a_budget_of_zero_and_shares_out_of_range_are_refused(queries, share, match) -> None:
    with pytest.raises(UsageError, match=match):
        make(1000, queries=queries, query_share=share)
    with pytest.raises(UsageError, match="total_steps"):
        make(0, queries=3)


@pytest.mark.parametrize(
    "changes",
    [
        {"ensemble_size": 1}, {"random_share": 0.0}, {"random_share": 1.5}, {"warm_share": 0.0}, {"warm_budget": -0.1},
        {"conservatism": -1.0}, {"conservatism": float("inf")}, {"trust_error": 0.0}, {"hidden_sizes": (0,)},
        {"store_size": 3}, {"drift_rounds": 5}, {"fit_steps": 0}, {"learning_rate": float("nan")}, {"on_non_finite": "hide"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changes: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        LearnedConfig(**changes)


# -- which states ----------------------------------------------------------------------------------------------


def test_disagreement_picks_the_novel_states() -> None:
    rng = np.random.default_rng(2)
    learned, world = make(100_000, queries=2000, config=SMALL, resolution=1e-6)
    for _ in range(12):
        states = states_of(rng, 32, 16)
        learned.score_rollout(states, everything(states))
    states = states_of(rng, 32, 16)
    novel = np.zeros((32, 16), bool)
    novel[:, 3] = True
    states[novel] += 4.0
    before = world.num_drawn
    learned.budget.take = lambda *_: 40  # type: ignore[method-assign]
    learned.score_rollout(states, everything(states))
    drawn = np.concatenate(world.drawn)[before:]
    assert len(drawn) == 40
    found = np.isin(drawn[:, 0], states[novel][:, 0]).sum()
    assert (
        found >= 24
    )  # a sixteenth of the states, more than half of the questions; all 32 could be it at most


@given(
    count=st.integers(0, 40), size=st.integers(40, 80), share=st.floats(0.05, 1.0), seed=st.integers(0, 99)
)
def test_choices_are_distinct_and_random_ones_even(count: int, size: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, is_random = choose(rng.random(size), size, count, share, rng)
    assert len(set(rows.tolist())) == len(rows) == len(is_random) == count
    assert abs(is_random.sum() - share * count) < 1
    rows, is_random = choose(None, size, count, share, rng)
    assert is_random.all() and len(rows) == count
    assert choose(np.zeros(size), size, count, share, rng)[1].all()


def test_the_random_share_is_drawn_evenly_whatever_the_disagreement() -> None:
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(50) < 5, 10.0, 0.1)
    hits = np.zeros(50)
    for _ in range(2000):
        rows, is_random = choose(spread, 50, 10, 0.5, rng)
        hits[rows[is_random]] += 1
    assert abs(hits[:5].mean() - hits[5:].mean()) < 30  # 200 each on average


# -- the store -------------------------------------------------------------------------------------------------


def test_the_store_is_bounded_and_keeps_what_is_rare() -> None:
    rng = np.random.default_rng(0)
    store = Answers(200)
    rare = np.ones((20, 2), np.float32)
    store.add(rare, np.full(20, 1.0, np.float32), 0, rng)
    for index in range(1, 30):
        rewards = rng.uniform(0.0, 0.05, 50).astype(np.float32)
        store.add(np.zeros((50, 2), np.float32), rewards, index, rng)
    assert len(store) == 200 and (store.rewards == 1.0).sum() == 20
    assert (store.features[store.rewards == 1.0] == 1).all() and store.rounds.max() == 29
    store.add(np.zeros((900, 2), np.float32), np.zeros(900, np.float32), 30, rng)
    assert len(store) == 200
    with pytest.raises(UsageError, match="3 columns"):
        store.add(np.zeros((1, 3), np.float32), np.zeros(1, np.float32), 0, rng)


@given(counts=st.lists(st.integers(0, 50), min_size=LEVELS, max_size=LEVELS), data=st.data())
def test_quotas_take_off_the_fullest_levels_only(counts: list[int], data) -> None:
    total = data.draw(st.integers(0, sum(counts)))
    keep = level_quota(np.array(counts), total)
    assert keep.sum() == total and (keep <= counts).all() and (keep >= 0).all()
    cut = keep < np.array(counts)
    if cut.any():
        assert keep[cut].min() >= keep.max() - 1


# -- how good it is --------------------------------------------------------------------------------------------


def history(learned: np.ndarray, true: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.stack([learned, true], axis=1) + rng.normal(0, 0.002, (len(learned), 2))
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


RISE = np.linspace(0.2, 0.3, 12)


@pytest.mark.parametrize(
    ("true", "parted"),
    [
        (np.full(12, 0.2), True),  # stays
        (RISE[::-1].copy(), True),  # falls
        (RISE, False),  # follows
        (RISE - 0.1, False),  # follows at a distance: a bias, and no parting
        (0.2 + 0.5 * (RISE - 0.2), False),  # follows at half the pace
    ],
)
def test_drift_is_a_rise_that_the_model_does_not_follow(true: np.ndarray, parted: bool) -> None:
    assert compare_trends(*history(RISE, true), resolution=1e-3).parted == parted


def test_drift_is_a_fall_that_the_learned_reward_does_not_follow() -> None:
    assert compare_trends(*history(np.full(12, 0.2), RISE[::-1].copy()), resolution=1e-3).parted


def test_no_drift_where_the_learned_reward_does_not_rise() -> None:
    assert not compare_trends(*history(RISE[::-1].copy(), RISE), resolution=1e-3).parted
    assert not compare_trends(*history(RISE[::-1].copy(), RISE[::-1].copy()), resolution=1e-3).parted, (
        "both fall"
    )
    for seed in range(200):  # chance alone
        flat = np.full(12, 0.2)
        assert not compare_trends(*history(flat, flat, seed), resolution=1e-3).parted
    assert not compare_trends(*history(0.2 + RISE / 1e3, np.full(12, 0.2)), resolution=1e-3).parted


def test_a_policy_that_exploits_the_networks_is_called_out() -> None:
    """Where states look alike to the networks and not to the model, the learned reward can rise alone."""
    rng = np.random.default_rng(0)
    learned, _ = make(60 * 128, query_share=0.2, resolution=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LearnedRewardDrift)
        for _ in range(20):  # healthy: the policy stays, then moves to better states, and the model agrees
            states = states_of(rng)
            learned.score_rollout(states, everything(states))
        for shift in np.linspace(0, 0.7, 20):
            states = states_of(rng) * [0.3, 1, 1, 1, 1] + [shift, 0, 0, 0, 0]
            learned.score_rollout(states, everything(states))
    assert learned.metrics()["drift"] == 0
    with pytest.warns(LearnedRewardDrift, match=r"learned reward: got \+0.*query_share"):
        for number in range(12):
            rows = np.full((20, 3), [0.3 + 0.01 * number, 0.3, 0.3]) + rng.normal(0, 1e-3, (20, 3))
            learned._held = rows
            learned._refit()
    assert learned.metrics()["drift"] == 1


def test_the_record_is_of_predictions_made_before() -> None:
    record = Record(window=4, rounds=4)
    assert record.bias() is None and record.rmse() is None and record.rank_correlation() is None
    record.add(np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 3.0], [0.0, 4.0, 5.0]]))
    assert record.bias() == -1 and record.rmse() == 1 and record.rank_correlation() == pytest.approx(1)
    record.add(np.array([[1.0, 9.0, 0.0], [1.0, 9.0, 0.0]]))
    assert len(record.rows) == 4 and record.means.tolist() == [[0, 10 / 3], [1, 0]]
    record.add(np.zeros((0, 3)))
    assert len(record.means) == 2 and record.parting(0.0) is None


def test_the_mean_answer_is_estimated_without_bias() -> None:
    rng = np.random.default_rng(0)
    answers = rng.random(500)
    wrong = answers + rng.normal(0.2, 0.1, 500)  # predictions that are biased
    found = []
    for _ in range(300):
        tally = Tally()
        held = rng.permutation(500)[:20]
        tally.add(500, 20, wrong, np.zeros(500), answers[held], held, 500)
        found.append(tally.true_mean(None))
    assert np.mean(found) == pytest.approx(answers.mean(), abs=0.005)
    assert Tally().true_mean(None) is None and Tally().mean_given() is None


def test_a_constant_reward_is_given_as_a_constant() -> None:
    """Networks fitted to rounding must not make up differences that a policy would learn from."""

    class Constant:
        reads: Any = "states"

        def compute_reward(self, batch):
            return torch.full((len(batch),), 0.5) + 1e-4 * torch.rand(len(batch))

    learned = LearnedReward(Constant(), 1280, query_share=0.3, config=SMALL)
    rng = np.random.default_rng(0)
    for _ in range(10):
        states = states_of(rng)
        rewards, _ = learned.score_rollout(states, everything(states))
        assert np.ptp(rewards) <= 1e-4
    assert learned.trusted and learned.metrics()["spread"] == 0


# -- resume ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 7])
def test_it_resumes_to_the_bit(at: int) -> None:
    def run(learned: LearnedReward, start: int, end: int) -> list[np.ndarray]:
        out = []
        for index in range(start, end):
            states = states_of(np.random.default_rng(index))
            out.append(learned.score_rollout(states, everything(states))[0])
        return out

    config = LearnedConfig(hidden_sizes=(16,), fit_steps=8, store_size=64)
    whole, world = make(12 * 128, query_share=0.3, config=config)
    straight = run(whole, 0, 12)
    first, _ = make(12 * 128, query_share=0.3, config=config)
    run(first, 0, at)
    state = {name: array.copy() for name, array in first.state_dict().items()}
    run(first, at, 12)  # what follows must not reach what was saved
    second, _ = make(12 * 128, query_share=0.3, config=config)
    second.load_state_dict(state)
    again = run(second, at, 12)
    for a, b in zip(straight[at:], again, strict=True):
        np.testing.assert_array_equal(a, b)
    a, b = whole.state_dict(), second.state_dict()
    assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)
    assert whole.metrics() != {} and world.num_drawn == whole.asked


def test_the_state_of_other_networks_is_refused() -> None:
    learned, _ = make(256, query_share=0.5)
    states = states_of(np.random.default_rng(0))
    learned.score_rollout(states, everything(states))
    other, _ = make(256, query_share=0.5, config=LearnedConfig(hidden_sizes=(8,)))
    with pytest.raises(UsageError, match="ensemble"):
        other.load_state_dict(learned.state_dict())
    small, _ = make(256, query_share=0.5, config=LearnedConfig(hidden_sizes=(32,), store_size=64))
    state = learned.state_dict()
    state["answers/rewards"] = np.zeros(65, np.float32)
    with pytest.raises(UsageError, match="store_size"):
        small.load_state_dict(state)


# -- bad answers, and rows that do not count -------------------------------------------------------------------


def test_a_nan_answer_stops_the_run_with_its_place() -> None:
    learned, _ = make(512, query_share=1.0)
    states = states_of(np.random.default_rng(0))
    states[5, 2] = 77.0
    learned.reward_model.spoil = lambda drawn: drawn[:, 0] == 77.0
    with pytest.raises(NonFiniteError, match="reward: got nan at step 5, world 2"):
        for _ in range(2):
            learned.score_rollout(states, everything(states))


def test_a_nan_answer_can_be_left_out_and_is_counted() -> None:
    config = LearnedConfig(hidden_sizes=(16,), on_non_finite="skip", warm_share=1.0, warm_budget=1.0)
    learned, _ = make(512, query_share=1.0, config=config)
    states = states_of(np.random.default_rng(0))
    states[5, 2] = 77.0
    learned.reward_model.spoil = lambda drawn: drawn[:, 0] == 77.0
    with pytest.warns(SkippedAnswers, match="1 NaN or infinite"):
        rewards, kept = learned.score_rollout(states, everything(states))
    assert not kept[5, 2] and kept.sum() == 127 and rewards[5, 2] == 0
    assert learned.metrics()["skipped"] == 1 and np.isfinite(learned.answers.rewards).all()
    learned.reward_model.spoil = lambda drawn: np.ones(len(drawn), bool)
    with pytest.raises(NonFiniteError):  # a model that breaks altogether is no skip
        for _ in range(3):
            learned.score_rollout(states, everything(states))


def test_rows_that_do_not_count_are_neither_asked_nor_given() -> None:
    learned, world = make(512, query_share=1.0)
    states = states_of(np.random.default_rng(0))
    valid = everything(states)
    valid[:, 4] = False
    states[:, 4] = np.nan
    rewards, kept = learned.score_rollout(states, valid)
    assert np.array_equal(kept, valid) and (rewards[:, 4] == 0).all() and np.isfinite(rewards).all()
    assert np.isfinite(np.concatenate(world.drawn)).all()
    nothing, _ = make(512, query_share=1.0)
    rewards, kept = nothing.score_rollout(states, np.zeros_like(valid))
    assert not kept.any() and not rewards.any()


# -- step by step, from pixels ---------------------------------------------------------------------------------


def lamp(levels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.uint8(levels)[:, None, None, None], (len(levels), 40, 60, 3)).copy()


class Brightness:
    reads: Any = "frames"

    def __init__(self) -> None:
        self.asked = 0

    def compute_reward(self, batch):
        self.asked += len(batch)
        return torch.as_tensor(batch).float().mean(dim=(1, 2, 3)) / 255


def test_frames_are_asked_about_rarely_too() -> None:
    rng = np.random.default_rng(0)
    model = Brightness()
    config = LearnedConfig(hidden_sizes=(32,), fit_steps=100, batch_size=64, refit_every=400, thumbnail=4)
    learned = LearnedReward(model, 2000, query_share=0.1, config=config)
    assert learned.reads == "frames"
    for _ in range(125):
        levels = rng.integers(0, 256, 16)
        rewards = learned.compute_reward(lamp(levels))
        assert rewards.dtype == torch.float32 and rewards.shape == (16,)
    assert model.asked == learned.asked == 200
    assert np.abs(rewards.numpy() - levels / 255).max() < 0.1
    again = LearnedReward(Brightness(), 2000, query_share=0.1, config=config)
    again.load_state_dict(learned.state_dict())
    torch.testing.assert_close(again.compute_reward(lamp(levels)), learned.compute_reward(lamp(levels)))


def test_beyond_its_steps_it_asks_nothing_and_still_answers() -> None:
    learned = LearnedReward(Brightness(), 64, queries=64, config=LearnedConfig(hidden_sizes=(8,)))
    for _ in range(20):
        assert np.isfinite(learned.compute_reward(lamp(np.arange(8) * 30)).numpy()).all()
    assert learned.asked == 64 and learned.metrics()["queries_left"] == 0


def test_a_nan_from_frames_goes_on_to_whoever_refuses_it() -> None:
    class Nan:
        reads: Any = "frames"

        def compute_reward(self, batch):
            return torch.full((len(batch),), float("nan"))

    learned = LearnedReward(Nan(), 64, query_share=1.0)
    assert np.isnan(learned.compute_reward(lamp(np.arange(8))).numpy()).any()


def test_a_model_of_embeddings_is_asked_through_its_encoder() -> None:
    class Red:
        reads: Any = "embeddings"
        encoder = FakeEncoder()

        def compute_reward(self, batch):
            return self.reward_of_embeddings(batch)

        def reward_of_embeddings(self, embeddings):
            return embeddings[:, 0]

    learned = LearnedReward(Red(), 64, query_share=1.0)
    assert learned.reads == "frames"
    assert np.isfinite(learned.compute_reward(lamp(np.arange(8))).numpy()).all()

    class Bare:
        reads: Any = "embeddings"

        def compute_reward(self, batch):
            return batch[:, 0]

    with pytest.raises(UsageError, match="encoder"):
        LearnedReward(Bare(), 64, query_share=1.0)


@given(height=st.integers(2, 90), width=st.integers(2, 90), side=st.integers(2, 16))
def test_thumbnails_are_means_of_cells(height: int, width: int, side: int) -> None:
    frames = np.full((2, height, width, 3), 51, np.uint8)
    found = thumbnails(frames, side)
    assert found.shape == (2, min(height, side) * min(width, side))
    np.testing.assert_allclose(found, 0.2, rtol=1e-5)


def test_a_thumbnail_shows_where_it_is_bright() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[:, :4, 4:] = 255
    np.testing.assert_allclose(thumbnails(frames, 2), [[0, 1, 0, 0]])


def test_networks_of_one_seed_are_equal_and_members_differ() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(64, 3)).astype(np.float32)
    a, b, c = (Ensemble(3, SMALL, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.predict(rows)[0], b.predict(rows)[0])
    assert not np.array_equal(a.predict(rows)[0], c.predict(rows)[0]) and (a.predict(rows)[1] > 0).all()
    assert a.predict(rows[:0])[0].shape == (0,)
