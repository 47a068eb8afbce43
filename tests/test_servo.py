"""The humanoid driven by positions: within its motors' torques, where it was told to, and the same body otherwise."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest

import vlmrl_envs
from vlmrl_envs.errors import WorldError
from vlmrl_envs.humanoid.rules import Humanoid

vlmrl_envs.register_envs()
TORQUE, POSITION = Humanoid("standing"), Humanoid("standing", control="position")


def test_springs_ask_for_no_more_than_the_motors_give() -> None:
    model, rng = POSITION.driven, np.random.default_rng(0)
    data, limit = mujoco.MjData(model), model.actuator_gear[:, 0] * TORQUE.model.actuator_ctrlrange[:, 1]
    strongest = np.zeros(model.nu)
    for action in rng.uniform(-1, 1, (40, model.nu)):
        data.ctrl[:] = POSITION.drive(action[None])[0]
        mujoco.mj_step(model, data, POSITION.frame_skip)
        torque = np.abs(data.qfrc_actuator[model.jnt_dofadr[model.actuator_trnid[:, 0]]])
        assert (torque <= limit + 1e-9).all()
        strongest = np.maximum(strongest, torque / limit)
    assert (strongest > 0.99).mean() > 0.5  # and they do give that


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_arm_goes_where_it_is_told_to(side: str) -> None:
    envs = gymnasium.make_vec("vlmrl/Humanoid-v0", num_envs=1, vectorization_mode="vector_entry_point", pose="standing",
                              control="position")  # fmt: skip
    envs.reset(seed=0)
    model = POSITION.model
    names = [model.joint(int(j)).name for j in model.actuator_trnid[:, 0]]
    action = np.zeros((1, model.nu))
    action[0, names.index(f"{side}_elbow")] = 0.5
    for _ in range(30):
        envs.step(action)
    angle = envs.unwrapped.get_states()[0, 1 + model.joint(f"{side}_elbow").qposadr[0]]
    assert angle == pytest.approx(0.5 * model.joint(f"{side}_elbow").range[1], abs=0.15)
    envs.close()


def test_actions_reach_both_ends_of_every_joint_and_zero_is_standing() -> None:
    servo, model = POSITION._servo, POSITION.model
    assert servo is not None
    low, high = model.jnt_range[model.actuator_trnid[:, 0]].T
    ones = np.ones((1, model.nu))
    np.testing.assert_allclose(servo.angles(ones)[0], np.maximum(high, 0.0))
    np.testing.assert_allclose(servo.angles(-ones)[0], np.minimum(low, 0.0))
    assert not servo.angles(0 * ones).any()


def test_states_are_drawn_and_judged_as_of_the_body_driven_by_torques() -> None:
    drawn = [rules.sample_states(np.random.default_rng(1), 40) for rules in (TORQUE, POSITION)]
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(POSITION.success(drawn[0]), TORQUE.success(drawn[0]))
    np.testing.assert_array_equal(POSITION.model.actuator_gainprm, TORQUE.model.actuator_gainprm)
    assert TORQUE.driven is TORQUE.model and POSITION.driven is not POSITION.model


def test_another_control_is_refused_in_one_line() -> None:
    with pytest.raises(WorldError, match="control: got 'speed'; expected one of"):
        gymnasium.make_vec(
            "vlmrl/Humanoid-v0", num_envs=1, vectorization_mode="vector_entry_point", control="speed"
        )
