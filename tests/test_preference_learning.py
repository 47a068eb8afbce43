"""Rewards learned from preferences: golden Bradley-Terry values, what is learned, what is refused, what is relabelled."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_fakes import QUESTION, pair, segment, some_pairs

from vlmrl.errors import NonFiniteError, UsageError
from vlmrl.preferences.bradley_terry import bradley_terry_loss, preference_logits, segment_returns
from vlmrl.preferences.calibration import accuracy_by_gap, calibrate
from vlmrl.preferences.evidence import CLEAR, beyond_chance
from vlmrl.preferences.fitting import FitConfig
from vlmrl.preferences.labelled import label_pairs, split_pairs
from vlmrl.preferences.learning import (
    PixelPreferenceConfig,
    PixelPreferenceReward,
    PreferenceConfig,
    PreferenceReward,
)  # fmt: skip
from vlmrl.preferences.networks import ConvConfig, EmbeddingEnsemble, HeadConfig, PixelEnsemble
from vlmrl.preferences.oracle import OracleConfig, OracleLabeller
from vlmrl.preferences.protocol import Answer, Pair
from vlmrl.preferences.relabelling import EmbeddingRing, relabel
from vlmrl.preferences.samplers import Disagreement, Entropy
from vlmrl.preferences.segments import PoolConfig, SegmentPool
from vlmrl.preferences.weights import RECORD
from vlmrl.rewards.protocol import EmbeddingReward, RewardModel

QUICK = PreferenceConfig(HeadConfig(hidden=(16,)), FitConfig(max_epochs=30, learning_rate=1e-2))
PIXELS = PixelPreferenceConfig(
    ConvConfig(members=2),
    replace(PixelPreferenceConfig().fit, max_epochs=4, learning_rate=1e-3, batch_size=16),
)


def answered(count: int, seed: int = 0, side: int = 8, **oracle) -> list[tuple[Pair, Answer]]:
    pairs = some_pairs(count, seed, side)
    return list(zip(pairs, OracleLabeller(OracleConfig(**oracle)).answer(pairs, QUESTION), strict=True))


def reds(*values: int, side: int = 8) -> np.ndarray:
    return np.concatenate([segment(v, side=side).frames for v in values])


# -- golden values ------------------------------------------------------------------------------------------------

# Worked out by hand: P = sigmoid(R1 - R2), loss = -(y ln P + (1 - y) ln(1 - P)); ln(1 + e^-1) = 0.3132617.
GOLDEN = [
    (1.0, 0.0, 1.0, 0.3132617),
    (1.0, 0.0, 0.0, 1.3132617),
    (1.0, 0.0, 0.5, 0.8132617),  # a tie: half of each
    (1.0, 0.0, 0.75, 0.5632617),  # a soft label: 3/4 and 1/4
    (0.3, 0.3, 0.5, 0.6931472),  # ln 2
    (0.3, 0.3, 1.0, 0.6931472),
    (-2.0, 1.0, 1.0, 3.0485874),  # ln(1 + e^3)
    (200.0, -200.0, 0.0, 400.0),  # sure and wrong, without overflow
    (200.0, -200.0, 1.0, 0.0),
]


@pytest.mark.parametrize(("first", "second", "label", "loss"), GOLDEN)
def test_bradley_terry_golden_values(first, second, label, loss):
    values = [torch.tensor([x], dtype=torch.float64) for x in (first, second, label)]
    assert bradley_terry_loss(*values).item() == pytest.approx(loss, abs=1e-7)
    turned = bradley_terry_loss(values[1], values[0], 1 - values[2])
    assert turned.item() == pytest.approx(loss, abs=1e-7)


def test_returns_are_sums_or_means_of_the_frames_that_are_there():
    rewards = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert segment_returns(rewards, mask).tolist() == [7.0, 3.0]
    assert segment_returns(rewards, mask, "mean").tolist() == pytest.approx([7 / 3, 1.5])
    p = torch.sigmoid(preference_logits(*segment_returns(rewards, mask)))
    assert p.item() == pytest.approx(0.9820138)  # sigmoid(7 - 3)
    with pytest.raises(UsageError, match="aggregate"):
        segment_returns(rewards, mask, "max")


def test_the_softmax_of_the_papers_equation_is_this_sigmoid():
    first, second = torch.randn(50, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    softmax = torch.softmax(torch.stack([first, second]), dim=0)[0]
    assert torch.allclose(torch.sigmoid(preference_logits(first, second)), softmax)


# -- calibration --------------------------------------------------------------------------------------------------


def test_calibration_by_hand():
    p = np.array([0.95, 0.05, 0.65, 0.65, 0.5])
    labels = np.array([1.0, 0.0, 1.0, 0.0, 0.5])
    found = calibrate(p, labels, num_bins=5)  # bins 0.5-0.6, 0.6-0.7, ..., 0.9-1
    assert [(b.count, round(b.confidence, 3), b.accuracy) for b in found.bins] == [
        (1, 0.5, 0.5), (2, 0.65, 0.5), (2, 0.95, 1.0)]  # fmt: skip
    assert found.ece == pytest.approx((0 + 2 * 0.15 + 2 * 0.05) / 5)
    assert found.accuracy == pytest.approx(3 / 4) and found.pairs == 5
    expected = -(2 * math.log(0.95) + math.log(0.65) + math.log(0.35) + math.log(0.5)) / 5
    assert found.loss == pytest.approx(expected)
    assert calibrate(np.zeros(0), np.zeros(0)).ece is None
    assert calibrate(np.array([0.5]), np.array([1.0])).accuracy == 0.5
    assert calibrate(np.array([0.7]), np.array([0.5])).accuracy is None
    for arguments in ((np.zeros(2), np.zeros(3)), (np.zeros(2), np.zeros(2), 0)):
        with pytest.raises(UsageError, match="calibration"):
            calibrate(*arguments)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_calibration_is_the_same_for_pairs_turned_round(count, seed):
    rng = np.random.default_rng(seed)
    p, labels = rng.random(count), rng.choice([0.0, 0.5, 1.0, 0.3], count)
    one, other = calibrate(p, labels), calibrate(1 - p, 1 - labels)
    assert one.ece == pytest.approx(other.ece, abs=1e-9) and one.accuracy == other.accuracy
    assert sum(b.count for b in one.bins) == count and 0 <= one.ece <= 1


def test_accuracy_by_progress_gap_by_hand():
    gaps = np.array([0.1, -0.2, 0.3, -0.4, 0.0, 0.5, 9.0])
    labels = np.array([0.0, 0.0, 0.5, 0.2, 1.0, 0.9, np.nan])
    found = accuracy_by_gap(gaps, labels, 2)
    assert [(b.low, b.high, b.count) for b in found] == [(0.1, 0.3, 3), (0.4, 0.5, 2)]
    assert [b.accuracy for b in found] == [0.5, 1.0]  # wrong, right, a tie; right, right
    assert accuracy_by_gap(np.zeros(3), np.ones(3)) == ()
    with pytest.raises(UsageError, match="accuracy"):
        accuracy_by_gap(np.zeros(3), np.ones(2))


# -- split --------------------------------------------------------------------------------------------------------


def test_a_pair_its_twin_and_its_second_opinion_are_on_one_side_for_good():
    pairs = some_pairs(300)
    held_out = split_pairs(pairs, 0.2)
    assert 0.13 < held_out.mean() < 0.27
    assert (split_pairs([p.turned for p in pairs], 0.2) == held_out).all()
    assert (split_pairs(pairs[:100], 0.2) == held_out[:100]).all(), "a pair changed sides when more came"
    assert (split_pairs(pairs, 0.2, seed=1) != held_out).any()


def test_small_sets_keep_something_on_both_sides():
    for count in range(2, 12):
        for share in (0.01, 0.15, 0.99):
            held_out = split_pairs(some_pairs(count), share)
            assert held_out.any() and not held_out.all()
    assert not split_pairs(some_pairs(1), 0.9).any() and not split_pairs(some_pairs(9), 0.0).any()
    with pytest.raises(UsageError, match="validation"):
        split_pairs([], 1.0)


def test_segments_are_kept_once_padded_and_abstentions_left_out():
    long, short, other = segment(1, 2, 3), segment(4), segment(5, 6)
    rows = [
        (Pair(long, short), 1.0),
        (Pair(short, long), 0.0),
        (Pair(long, other), None),
        (Pair(other, short), 0.5),
    ]
    data = label_pairs([(p, Answer(y, "x")) for p, y in rows], lambda s: [x.frames for x in s], 0.3)
    assert data.items.shape == (3, 3, 8, 8, 3) and data.items.dtype == np.uint8
    assert data.mask.sum(axis=1).tolist() == [3, 1, 2] and data.pairs.tolist() == [[0, 1], [1, 0], [2, 1]]
    assert data.labels.tolist() == [1.0, 0.0, 0.5] and data.abstained == 1
    assert data.is_validation[0] == data.is_validation[1]
    with pytest.raises(UsageError, match="answers: got 2 answers, 2 of them abstentions"):
        label_pairs([(p, Answer(None, "x")) for p, _ in rows[:2]], lambda s: [x.frames for x in s], 0.3)
    mixed = [(Pair(segment(1), segment(2, side=16)), Answer(1.0, "x"))]
    with pytest.raises(UsageError, match="segments: got"):
        label_pairs(mixed, lambda s: [x.frames for x in s], 0.0)


# -- learning -----------------------------------------------------------------------------------------------------


def test_the_order_is_learned_from_embeddings_and_the_output_standardised():
    reward = PreferenceReward(FakeEncoder(), QUICK)
    assert (
        isinstance(reward, RewardModel) and isinstance(reward, EmbeddingReward) and reward.reads == "frames"
    )
    pool = reward.encoder.embed_images(reds(*range(0, 256, 3)))
    report = reward.fit(answered(200), pool=pool)
    scores = reward.compute_reward(reds(*range(0, 256, 3)))
    assert scores.dtype == torch.float32 and not scores.requires_grad
    assert np.corrcoef(np.argsort(np.argsort(scores.numpy())), np.arange(len(scores)))[0, 1] > 0.98
    assert scores.mean().item() == pytest.approx(0, abs=1e-5)
    assert scores.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(scores, reward.reward_of_embeddings(pool))
    assert report.validation_result.accuracy > 0.9 and report.training + report.validation == 200
    assert report.validation_result.ece < 0.2 and report.abstained == 0 and report.best_epoch > 0
    assert len(reward.compute_reward(np.zeros((0, 8, 8, 3), np.uint8))) == 0


def test_ties_and_soft_labels_are_learned_as_such():
    even = [(p, Answer(0.5, "x")) for p in some_pairs(60)]
    reward = PreferenceReward(FakeEncoder(), QUICK)
    report = reward.fit(even)
    assert report.ties == 60 and report.training_result.accuracy is None
    assert np.abs(reward.probabilities([p for p, _ in even]) - 0.5).max() < 0.1
    three_quarters = [(pair(255, 0), Answer(0.75, "x"))] * 20
    always = replace(
        QUICK, fit=replace(QUICK.fit, validation=0.0, max_epochs=200, weight_decay=0.0, patience=None)
    )
    sure = PreferenceReward(FakeEncoder(), always)
    sure.fit(three_quarters)
    assert sure.probabilities([pair(255, 0), pair(0, 255)]).tolist() == pytest.approx([0.75, 0.25], abs=0.01)


def test_an_abstention_is_counted_and_never_learned_from():
    """RL-VLM-F drops labels without a word; here the report says how many."""
    rows = answered(60)
    silent = [(p, Answer(None, "x", "refused")) for p in some_pairs(30, seed=9)]
    with_silence, without = (PreferenceReward(FakeEncoder(), QUICK) for _ in range(2))
    report = with_silence.fit([*rows, *silent])
    assert (report.answers, report.abstained) == (90, 30)
    without.fit(rows)
    frames = reds(0, 50, 100)
    assert torch.equal(with_silence.compute_reward(frames), without.compute_reward(frames))


def test_segments_of_several_lengths_and_given_embeddings():
    rng = np.random.default_rng(0)
    pairs = [
        Pair(segment(*rng.integers(0, 255, 3).tolist()), segment(int(red)))
        for red in rng.integers(0, 255, 80)
    ]
    means = replace(QUICK, fit=replace(QUICK.fit, aggregate="mean"))
    reward = PreferenceReward(FakeEncoder(), means)
    answers = OracleLabeller().answer(pairs, QUESTION)
    report = reward.fit(list(zip(pairs, answers, strict=True)))
    assert report.training_result.accuracy > 0.85
    encoder = reward.encoder
    given = [type(p)(*(replace(s, embeddings=encoder.embed_images(s.frames).numpy()) for s in (p.first, p.second))) for p in pairs]  # fmt: skip
    encoder.num_frames = 0
    again = PreferenceReward(encoder, means)
    assert again.fit(list(zip(given, answers, strict=True))) == report and encoder.num_frames == 0


def test_the_same_seed_learns_the_same_and_another_something_else():
    rows, frames = answered(60), reds(0, 99, 200)
    scores = []
    for seed in (0, 0, 1):
        reward = PreferenceReward(FakeEncoder(), replace(QUICK, fit=replace(QUICK.fit, seed=seed)))
        reward.fit(rows)
        scores.append(reward.compute_reward(frames))
    assert torch.equal(scores[0], scores[1]) and not torch.equal(scores[0], scores[2])


def test_refitting_warm_goes_on_and_fresh_starts_anew():
    rows = answered(120)
    short = replace(QUICK, fit=replace(QUICK.fit, max_epochs=2))
    reward = PreferenceReward(FakeEncoder(), short)
    first = reward.fit(rows)
    for _ in range(6):
        warm = reward.fit(rows, warm=True)
    assert warm.validation_result.loss < first.validation_result.loss and reward.fits == 7
    before = reward.compute_reward(reds(10, 200))
    fresh = reward.fit(rows)
    assert fresh.validation_result.loss > warm.validation_result.loss
    assert not torch.equal(reward.compute_reward(reds(10, 200)), before)


def test_random_labels_teach_nothing_and_flipped_labels_the_opposite():
    pairs = some_pairs(300)
    noise = np.random.default_rng(0).integers(0, 2, 300).astype(float)
    random = PreferenceReward(FakeEncoder(), QUICK)
    random.fit([(p, Answer(y, "x")) for p, y in zip(pairs, noise, strict=True)])
    truth = answered(200, seed=5)
    right = np.array([a.label for _, a in truth])
    sure = np.abs(random.probabilities([p for p, _ in truth]) - 0.5).mean()
    assert sure < 0.15, "noise made it sure of something"
    blind = replace(QUICK, fit=replace(QUICK.fit, learning_rate=1.0, patience=3))  # every pass makes it worse
    frames = reds(0, 99, 200)
    deaf = PreferenceReward(FakeEncoder(), blind)
    assert deaf.fit([(p, Answer(y, "x")) for p, y in zip(pairs, noise, strict=True)]).best_epoch == 0
    assert deaf.is_flat and not deaf.compute_reward(frames).any(), (
        "an untrained network's opinion was blown up"
    )
    assert deaf.fit(answered(200), warm=True).best_epoch > 0 or not deaf.compute_reward(frames).any()
    deaf.fit_config = QUICK.fit
    assert deaf.fit(answered(200), warm=True).best_epoch > 0 and deaf.compute_reward(frames).any()
    flipped = PreferenceReward(FakeEncoder(), QUICK)
    flipped.fit(answered(200, flip=1.0))
    assert np.mean((flipped.probabilities([p for p, _ in truth]) > 0.5) == right) < 0.1


@pytest.mark.parametrize("count", [20, 150])
def test_labels_that_teach_nothing_leave_no_reward_whatever_early_stopping_found(count):
    """A pass that fits the held-out noise by chance is no lesson: standardised, it would be the whole reward."""
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 2, count).astype(float)
        rows = [(p, Answer(y, "x")) for p, y in zip(some_pairs(count, seed), noise, strict=True)]
        reward = PreferenceReward(FakeEncoder(), QUICK)
        report = reward.fit(rows)
        assert (
            reward.is_flat and not reward.compute_reward(reds(0, 99, 200)).any() and report.evidence < CLEAR
        )
        assert (reward.probabilities([p for p, _ in rows]) == 0.5).all()
    assert reward.fit(answered(150), warm=True).evidence > CLEAR and not reward.is_flat


@pytest.mark.parametrize(("count", "oracle"), [(30, {}), (200, {"flip": 0.2}), (60, {"temperature": 5.0, "soft": True})])  # fmt: skip
def test_labels_that_teach_something_are_told_from_noise_however_faint(count, oracle):
    reward = PreferenceReward(FakeEncoder(), QUICK)
    assert reward.fit(answered(count, **oracle)).evidence >= CLEAR and not reward.is_flat


def test_a_warm_reward_goes_when_all_labels_together_teach_nothing():
    reward = PreferenceReward(FakeEncoder(), QUICK)
    reward.fit(answered(40))
    assert not reward.is_flat
    reward.fit([*answered(150), *answered(150, flip=1.0)], warm=True)
    assert reward.is_flat and not reward.compute_reward(reds(0, 99)).any()


def test_evidence_by_hand():
    logits, labels = np.array([3.0, -0.1, 2.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.5])
    assert beyond_chance(logits, labels) == pytest.approx((0.5 + 0.5 - 0.5) / math.sqrt(3 * 0.25))
    assert beyond_chance(logits, 1 - labels) == -beyond_chance(logits, labels)
    assert beyond_chance(logits[:2], np.array([0.6, 0.2])) == pytest.approx(0.4 / math.sqrt(0.01 + 0.09))
    assert beyond_chance(logits, np.full(4, 0.5)) == 0.0 and beyond_chance(np.zeros(4), labels) == 0.0
    unchecked = replace(QUICK, fit=replace(QUICK.fit, validation=0.0))
    reward = PreferenceReward(FakeEncoder(), unchecked)
    assert reward.fit(answered(40)).evidence is None and not reward.is_flat


def test_it_stops_early_and_keeps_the_best_pass():
    patient = replace(QUICK.fit, max_epochs=400, patience=5, learning_rate=3e-2)
    noisy = PreferenceReward(FakeEncoder(), replace(QUICK, fit=patient))
    report = noisy.fit(answered(80, flip=0.4))
    assert report.epochs < 400 and report.epochs == report.best_epoch + 5
    eager = PreferenceReward(
        FakeEncoder(), replace(QUICK, fit=replace(patient, stop_accuracy=0.9, patience=None))
    )
    report = eager.fit(answered(80))
    assert report.epochs < 400 and report.training_result.accuracy >= 0.9


def test_a_flat_reward_is_not_blown_up():
    reward = PreferenceReward(FakeEncoder(), QUICK)
    reward.fit(answered(40))
    reward.standardise(reward.encoder.embed_images(reds(7, 7, 7)))
    assert reward.is_flat and reward.scale == 1.0
    with pytest.raises(UsageError, match="pool: got no frames"):
        reward.standardise(np.zeros((0, 4), np.float32))


def test_a_reward_that_learned_nothing_says_so(tmp_path: Path):
    for reward in (PreferenceReward(FakeEncoder()), PixelPreferenceReward()):
        for use in (lambda r: r.compute_reward(reds(1)), lambda r: r.save(tmp_path / "x"), lambda r: r.segment_returns(np.zeros((1, 1, 4)))):  # fmt: skip
            with pytest.raises(UsageError, match="learned nothing"):
                use(reward)
        with pytest.raises(UsageError, match="answers: got 0"):
            reward.fit([])


def test_a_loss_that_is_not_finite_leaves_the_reward_as_it_was():
    reward = PreferenceReward(FakeEncoder(), QUICK)
    reward.fit(answered(40))
    before = reward.compute_reward(reds(1, 100))
    broken = [
        (Pair(replace(p.first, embeddings=np.full((1, 4), np.nan)), p.second), a) for p, a in answered(40)
    ]
    with pytest.raises(FloatingPointError, match="preference loss: got nan in pass 1"):
        reward.fit(broken, warm=True)
    assert torch.equal(reward.compute_reward(reds(1, 100)), before) and reward.fits == 1


@pytest.mark.parametrize("values", [{"batch_size": 0}, {"max_epochs": 0}, {"learning_rate": math.nan}, {"validation": 1.0}])  # fmt: skip
def test_bad_settings_of_a_fit(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        FitConfig(**values)


def test_bad_settings_of_networks():
    for cls, values in (
        (HeadConfig, {"members": 0}), (HeadConfig, {"hidden": (0,)}), (ConvConfig, {"members": 0}),
        (ConvConfig, {"kernels": (3,)}), (ConvConfig, {"kernels": (), "channels": (), "strides": ()}),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            cls(**values)
    with pytest.raises(UsageError, match=r"frames: got 32x64 pixels.*64 is enough"):
        PixelEnsemble(32, 64, ConvConfig(), torch.Generator())


def test_stacked_heads_are_the_single_heads():
    ensemble = EmbeddingEnsemble(5, HeadConfig(3, (7, 4)), torch.Generator().manual_seed(0))
    x = torch.randn(3, 6, 5)
    ensemble.set_inputs(torch.randn(40, 5) * 3 + 2)
    for e, rewards in enumerate(ensemble(x)):
        h = (x[e] - ensemble.mean) / ensemble.scale
        for i, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
            h = h @ weight[e] + bias[e]
            h = torch.nn.functional.silu(h) if i < 2 else h
        assert torch.allclose(rewards, h[:, 0], atol=1e-5)


# -- pixels -------------------------------------------------------------------------------------------------------


def test_the_cnn_is_rl_vlm_fs():
    ensemble = PixelEnsemble(64, 64, ConvConfig(), torch.Generator().manual_seed(0))
    convs = [m for m in ensemble.members[0] if isinstance(m, torch.nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for c in convs] == [
        (16, 5, 3, 0), (32, 3, 2, 0), (64, 3, 2, 0), (128, 3, 2, 0)]  # fmt: skip
    assert len(ensemble.members) == 3
    frames = torch.randint(0, 256, (3, 4, 64, 64, 3), dtype=torch.uint8)
    rewards = ensemble(frames)
    assert rewards.shape == (3, 4) and rewards.abs().max() < 1
    config = PixelPreferenceConfig().fit
    assert (config.learning_rate, config.batch_size, config.stop_accuracy) == (3e-4, 64, 0.97)


def test_the_order_is_learned_from_pixels_and_active_sampling_reads_images(tmp_path: Path):
    reward = PixelPreferenceReward(PIXELS)
    assert isinstance(reward, RewardModel) and not isinstance(reward, EmbeddingReward)
    report = reward.fit(answered(64, side=64))
    scores = reward.compute_reward(reds(0, 80, 160, 240, side=64))
    assert (scores.diff() > 0).all() and report.training_result.accuracy > 0.9
    frames = np.zeros((40, 1, 64, 64, 3), np.uint8)
    frames[..., 0] = (np.arange(40) * 6)[:, None, None, None]
    pool = SegmentPool(PoolConfig())
    pool.add(np.zeros((40, 1), bool), frames=frames)
    for sampler in (Disagreement(reward, 3), Entropy(reward, 3)):
        assert len(sampler.sample(pool, 10, np.random.default_rng(0))) == 10
    reward.save(tmp_path / "pixels")
    back = PixelPreferenceReward.load(tmp_path / "pixels")
    assert torch.equal(back.compute_reward(reds(3, 9, side=64)), reward.compute_reward(reds(3, 9, side=64)))
    with pytest.raises(UsageError, match=r"frames: got shape \(1, 48, 48, 3\)"):
        reward.compute_reward(reds(1, side=48))
    with pytest.raises(UsageError, match="one of pixels; expected one of embeddings"):
        PreferenceReward.load(tmp_path / "pixels", FakeEncoder())


def test_float_frames_are_refused_everywhere():
    """RL-VLM-F's buffers hold float frames: four times the memory."""
    floats = [(Pair(*(type(s)(s.frames / np.float32(255)) for s in (p.first, p.second))), a) for p, a in answered(4, side=64)]  # fmt: skip
    with pytest.raises(UsageError, match=r"frames: got float32; expected uint8"):
        PixelPreferenceReward(PIXELS).fit(floats)
    reward = PixelPreferenceReward(replace(PIXELS, fit=replace(PIXELS.fit, max_epochs=1)))
    reward.fit(answered(4, side=64))
    with pytest.raises(UsageError, match="float64"):
        reward.compute_reward(reds(1, side=64) / 255)


# -- relabelling --------------------------------------------------------------------------------------------------


class NthReward:
    """Reward a vector's first number times `factor`; NaN for numbers above 900."""

    reads = "frames"
    encoder = FakeEncoder()

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.largest = 0

    def compute_reward(self, batch):
        raise AssertionError("frames were read")

    def reward_of_embeddings(self, embeddings: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(embeddings))
        assert embeddings.dtype == torch.float32
        return torch.where(embeddings[:, 0] > 900, torch.nan, embeddings[:, 0] * self.factor)


def test_everything_is_relabelled_after_a_buffer_wraps():
    """RL-VLM-F relabels [0, idx) only: once its buffer wraps, most rewards go stale."""
    ring, rewards = EmbeddingRing(10, 2, 3), np.full((10, 2), -1, np.float32)
    for step in range(7):
        assert ring.add(np.full((2, 3), step)) == step
    assert ring.relabel(NthReward(), rewards) == 14 and len(ring) == 7
    assert (rewards[:7] == np.arange(7)[:, None]).all() and (rewards[7:] == -1).all()
    for step in range(7, 13):
        ring.add(torch.full((2, 3), float(step)))
    assert ring.pos == 3 and ring.is_full
    assert ring.relabel(NthReward(2.0), rewards) == 20
    assert rewards[:, 0].tolist() == [20, 22, 24, 6, 8, 10, 12, 14, 16, 18]


def test_relabelling_is_bounded_keeps_shapes_and_reads_memory_maps(tmp_path: Path):
    vectors = np.random.default_rng(0).random((50, 4, 3)).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    reward = NthReward()
    found = relabel(reward, np.load(tmp_path / "vectors.npy", mmap_mode="r"), chunk=32)
    assert found.shape == (50, 4) and found.dtype == np.float32 and reward.largest == 32
    assert (found == vectors[..., 0].astype(np.float32)).all()
    out = np.zeros((50, 4), np.float32)
    assert relabel(reward, vectors, out) is out and (out == found).all()
    assert relabel(reward, np.zeros((0, 3), np.float32)).shape == (0,)
    with pytest.raises(UsageError, match="relabel: got out of shape"):
        relabel(reward, vectors, np.zeros((4, 50), np.float32))
    with pytest.raises(UsageError, match="contiguous"):
        relabel(reward, vectors, np.zeros((4, 50), np.float32).T)
    vectors[7, 2, 0] = 1000
    with pytest.raises(NonFiniteError, match="learned reward: got nan at step 7, world 2"):
        relabel(reward, vectors)


def test_a_row_of_nan_keeps_its_reward():
    ring, rewards = EmbeddingRing(4, 2, 3), np.full((4, 2), 5, np.float32)
    ring.add(np.array([[1.0] * 3, [np.nan] * 3]))
    ring.add(np.full((2, 3), np.nan))
    assert ring.relabel(NthReward(), rewards) == 4
    assert rewards.tolist() == [[1, 5], [5, 5], [5, 5], [5, 5]]
    assert relabel(NthReward(), ring.embeddings[:2]).tolist() == [[1, 0], [0, 0]]
    with pytest.raises(NonFiniteError, match="at step 0, world 1"):
        relabel(NthReward(), np.array([[[1.0, 1, 1], [np.nan, 1, 1]]]))


def test_a_ring_of_another_shape():
    with pytest.raises(UsageError, match="capacity"):
        EmbeddingRing(0, 1, 3)
    ring = EmbeddingRing(4, 2, 3)
    assert ring.embeddings.dtype == np.float16
    with pytest.raises(UsageError, match="embeddings: got"):
        ring.add(np.zeros((3, 3)))
    with pytest.raises(UsageError, match="rewards: got"):
        ring.relabel(NthReward(), np.zeros((4, 3), np.float32))


def test_a_refit_relabels_as_scoring_anew_would():
    reward = PreferenceReward(FakeEncoder(), QUICK)
    embeddings = reward.encoder.embed_images(reds(*range(0, 250, 10))).numpy().reshape(5, 5, 4)
    for rows in (answered(40), answered(80, flip=1.0)):
        reward.fit(rows)
        expected = reward.compute_reward(reds(*range(0, 250, 10))).numpy().reshape(5, 5)
        np.testing.assert_allclose(relabel(reward, embeddings, chunk=3), expected, atol=1e-5)


# -- on disk ------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_it_scores_the_same_and_fits_on_alike(tmp_path: Path):
    rows = answered(60)
    reward = PreferenceReward(FakeEncoder(), QUICK)
    reward.fit(rows)
    reward.save(tmp_path / "reward")
    back = PreferenceReward.load(tmp_path / "reward", FakeEncoder())
    frames = reds(0, 30, 230)
    assert torch.equal(back.compute_reward(frames), reward.compute_reward(frames))
    assert back.report == reward.report and back.config == reward.config and back.fits == 1
    for one in (reward, back):
        one.fit(rows, warm=True)
    assert torch.equal(back.compute_reward(frames), reward.compute_reward(frames))
    reward.save(tmp_path / "reward")
    assert len(list((tmp_path / "reward").iterdir())) == 2
    record = json.loads((tmp_path / "reward" / RECORD).read_text())
    assert record["encoder"] == "fake" and record["report"]["validation_result"]["bins"]


def test_a_kill_between_the_two_files_leaves_the_old_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vlmrl.preferences import weights

    reward = PreferenceReward(FakeEncoder(), QUICK)
    reward.fit(answered(40))
    reward.save(tmp_path / "reward")
    before = reward.compute_reward(reds(1, 100))
    reward.fit(answered(60, flip=1.0))
    replace_file = weights.replace_file

    def dies(path: Path, data: bytes) -> None:
        if path.name == RECORD:
            raise KeyboardInterrupt
        replace_file(path, data)

    monkeypatch.setattr(weights, "replace_file", dies)
    with pytest.raises(KeyboardInterrupt):
        reward.save(tmp_path / "reward")
    back = PreferenceReward.load(tmp_path / "reward", FakeEncoder())
    assert torch.equal(back.compute_reward(reds(1, 100)), before)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path):
    reward = PreferenceReward(FakeEncoder(), QUICK)
    reward.fit(answered(40))
    folder = tmp_path / "reward"

    def saved() -> tuple[Path, Path]:
        reward.save(folder)
        return folder / RECORD, next(folder.glob("*.safetensors"))

    def refused(match: str) -> None:
        with pytest.raises(UsageError, match=match) as error:
            PreferenceReward.load(folder, FakeEncoder())
        assert "\n" not in str(error.value)

    refused("a folder with a saved reward")
    record, tensors = saved()
    tensors.write_bytes(tensors.read_bytes()[:-1])
    refused("altered or cut off")
    tensors.unlink()
    refused("safetensors .No such file")
    for old, new, match in (
        ('"version": 1', '"version": 2', "version 2"), ('"format": "vlmrl-', '"format": "x', "another kind"),
        ("{", "[", "a reward's record"), ('"mean"', '"moan"', "does not fit"),
        ('"hidden": [\n    16', '"hidden": [\n    17', "does not fit"),
    ):  # fmt: skip
        record, _ = saved()
        text = record.read_text()
        assert old in text
        record.write_text(text.replace(old, new, 1))
        refused(match)
    saved()

    class Other(FakeEncoder):
        def embed_texts(self, texts):
            return super().embed_texts(texts).roll(1, dims=1)

    with pytest.raises(UsageError, match=r"encoder: got fake .*load_encoder\('fake'\)"):
        PreferenceReward.load(folder, Other())
