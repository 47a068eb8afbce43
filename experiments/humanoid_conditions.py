"""What the humanoid's experiments run: goals, conditions, seeds, horizons; all fixed before any run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.embedded import splits
from vlmrl.encoders.slow import PREFIX
from vlmrl.errors import usage_error
from vlmrl.runtime import resolve_device
from vlmrl.tasks import COMPOSITIONS, POSES, get_task
from vlmrl.training import RewardName, TrainConfig
from vlmrl_envs.humanoid.described import described

HORIZONS = (100, 400)
"""Steps of the humanoid's 15 ms: VLM-RM's episode, and 6 s."""
HUMANOID = tuple(f"humanoid_{pose}" for pose in (*COMPOSITIONS, *POSES))
"""What the encoder was never shown comes first."""
OTHER_BODY = ("walker2d_kneeling", "walker2d_sitting")
"""Two sentences on another of Gymnasium's bodies."""
TASKS = (*HUMANOID, *OTHER_BODY)
HARDEST = ("humanoid_one_leg", "humanoid_arms_crossed", "humanoid_hands_on_hips", "humanoid_lotus")
"""Fixed before any run: these have five seeds, the others three."""
REWARDS: dict[str, RewardName] = {
    "asked_rarely": "vlm", "asked_always": "vlm", "control_constant": "constant", "control_random_encoder": "random_encoder",
    "control_blank": "blank", "control_swapped_goal": "swapped_goal", "ceiling_state_similarity": "state_similarity",
}  # fmt: skip
"""Condition -> the reward of its runs."""
LARGE = {"simulated_large_vlm": 0.001, "simulated_large_vlm_always": 0.0001}
"""Conditions whose encoder answers as `embedded` does at the cost of `LARGE_MODEL`, asked rarely and always; and the share
of its frames that really pass through that model on a CPU, where each takes seconds. On a GPU all of them do."""
LARGE_MODEL = "ViT-L-14"
ALWAYS = ("asked_always", "simulated_large_vlm_always")
"""Conditions in which every state is scored. In all others whose rewards come from frames, controls too, a reward learned
from the answers stands in for the rest."""
QUERY_SHARE = 0.1
"""Share of the steps that those may ask about."""
NEVER_SAW = "encoder_never_saw"
"""The condition of an encoder whose training left the pose out, asked for it in other words."""
NEVER_SEEN = ("humanoid_kneeling", "humanoid_splits")
"""The poses that `experiments.embedded.left_out` leaves out."""
LEFT_OUT = Path("data") / "left_out" / "poses"
"""Where it puts that encoder."""
UNTRAINED = "control_untrained"
"""The condition of the same agent before any update: what the body does by itself."""
CONDITIONS = (*REWARDS, UNTRAINED, NEVER_SAW, *LARGE)
COMPARED = ("humanoid_kneeling", "humanoid_arms_raised", "humanoid_lotus")
"""The poses on which asking rarely is compared with asking always."""
CONTROLLED = (*COMPARED, "humanoid_one_leg")
"""The poses that controls are trained for; why so few are enough: experiments/README.md."""
THREE = (10, 11, 12)
PLAN: tuple[tuple[str, tuple[str, ...], tuple[int, ...] | None], ...] = (
    ("asked_rarely", TASKS, None),
    (UNTRAINED, HUMANOID, THREE),
    (NEVER_SAW, NEVER_SEEN, THREE),
    ("asked_always", COMPARED, THREE),
    ("ceiling_state_similarity", TASKS, THREE),
    *((control, CONTROLLED, THREE) for control in REWARDS if control.startswith("control_")),
    *((large, COMPARED, THREE[:1]) for large in LARGE),
)
"""All that is run, fixed before any run, in the order of what it is worth: condition, its tasks, their seeds (None: `seeds_of`
each)."""
ZERO_SHOT = {"kneeling": "100%", "lotus": "100%", "standing": "100%", "arms_raised": "100%", "splits": "100%", "hands_on_hips": "64%",
             "arms_crossed": "0%", "one_leg": "0%"}  # fmt: skip
"""VLM-RM's success: CLIP of 2.5 billion parameters, zero-shot, 10 million steps, best of four seeds, one rater."""


def configured(config: TrainConfig, condition: str) -> TrainConfig:
    """Return a run's settings under a condition.

    The one place where conditions become settings. Raises: UsageError for a condition that is none, or not of this task.
    """
    if condition == NEVER_SAW:
        config = never_saw(config)
    elif condition in LARGE:
        share = 1.0 if resolve_device(config.device).type == "cuda" else LARGE[condition]
        config = replace(config, encoder=f"{PREFIX}:{LARGE_MODEL}:{share:g}")
    elif condition == UNTRAINED:
        return replace(config, reward="constant", query_share=None)
    elif condition not in REWARDS:
        raise usage_error("condition", condition, f"one of {list(CONDITIONS)}", "pick one of these")
    config = replace(config, reward=REWARDS.get(condition, "vlm"))
    rarely = config.from_frames and condition not in ALWAYS
    return replace(config, query_share=QUERY_SHARE if rarely else None)


def never_saw(config: TrainConfig, folder: Path = LEFT_OUT) -> TrainConfig:
    """Return a run on an encoder that never met its pose, which is described in words that are left.

    Raises: UsageError for a pose that is never left out, and where no encoder is that left it out.
    """
    pose = config.task.name.removeprefix("humanoid_")
    if config.task.name not in NEVER_SEEN:
        raise usage_error(
            "task", config.task.name, f"one of {list(NEVER_SEEN)}", f"give --tasks with {NEVER_SAW}"
        )
    if pose not in splits.read(folder)[0] or not splits.holds_out(folder):
        remedy = "python -m experiments.embedded.left_out --only poses"
        raise usage_error("encoder", folder, f"one that was trained without {pose}", remedy)
    task = replace(config.task, goal=(described(pose).text,))
    return replace(config, task=task, encoder=f"local-dir:{folder}")


def planned(
    conditions: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[tuple[str, str, int]]:
    """Return condition, task and seed of each run of `PLAN` in its order, narrowed to those named; None names all.

    Raises: UsageError where nothing is left.
    """
    found = [
        (condition, task, seed)
        for condition, its_tasks, its_seeds in PLAN
        for task in its_tasks
        for seed in its_seeds or seeds_of(task)
        if all(named is None or one in named for one, named in ((condition, conditions), (task, tasks), (seed, seeds)))
    ]  # fmt: skip
    if not found:
        got = f"conditions {conditions}, tasks {tasks}, seeds {seeds}"
        raise usage_error(
            "plan", got, "runs of PLAN in humanoid_conditions.py", "name fewer of them, or add to it"
        )
    return found


def seeds_of(task: str) -> tuple[int, ...]:
    """Return the seeds of a task, fixed before any run; none of those that settings were tried out with."""
    return (*THREE, 13, 14) if task in HARDEST else THREE


def horizons_of(task: str) -> tuple[int, int]:
    """Return the steps that a task's agents are judged on: the humanoid's own, or the task's and twice as many."""
    if task in HUMANOID:
        return HORIZONS
    horizon = get_task(task).horizon
    assert horizon is not None
    return horizon, 2 * horizon
