"""GAE: hand-computed values, ends told apart, and a slow reference that says the same."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped

from vlmrl.agents.gae import gae

checked_gae: Any = jaxtyped(typechecker=beartype)(gae)
GAMMA, LAMBDA = 0.5, 0.5  # powers of two: the golden values below are exact


def run(rewards, values, next_values, terminated, truncated, valid=None, gamma=GAMMA, gae_lambda=LAMBDA):
    """Call gae on (T,) or (T, N) lists; return NumPy (advantages, returns) of the same shape."""
    shape = np.shape(rewards)
    grid = shape if len(shape) == 2 else (*shape, 1)
    floats = [jnp.asarray(x, jnp.float32).reshape(grid) for x in (rewards, values, next_values)]
    valid = np.ones(shape, bool) if valid is None else valid
    flags = [jnp.asarray(x, bool).reshape(grid) for x in (terminated, truncated, valid)]
    advantages, returns = checked_gae(*floats, *flags, gamma, gae_lambda)
    return np.asarray(advantages).reshape(shape), np.asarray(returns).reshape(shape)


def slow_gae(rewards, values, next_values, terminated, truncated, valid, gamma, gae_lambda):
    """Sum each row's TD errors forward until its episode ends: the definition, in plain Python floats."""
    steps, worlds = rewards.shape
    advantages = np.zeros((steps, worlds))
    for n in range(worlds):
        for t in range(steps):
            weight, total = 1.0, 0.0
            for k in range(t, steps):
                if not valid[k, n]:
                    break
                bootstrap = 0.0 if terminated[k, n] else gamma * float(next_values[k, n])
                total += weight * (float(rewards[k, n]) + bootstrap - float(values[k, n]))
                if terminated[k, n] or truncated[k, n]:
                    break
                weight *= gamma * gae_lambda
            advantages[t, n] = total
    return advantages, np.where(valid, advantages + values, 0.0)


def test_golden_without_ends():
    # deltas: 1 + .5*4 - 2 = 1;  2 + .5*6 - 4 = 1;  3 + .5*8 - 6 = 1;  trace factor .25
    advantages, returns = run([1, 2, 3], [2, 4, 6], [4, 6, 8], [0, 0, 0], [0, 0, 0])
    np.testing.assert_array_equal(advantages, [1.3125, 1.25, 1.0])
    np.testing.assert_array_equal(returns, [3.3125, 5.25, 7.0])


def test_golden_terminated_cuts_bootstrap_and_trace():
    # deltas: 1;  2 + 0 - 4 = -2 (V of the successor, 100, must not matter);  1
    advantages, returns = run([1, 2, 3], [2, 4, 6], [4, 100, 8], [0, 1, 0], [0, 0, 0])
    np.testing.assert_array_equal(advantages, [0.5, -2.0, 1.0])
    np.testing.assert_array_equal(returns, [2.5, 2.0, 7.0])


def test_golden_truncated_cuts_only_the_trace():
    # deltas: 1;  2 + .5*10 - 4 = 3 (bootstrapped from the true last observation's V, 10);  1
    advantages, returns = run([1, 2, 3], [2, 4, 6], [4, 10, 8], [0, 0, 0], [0, 1, 0])
    np.testing.assert_array_equal(advantages, [1.75, 3.0, 1.0])
    np.testing.assert_array_equal(returns, [3.75, 7.0, 7.0])


def test_golden_terminated_wins_over_truncated():
    both = run([1, 2, 3], [2, 4, 6], [4, 100, 8], [0, 1, 0], [0, 1, 0])
    terminated = run([1, 2, 3], [2, 4, 6], [4, 100, 8], [0, 1, 0], [0, 0, 0])
    np.testing.assert_array_equal(both, terminated)


def test_golden_reset_row_of_next_step_mode():
    # The episode is cut after row 0; row 1 is the reset's, with numbers that are nobody's; row 2 is new.
    advantages, returns = run(
        [1, np.nan, 3], [2, np.inf, 6], [4, np.nan, 8], [0, 0, 0], [1, 0, 0], valid=[1, 0, 1]
    )
    np.testing.assert_array_equal(advantages, [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(returns, [3.0, 0.0, 7.0])


def test_worlds_do_not_mix():
    rng = np.random.default_rng(0)
    rewards, values, next_values = rng.normal(size=(3, 6, 2))
    ends = rng.random((2, 6, 2)) < 0.3
    together = run(rewards, values, next_values, *ends)
    for n in range(2):
        alone = run(rewards[:, n], values[:, n], next_values[:, n], *ends[:, :, n])
        np.testing.assert_array_equal(np.stack(together)[..., n], np.stack(alone))


def test_lambda_one_is_the_discounted_return_and_lambda_zero_one_step():
    rewards, values = [1.0, 2.0, 4.0], [0.5, 0.25, 0.125]
    next_values = [0.25, 0.125, 8.0]
    _, returns = run(rewards, values, next_values, [0] * 3, [0] * 3, gae_lambda=1.0)
    np.testing.assert_allclose(returns, [4.0, 6.0, 8.0])  # 4 + 8/2 = 8; 2 + 8/2 = 6; 1 + 6/2 = 4
    _, returns = run(rewards, values, next_values, [0] * 3, [0] * 3, gae_lambda=0.0)
    np.testing.assert_allclose(returns, [1.125, 2.0625, 8.0])


def test_shapes_are_checked():
    three, four, flags = jnp.zeros((3, 1)), jnp.zeros((4, 1)), jnp.zeros((3, 1), bool)
    with pytest.raises(TypeCheckError):
        checked_gae(three, four, three, flags, flags, flags, 0.9, 0.9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    ends=st.floats(0, 1),
    gamma=st.floats(0, 1),
    gae_lambda=st.floats(0, 1),
    invalid=st.floats(0, 1),
)
def test_agrees_with_the_slow_reference(seed, ends, gamma, gae_lambda, invalid):
    rng = np.random.default_rng(seed)
    shape = (7, 3)  # one shape: every other would compile anew
    rewards, values, next_values = rng.normal(size=(3, *shape)).astype(np.float32)
    terminated, truncated = rng.random((2, *shape)) < ends
    valid = rng.random(shape) >= invalid
    expected = slow_gae(rewards, values, next_values, terminated, truncated, valid, gamma, gae_lambda)
    got = run(rewards, values, next_values, terminated, truncated, valid, gamma, gae_lambda)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
