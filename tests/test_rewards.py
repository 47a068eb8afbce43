"""The goal-baseline reward against numbers worked out by hand, and the controls."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped

from vlmrl.errors import UsageError
from vlmrl.rewards.controls import BlankFrames, ConstantReward, random_encoder_reward, swapped_goal
from vlmrl.rewards.goal_baseline import GoalBaselineReward, goal_baseline_reward
from vlmrl.rewards.protocol import EmbeddingReward, RewardModel

# Worked out by hand from R = 1 - 1/2 ||(s-g)P||^2. First block: s = (.6, .8), g = (1, 0), b = (0, 1), so that
# s-g = (-.4, .8), d = (1, -1), the projection of s-g on d is (-.6, .6).
GOLDEN = [
    ((0.6, 0.8), (1, 0), (0, 1), 0.0, 0.6),  # 1 - (.16 + .64) / 2, the cosine
    ((0.6, 0.8), (1, 0), (0, 1), 1.0, 0.64),  # 1 - (.36 + .36) / 2
    ((0.6, 0.8), (1, 0), (0, 1), 0.5, 0.63),  # half of each: (-.5, .7), 1 - (.25 + .49) / 2
    ((1, 0), (1, 0), (0, 1), 0.3, 1.0),  # at the goal
    ((0, 1), (1, 0), (0, 1), 0.3, 0.0),  # at the baseline: s-g = -d, whatever alpha is
    ((-1, 0), (1, 0), (0, 1), 0.0, -1.0),
    # s-g = (-1, 0, 1), d = (1, -1, 0), projection (-1/2, 1/2, 0)
    ((0, 0, 1), (1, 0, 0), (0, 1, 0), 0.0, 0.0),
    ((0, 0, 1), (1, 0, 0), (0, 1, 0), 1.0, 0.75),  # 1 - (1/4 + 1/4) / 2
    ((0, 0, 1), (1, 0, 0), (0, 1, 0), 0.5, 0.5625),  # (-3/4, 1/4, 1/2): 1 - (9/16 + 1/16 + 4/16) / 2
    # Means of the prompts (1,0),(0,1) and (-1,0),(0,-1), no unit vectors: s-g = (.5, -.5) is normal to d
    ((1, 0), (0.5, 0.5), (-0.5, -0.5), 0.0, 0.75),  # 1 - 1/4; the cosine with a unit mean would be .7071
    ((1, 0), (0.5, 0.5), (-0.5, -0.5), 1.0, 1.0),
    ((1, 0), (0.5, 0.5), (-0.5, -0.5), 0.5, 0.9375),  # (1/4, -1/4): 1 - 1/16
]
WORDS = {
    "right": (1, 0),
    "up": (0, 1),
    "left": (-1, 0),
    "down": (0, -1),
    "also right": (1, 0),
    "nearly right": (1, 1e-9),
}


class WordEncoder:
    """An encoder of a plane: words are points, a frame is the point that its first pixel spells."""

    name = "words"
    embedding_dim = 2
    context_length = 4

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([WORDS[text.rstrip(".")] for text in texts], dtype=torch.float32).reshape(-1, 2)

    def embed_images(self, frames: np.ndarray) -> torch.Tensor:
        angles = torch.as_tensor(np.asarray(frames)[:, 0, 0, 0] * (np.pi / 180), dtype=torch.float32)
        return torch.stack([angles.cos(), angles.sin()], dim=-1)

    def is_truncated(self, texts: list[str]) -> list[bool]:
        return [text.endswith(".....") for text in texts]


def frames_at(*degrees: int) -> np.ndarray:
    frames = np.zeros((len(degrees), 16, 16, 3), np.uint8)
    frames[:, 0, 0, 0] = degrees
    return frames


@pytest.mark.parametrize(("image", "goal", "baseline", "alpha", "reward"), GOLDEN)
def test_golden_values(image, goal, baseline, alpha, reward):
    vectors = [torch.tensor(vector, dtype=torch.float32) for vector in (image, goal, baseline)]
    result = goal_baseline_reward(vectors[0][None], vectors[1], vectors[2], alpha)
    assert result.dtype == torch.float32 and result.shape == (1,)
    assert result.item() == pytest.approx(reward, abs=1e-6)
    in_numpy = [np.asarray(vector, dtype=np.float64) for vector in (image, goal, baseline)]
    again = goal_baseline_reward(in_numpy[0][None], in_numpy[1], in_numpy[2], alpha)
    assert isinstance(again, torch.Tensor) and again.item() == pytest.approx(reward, abs=1e-6)


def unit_vectors(seed: int, count: int, dim: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 64), st.floats(0, 1), st.integers(1, 3))
def test_equals_the_papers_form(seed, dim, alpha, prompts):
    """1 - 1/2 ||alpha proj_L s + (1-alpha) s - g||^2, L being the line through baseline and goal."""
    images = unit_vectors(seed, 5, dim)
    goal = unit_vectors(seed + 1, prompts, dim).mean(axis=0)
    baseline = unit_vectors(seed + 2, prompts, dim).mean(axis=0)
    direction = goal - baseline
    assume(np.linalg.norm(direction) > 0.05)
    along = (images - baseline) @ direction / (direction @ direction)
    on_line = baseline + along[:, None] * direction
    paper = 1 - 0.5 * np.square(alpha * on_line + (1 - alpha) * images - goal).sum(axis=1)
    ours = goal_baseline_reward(images, goal, baseline, alpha).numpy()
    np.testing.assert_allclose(ours, paper, atol=2e-5)
    assert (ours <= 1 + 1e-6).all() and (ours >= -1 - 1e-6).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 64))
def test_alpha_zero_is_the_cosine_and_alpha_one_has_one_dimension(seed, dim):
    images, (goal, baseline) = unit_vectors(seed, 5, dim), unit_vectors(seed + 1, 2, dim)
    assume(np.linalg.norm(goal - baseline) > 0.05)
    cosine = goal_baseline_reward(images, goal, baseline, 0.0).numpy()
    np.testing.assert_allclose(cosine, images @ goal, atol=1e-5)
    normal = np.random.default_rng(seed).normal(size=dim)
    direction = goal - baseline
    normal -= direction * (normal @ direction) / (direction @ direction)  # a step that alpha = 1 cannot see
    moved = goal_baseline_reward(images + normal, goal, baseline, 1.0)
    np.testing.assert_allclose(moved, goal_baseline_reward(images, goal, baseline, 1.0), atol=1e-4)


def test_a_batch_of_none_and_gradients():
    goal, baseline = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0], requires_grad=True)
    assert goal_baseline_reward(torch.empty(0, 2), goal, baseline, 0.5).shape == (0,)
    assert not goal_baseline_reward(torch.eye(2, requires_grad=True), goal, baseline, 0.5).requires_grad


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_the_unit_interval(alpha):
    with pytest.raises(UsageError, match=r"alpha: got .*\[0, 1\]"):
        goal_baseline_reward(torch.eye(2), torch.eye(2)[0], torch.eye(2)[1], alpha)
    with pytest.raises(UsageError, match="alpha: got "):
        GoalBaselineReward(WordEncoder(), "right", "up", alpha)


def test_shapes_that_do_not_fit():
    for images, goal, baseline in (
        (torch.ones(2), torch.ones(2), torch.zeros(2)),
        (torch.ones(3, 2), torch.ones(3), torch.zeros(3)),
        (torch.ones(3, 2), torch.ones(2), torch.zeros(1)),
        (torch.ones(3, 2), torch.ones(1, 2), torch.zeros(1, 2)),
    ):
        with pytest.raises(UsageError, match=r"images, goal, baseline: got .*\(B, D\), \(D,\), \(D,\)"):
            goal_baseline_reward(images, goal, baseline, 0.5)


def test_equal_vectors_have_no_direction_but_a_cosine():
    goal = torch.tensor([1.0, 0.0])
    assert goal_baseline_reward(torch.eye(2), goal, goal, 0.0).tolist() == [1.0, 0.0]
    with pytest.raises(UsageError, match=r"goal and baseline: got vectors that are equal.*alpha=0"):
        goal_baseline_reward(torch.eye(2), goal, goal, 0.5)


def test_the_reward_model_scores_frames_and_embeddings_alike():
    reward = GoalBaselineReward(WordEncoder(), "right", "up", alpha=0.0)
    assert reward.reads == "frames"
    assert isinstance(reward, RewardModel) and isinstance(reward, EmbeddingReward)
    frames = frames_at(0, 60, 90, 180)
    scores = reward.compute_reward(frames)
    assert scores.dtype == torch.float32
    assert scores.tolist() == pytest.approx([1.0, 0.5, 0.0, -1.0], abs=1e-5)
    assert torch.equal(scores, reward.reward_of_embeddings(reward.encoder.embed_images(frames)))


def test_prompt_lists_are_averaged_and_not_normalised_again():
    reward = GoalBaselineReward(WordEncoder(), ["right", "up"], ["left", "down"], alpha=0.5)
    assert reward.goal_embedding.tolist() == [0.5, 0.5]
    assert reward.baseline_embedding.tolist() == [-0.5, -0.5]
    assert reward.compute_reward(frames_at(0)).item() == pytest.approx(0.9375, abs=1e-6)


@pytest.mark.parametrize(
    ("goal", "baseline", "words"),
    [
        ("", "up", "goal: got '';"),
        ("right", "   ", "baseline: got ' ';"),
        ([], "up", "goal: got an empty list;"),
        (None, "up", "goal: got None;"),
        (["right", ""], ["up", "left"], "goal: got '';"),
        (["right", None], ["up", "left"], "goal: got None;"),
        (["right", "up"], "left", "goal and baseline: got 2 goals and 1 baselines;"),
        ("right", "right", "goal and baseline: got .'right'. and .'right'.;"),
        ("right", "nearly right", "goal and baseline: got "),
        (["right", "up"], ["up", "also right"], "goal and baseline: got "),
    ],
)
def test_bad_prompts_are_refused_in_one_line(goal, baseline, words):
    with pytest.raises(UsageError, match=words) as caught:
        GoalBaselineReward(WordEncoder(), goal, baseline)
    assert "\n" not in str(caught.value)


def test_without_alpha_the_baseline_may_equal_the_goal():
    assert GoalBaselineReward(WordEncoder(), "right", "right", alpha=0.0).compute_reward(frames_at(0)) == 1.0


def test_a_prompt_that_is_cut_warns():
    with pytest.warns(UserWarning, match=r"'right\.\.\.\.\.'\.\.\.: only its first 4 tokens are read"):
        GoalBaselineReward(WordEncoder(), "right.....", "up")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GoalBaselineReward(WordEncoder(), "right", "up")


@pytest.mark.parametrize("value", [1.0, 0.0, -2.5])
def test_the_constant_reward(value):
    reward = ConstantReward(value)
    assert isinstance(reward, RewardModel) and reward.reads == "frames"
    scores = reward.compute_reward(frames_at(0, 1, 2))
    assert scores.dtype == torch.float32 and scores.tolist() == [value] * 3
    assert ConstantReward(value, reads="states").compute_reward(np.zeros((2, 5))).shape == (2,)


def test_a_constant_must_be_finite():
    with pytest.raises(UsageError, match="value: got nan; expected a finite number"):
        ConstantReward(float("nan"))


def test_the_swapped_goal_asks_for_the_baseline():
    reward = GoalBaselineReward(WordEncoder(), "right", "up", alpha=0.5)
    swapped = swapped_goal(reward)
    assert (swapped.goal, swapped.baseline, swapped.alpha) == (["up"], ["right"], 0.5)
    assert swapped.compute_reward(frames_at(90)).item() == pytest.approx(1.0, abs=1e-6)


def test_the_random_encoder_reward_is_its_seed():
    goal, baseline = "a humanoid robot kneeling", "a humanoid robot"
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    one, same, other = (
        random_encoder_reward(goal, baseline, seed=seed, device="cpu").compute_reward(frames)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.isfinite(one).all() and one.std() > 0


def test_importing_the_rewards_loads_no_torch():
    code = "import sys, vlmrl.rewards; print([m for m in ('torch', 'open_clip') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_package_gives_its_names():
    import vlmrl.rewards as rewards

    assert all(getattr(rewards, name) is not None for name in rewards.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rewards.nothing


def test_annotations_hold_and_are_checked():
    checked = jaxtyped(typechecker=beartype)(goal_baseline_reward)
    assert checked(torch.eye(3), torch.eye(3)[0], torch.eye(3)[1], 0.5).shape == (3,)
    with pytest.raises(TypeCheckError):
        checked(torch.eye(3), torch.ones(2), torch.zeros(2), 0.5)


def test_a_lens_cap_earns_what_a_black_frame_does() -> None:
    class Brightness:
        reads = "frames"

        def compute_reward(self, batch: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(batch, np.float32).mean(axis=(1, 2, 3)) + 7.0)

    blind = BlankFrames(Brightness())
    frames = np.random.default_rng(0).integers(1, 256, (5, 8, 8, 3), dtype=np.uint8)
    assert isinstance(blind, RewardModel) and blind.compute_reward(frames).tolist() == [7.0] * 5
    assert blind.compute_reward(torch.as_tensor(frames)).tolist() == [7.0] * 5
    assert blind.compute_reward(frames[:0]).shape == (0,)
    with pytest.raises(UsageError, match="reward: got one that reads states"):
        BlankFrames(ConstantReward(reads="states"))
