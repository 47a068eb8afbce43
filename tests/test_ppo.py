"""PPO learns, repeats itself, survives a save, says where a NaN is, and ignores rows that do not count."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
from scipy import stats as reference

from vlmrl.agents import PPO, NonFiniteError, PPOConfig, Rollout, sb3_defaults
from vlmrl.agents.update import gather, no_evidence, ppo_update
from vlmrl.errors import UsageError

N, T, HORIZON = 16, 16, 5
OBS = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
BOX = gymnasium.spaces.Box(-0.5, 0.5, (1,), np.float32)
CHOICES = gymnasium.spaces.Discrete(2, start=3)
SMALL = PPOConfig(
    num_steps=T, hidden_sizes=(16,), learning_rate=1e-2, gamma=0.5, init_log_std=-1.0, num_minibatches=3
)
GSDE = replace(SMALL, sde=True, sde_sample_freq=4)


class Step(NamedTuple):
    obs: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_obs: np.ndarray


class Follow:
    """N worlds that pay for naming the first coordinate of a fresh random point; cut after HORIZON steps."""

    def __init__(self, discrete: bool, seed: int = 0) -> None:
        self.discrete, self.rng, self.age = discrete, np.random.default_rng(seed), 0
        self.obs = self._points()

    def _points(self) -> np.ndarray:
        return self.rng.uniform(-1, 1, (N, 2)).astype(np.float32)

    def step(self, actions: np.ndarray) -> Step:
        target = self.obs[:, 0]
        if self.discrete:
            rewards = (actions == CHOICES.start + (target > 0)).astype(float)
        else:
            rewards = -np.square(actions[:, 0] - 0.5 * target)
        self.age += 1
        ended = np.full(N, self.age % HORIZON == 0)
        last, self.obs = self._points(), self._points()
        final_obs = np.where(ended[:, None], last, self.obs)
        return Step(self.obs, rewards, np.zeros(N, bool), ended, final_obs)


def make(config: PPOConfig = SMALL, discrete: bool = False, seed: int = 0, **kwargs) -> PPO:
    return PPO(OBS, CHOICES if discrete else BOX, config, N, seed, **kwargs)


def collect(agent: PPO, envs: Follow, steps: int = T) -> Rollout:
    rows = []
    for _ in range(steps):
        obs = envs.obs
        drawn = agent.sample(obs)
        after = envs.step(drawn.actions)
        ends = (after.terminated, after.truncated)
        rows.append(
            (obs, drawn.raw_actions, drawn.log_probs, after.rewards, after.final_obs, *ends, np.ones(N, bool))
        )
    return Rollout(*(np.stack(column) for column in zip(*rows, strict=True)))


def train(agent: PPO, updates: int, envs: Follow) -> list[dict[str, float]]:
    return [agent.update(collect(agent, envs)) for _ in range(updates)]


def equal_states(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["discrete", "continuous", "gsde"])
def test_learns_in_a_few_updates(kind):
    discrete = kind == "discrete"
    config = GSDE if kind == "gsde" else SMALL
    agent, envs = make(config, discrete), Follow(discrete)
    train(agent, 40, envs)
    obs = Follow(discrete, seed=99).obs
    actions = agent.act(obs, deterministic=True)
    if discrete:
        assert (actions == CHOICES.start + (obs[:, 0] > 0)).mean() >= 0.9
    else:
        assert np.square(actions[:, 0] - 0.5 * obs[:, 0]).mean() < 0.01  # 0.083 for always 0


def test_the_update_is_compiled_once():
    ppo_update.clear_cache()
    train(make(), 3, Follow(False))
    assert ppo_update._cache_size() == 1


def test_actions_fit_the_space_and_log_probs_are_of_the_raw_ones():
    agent = make(replace(SMALL, init_log_std=0.5))
    obs = Follow(False).obs
    drawn = agent.sample(obs)
    assert drawn.actions.dtype == BOX.dtype and drawn.actions.shape == (N, 1)
    assert np.abs(drawn.raw_actions).max() > 0.5 and np.abs(drawn.actions).max() <= 0.5
    np.testing.assert_array_equal(drawn.actions, np.clip(drawn.raw_actions, -0.5, 0.5))
    # The first observations are normalised by mean 0 and variance 1, so the mean action is act's, unclipped.
    mean = agent.act(obs, deterministic=True)
    expected = reference.norm.logpdf(drawn.raw_actions, mean, np.exp(0.5)).sum(-1)
    np.testing.assert_allclose(drawn.log_probs, expected, rtol=1e-4)
    choice = make(discrete=True).sample(obs)
    assert set(choice.actions) == {3, 4} and set(choice.raw_actions) == {0, 1}
    np.testing.assert_allclose(choice.log_probs, np.log(0.5), atol=0.05)


def test_same_seed_same_numbers_other_seed_others():
    runs = []
    for seed in (0, 0, 1):
        agent = make(seed=seed)
        stats = train(agent, 3, Follow(False))
        runs.append((agent.state_dict(), stats))
    assert equal_states(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    assert not equal_states(runs[0][0], runs[2][0])


@pytest.mark.parametrize("sde", [False, True])
def test_continuing_after_a_save_is_equal_to_the_bit(sde, tmp_path):
    from safetensors.numpy import load_file, save_file

    config = replace(GSDE if sde else SMALL, anneal_lr=True, final_log_std=-2.0)
    agent, envs = make(config, total_updates=10), Follow(False)
    train(agent, 3, envs)
    collect(agent, envs, steps=2)  # in the middle of a noise function
    save_file(agent.state_dict(), tmp_path / "agent.safetensors")
    copy = make(config, seed=7, total_updates=10)
    copy.load_state_dict(load_file(tmp_path / "agent.safetensors"))
    assert copy.num_updates == 3
    straight = train(agent, 3, Follow(False, seed=5))
    resumed = train(copy, 3, Follow(False, seed=5))
    assert straight == resumed
    assert equal_states(agent.state_dict(), copy.state_dict())
    np.testing.assert_array_equal(agent.act(envs.obs), copy.act(envs.obs))


def test_a_state_dict_is_a_copy_and_a_foreign_one_is_refused():
    agent = make()
    before = agent.state_dict()
    train(agent, 1, Follow(False))
    assert not equal_states(before, agent.state_dict())
    for broken, words in (
        ({k: v for k, v in before.items() if k != "seed_key"}, "seed_key"),
        ({**before, "learner/running_return": np.zeros(3, np.float32)}, "(3,)"),
    ):
        now = agent.state_dict()
        with pytest.raises(UsageError, match="state_dict") as caught:
            agent.load_state_dict(broken)
        assert words in str(caught.value) and "num_envs" in str(caught.value)
        assert equal_states(now, agent.state_dict())


def test_acting_leaves_training_alone():
    one, other = make(), make()
    obs = Follow(False).obs
    first = one.act(obs)
    assert not np.array_equal(first, one.act(obs))
    one.act(obs[:3], deterministic=True)
    np.testing.assert_array_equal(one.sample(obs).raw_actions, other.sample(obs).raw_actions)


@pytest.mark.parametrize(("freq", "changes"), [(4, {4, 8}), (-1, set())])
def test_sde_noise_persists(freq, changes):
    agent = make(replace(GSDE, sde_sample_freq=freq))
    obs = np.full((N, 2), 0.5, np.float32)
    raw = [agent.sample(obs).raw_actions for _ in range(10)]
    assert {t for t in range(1, 10) if not np.array_equal(raw[t], raw[t - 1])} == changes
    assert len(np.unique(raw[0])) == N  # each world has its own
    rollout = collect(agent, Follow(False))
    before = agent.sample(obs).raw_actions
    agent.update(rollout)
    assert not np.array_equal(before, agent.sample(obs).raw_actions)  # a rollout starts with new noise


def test_sde_log_prob_is_that_of_the_marginal():
    agent = make(GSDE)
    obs = np.tile(np.array([[0.3, -0.7]], np.float32), (N, 1))
    state = agent.state_dict()
    weights, bias = (state[f"learner/params/policy/0/{part}"] for part in "wb")
    features = np.tanh(obs @ weights + bias)
    std = np.sqrt(np.square(features) @ np.exp(2 * state["learner/params/log_std"]) + 1e-6)
    drawn = agent.sample(obs)
    mean = agent.act(obs, deterministic=True)
    np.testing.assert_allclose(
        drawn.log_probs, reference.norm.logpdf(drawn.raw_actions, mean, std).sum(-1), rtol=1e-3, atol=1e-4
    )
    noise = agent.state_dict()["noise"]
    np.testing.assert_allclose(
        drawn.raw_actions, mean + np.einsum("nf,nfa->na", features, noise), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("field", ["rewards", "obs", "next_obs", "actions", "log_probs"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_broken_number_is_located_and_learnt_from_by_nothing(field, value):
    agent = make()
    rollout = collect(agent, Follow(False))
    before = agent.state_dict()
    broken = getattr(rollout, field).copy()
    broken[3, 1] = broken[4, 0] = value
    with pytest.raises(NonFiniteError, match=f"{field}: got {value} at step 3, world 1") as caught:
        agent.update(rollout._replace(**{field: broken}))
    assert (caught.value.step, caught.value.world) == (3, 1)
    assert equal_states(before, agent.state_dict())
    agent.update(rollout)  # and training can go on


def test_a_loss_that_overflows_is_reported_and_undone():
    agent = make()
    rollout = collect(agent, Follow(False))
    before = agent.state_dict()
    with pytest.raises(NonFiniteError, match="PPO's loss in update 0"):
        agent.update(rollout._replace(log_probs=np.full_like(rollout.log_probs, -1e30)))
    assert equal_states(before, agent.state_dict())


@pytest.mark.parametrize(("end", "low", "high"), [("truncated", 1.9, 2.1), ("terminated", 1.5, 1.8)])
def test_values_look_beyond_a_cut_but_not_beyond_an_end(end, low, high):
    # A reward of 1 for ever is worth 1 / (1 - 0.5) = 2; ended every 5 steps at an unseen age, 1.6 to 1.67.
    agent, envs = make(), Follow(False)
    for _ in range(40):
        rollout = collect(agent, envs)
        flags = {"terminated": np.zeros((T, N), bool), "truncated": np.zeros((T, N), bool)}
        flags[end] = rollout.truncated
        agent.update(rollout._replace(rewards=np.ones((T, N)), **flags))
    scale = np.sqrt(agent.state_dict()["learner/reward_stats/var"])
    assert low < agent.sample(envs.obs).values.mean() * scale < high


def test_invalid_rows_contribute_nothing():
    states, stats = [], []
    for garbage in (0.0, np.nan, 1e30):
        agent = make()
        rollout = collect(agent, Follow(False))
        valid = np.random.default_rng(0).random((T, N)) > 0.3
        fields = {}
        for name in ("obs", "actions", "log_probs", "rewards", "next_obs"):
            array = getattr(rollout, name).copy()
            array[~valid] = garbage
            fields[name] = array
        stats.append(agent.update(rollout._replace(valid=valid, **fields)))
        states.append(agent.state_dict())
    assert stats[0] == stats[1] == stats[2]
    assert equal_states(states[0], states[1]) and equal_states(states[0], states[2])
    assert states[0]["learner/obs_stats/size"] == valid.sum() == states[0]["learner/reward_stats/size"]


def test_a_rollout_without_a_valid_row_changes_no_weight():
    agent = make()
    before = agent.state_dict()
    rollout = collect(agent, Follow(False))
    agent.update(rollout._replace(valid=np.zeros((T, N), bool)))
    after = agent.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before if k.startswith("learner/"))


def test_values_given_or_computed_are_the_same():
    agents = make(), make()
    rollout = collect(agents[0], Follow(False))
    values = np.stack([agents[1].sample(obs).values for obs in rollout.obs])
    stats = agents[0].update(rollout), agents[1].update(rollout._replace(values=values))
    assert stats[0] == pytest.approx(stats[1], rel=1e-3, abs=1e-5)


def test_statistics_are_means_over_all_rows():
    config = replace(SMALL, learning_rate=0.0)
    agent, envs = make(config), Follow(False)
    rollouts = [collect(agent, envs)]
    agent.update(rollouts[0])
    rollouts.append(collect(agent, envs))  # by moved statistics of the observations
    stats = agent.update(rollouts[1])
    # At learning rate 0 every minibatch sees the policy that acted: ratio 1, KL 0, and the means are exact.
    assert stats["approx_kl"] == pytest.approx(0, abs=1e-6) and stats["clip_fraction"] == 0
    assert stats["entropy"] == pytest.approx(reference.norm.entropy(scale=np.exp(-1.0)), rel=1e-5)
    assert stats["action_std"] == pytest.approx(np.exp(-1.0), rel=1e-5)
    assert stats["learning_rate"] == 0 and "finite" not in stats and "rows" not in stats
    total = stats["policy_loss"] + 0.5 * stats["value_loss"]
    assert stats["loss"] == pytest.approx(total, rel=1e-5)
    state = agent.state_dict()
    rows = np.concatenate([rollout.obs.reshape(-1, 2) for rollout in rollouts])
    np.testing.assert_allclose(state["learner/obs_stats/mean"], rows.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state["learner/obs_stats/var"], rows.var(0), rtol=1e-4)


def test_target_kl_ends_an_update_early():
    config = replace(SMALL, learning_rate=0.1)
    rollout = collect(make(config), Follow(False))
    free = make(config).update(rollout)
    agent = make(replace(config, target_kl=1e-3))
    before = agent.state_dict()["learner/params/policy/0/w"]
    held = agent.update(rollout)
    assert held["approx_kl"] < free["approx_kl"]
    assert not np.array_equal(before, agent.state_dict()["learner/params/policy/0/w"])
    assert agent.state_dict()["learner/optimiser/1/count"] < config.num_epochs * config.num_minibatches


def test_learning_rate_falls_to_zero():
    agent = make(replace(SMALL, anneal_lr=True), total_updates=2)
    rates = [s["learning_rate"] for s in train(agent, 3, Follow(False))]
    assert rates == pytest.approx([1e-2, 5e-3, 0.0])


@pytest.mark.parametrize("sde", [False, True])
def test_the_deviation_goes_where_it_is_told_and_is_not_learned(sde):
    config = replace(GSDE if sde else SMALL, init_log_std=-1.0, final_log_std=-2.0)
    agent, seen = make(config, total_updates=2), []
    for _ in range(3):
        seen.append(np.unique(agent.state_dict()["learner/params/log_std"]).tolist())
        (stats,) = train(agent, 1, Follow(False))
        # at the update's own end it is still what the rollout was drawn with, so that the ratio is of the means alone
        assert stats["action_std"] == pytest.approx(np.exp(seen[-1][0]), rel=1e-5)
    assert seen == [[-1.0], [-1.5], [-2.0]]
    assert not np.array_equal(
        agent.act(Follow(False).obs), make(config, total_updates=2).act(Follow(False).obs)
    )


def test_reward_scale_carries_returns_across_rollouts_and_resets_at_ends():
    gamma = SMALL.gamma
    agent, envs = make(), Follow(False)
    rollouts = [collect(agent, envs), collect(agent, envs)]
    seen, total = [], np.zeros(N)
    for rollout in rollouts:
        agent.update(rollout)
        for rewards, ended in zip(rollout.rewards, rollout.terminated | rollout.truncated, strict=True):
            total = gamma * total + rewards
            seen.append(total)
            total = np.where(ended, 0.0, total)
    state = agent.state_dict()
    np.testing.assert_allclose(state["learner/running_return"], total, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state["learner/reward_stats/var"], np.var(seen), rtol=1e-4)


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: PPOConfig(gamma=1.5), ["gamma", "1.5", "[0, 1]"]),
        (lambda: PPOConfig(num_steps=0), ["num_steps", "0", ">= 1"]),
        (lambda: PPOConfig(activation="swish"), ["activation", "swish", "tanh"]),  # type: ignore[arg-type]
        (lambda: PPOConfig(learning_rate=float("nan")), ["learning_rate", "nan", "finite"]),
        (lambda: make(PPOConfig(sde=True), discrete=True), ["sde", "True", "discrete"]),
        (lambda: make(PPOConfig(anneal_lr=True)), ["total_updates", "None"]),
        (lambda: make(PPOConfig(final_log_std=-2.0)), ["total_updates", "None", "final_log_std"]),
        (lambda: PPOConfig(final_log_std=float("inf")), ["final_log_std", "inf", "finite"]),
        (
            lambda: make(PPOConfig(final_log_std=-2.0), discrete=True, total_updates=3),
            ["final_log_std", "discrete"],
        ),
        (lambda: make(seed=-1), ["seed", "-1"]),
        (
            lambda: PPO(gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8), BOX, SMALL, N, 0),
            ["observation_space", "(8, 8, 3)", "FlattenObservation"],
        ),
        (lambda: PPO(OBS, gymnasium.spaces.MultiBinary(2), SMALL, N, 0), ["action_space", "MultiBinary"]),
        (lambda: make().act(np.zeros((4, 3))), ["obs", "(4, 3)", "(B, 2)"]),
        (lambda: make().sample(np.zeros((4, 2))), ["obs", "(4, 2)", f"({N}, 2)"]),
        (lambda: make().update(short_rollout()), ["Rollout.terminated", f"({T - 1}, {N})", f"({T}, {N})"]),
    ],
)
def test_bad_input_says_what_to_do(make_it, words):
    with pytest.raises(UsageError) as caught:
        make_it()
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def short_rollout() -> Rollout:
    rollout = collect(make(), Follow(False))
    return rollout._replace(terminated=rollout.terminated[:-1])


def test_sb3_defaults_are_stable_baselines3s():
    import inspect

    from stable_baselines3 import PPO as TheirPPO

    theirs = {k: p.default for k, p in inspect.signature(TheirPPO.__init__).parameters.items()}
    ours = sb3_defaults(num_envs=4)
    assert ours.num_steps == theirs["n_steps"] and ours.num_epochs == theirs["n_epochs"]
    assert ours.num_steps * 4 / ours.num_minibatches == theirs["batch_size"]
    for mine, name in (("learning_rate",) * 2, ("clip_coef", "clip_range"), ("max_grad_norm",) * 2):
        assert getattr(ours, mine) == theirs[name]
    for name in ("gamma", "gae_lambda", "ent_coef", "vf_coef", "target_kl", "sde_sample_freq"):
        assert getattr(ours, name) == theirs[name]
    assert ours.sde == theirs["use_sde"] and ours.norm_adv == theirs["normalize_advantage"]
    assert not (ours.normalise_obs or ours.normalise_reward or ours.clip_vloss)


def test_the_configuration_needs_no_jax():
    code = "import sys, vlmrl.agents.buffer as b; b.Rollout; print('jax' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


@pytest.mark.parametrize("discrete", [True, False])
def test_without_evidence_the_policy_stays_and_the_first_evidence_moves_it(discrete):
    agent, envs = make(discrete=discrete), Follow(discrete)
    policy = {k: v for k, v in agent.state_dict().items() if "params/policy" in k}
    rng = np.random.default_rng(0)
    for _ in range(5):  # a constant reward, rounded differently in every row
        rollout = collect(agent, envs)
        noise = 4e-8 * rng.standard_normal(rollout.rewards.shape)
        agent.update(rollout._replace(rewards=noise.astype(np.float32)))
    after = agent.state_dict()
    assert policy and all(np.array_equal(after[k], v) for k, v in policy.items())
    agent.update(collect(agent, envs))
    moved = agent.state_dict()
    assert any(not np.array_equal(moved[k], v) for k, v in policy.items())


def test_evidence_is_a_difference_of_rewards_or_a_termination_and_is_remembered():
    ones, off, all_valid = np.ones((T, N), np.float32), np.zeros((T, N), bool), np.ones((T, N), bool)
    same, telling = gather(no_evidence(), 0.4 * ones, off, all_valid)
    assert not telling
    assert gather(same, 0.41 * ones, off, all_valid)[1]  # another level than in the rollout before
    last = off.copy()
    last[-1, 0] = True
    ended, telling = gather(same, 0.4 * ones, last, all_valid)
    assert telling and gather(ended, 0.4 * ones, off, all_valid)[1]
    assert not gather(same, 0.4 * ones, last, ~last)[1]  # a row that counts nothing tells nothing
    odd = np.where(last, 7.0, 0.4).astype(np.float32)
    assert not gather(same, odd, off, ~last)[1] and gather(same, odd, off, all_valid)[1]
    assert gather(no_evidence(), 1e-5 * (1 + odd), off, all_valid)[1]  # small units are no rounding
    assert not gather(no_evidence(), 1e-5 * (1 + odd), off, all_valid, resolution=1e-4)[1]
    assert gather(no_evidence(), 1e-5 * (1 + odd), last, all_valid, resolution=1e-4)[1]
