"""Tasks: a goal in words, the world it is meant for, and how that world is looked at."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.errors import usage_error

KwargValue = str | int | float | bool | None


@dataclass(frozen=True)
class Task:
    """A goal sentence with its baseline, its world and its camera."""

    name: str
    """Short name, used on the command line and in folder names: lower-case letters, digits, _ and -."""
    env_id: str
    """Gymnasium id of the world, for example vlmrl/CartPole-v0."""
    goal: tuple[str, ...]
    """What the agent shall bring about; several sentences are averaged."""
    baseline: tuple[str, ...]
    """The world in neutral words; as many sentences as `goal` has."""
    env_kwargs: tuple[tuple[str, KwargValue], ...] = ()
    """Keyword arguments for the world, as pairs, so that a task can be hashed and compared."""
    alpha: float = 0.5
    """Strength of the goal-baseline projection, 0 (plain cosine) to 1 (only the line baseline-goal)."""
    camera: str | None = None
    """Camera of the world; None is the world's own default."""
    render_size: tuple[int, int] | None = None
    """Height and width in pixels of the frames the encoder sees; None leaves it to the world."""
    horizon: int | None = None
    """Steps of an episode, ended by truncation; None leaves it to the world."""
    description: str = ""
    """One sentence for `vlmrl tasks`."""

    def __post_init__(self) -> None:
        for field in ("goal", "baseline"):
            value = getattr(self, field)
            sentences = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, field, sentences)
        object.__setattr__(self, "env_kwargs", _as_pairs(self.env_kwargs))
        if self.render_size is not None:
            object.__setattr__(self, "render_size", tuple(int(side) for side in self.render_size))
        _check(self)

    @property
    def kwargs(self) -> dict[str, KwargValue]:
        """Return `env_kwargs` as a dictionary for `gymnasium.make`."""
        return dict(self.env_kwargs)


def _as_pairs(
    env_kwargs: Mapping[str, KwargValue] | Sequence[Sequence[Any]],
) -> tuple[tuple[str, KwargValue], ...]:
    items = env_kwargs.items() if isinstance(env_kwargs, Mapping) else env_kwargs
    return tuple((str(key), value) for key, value in items)


def _check(task: Task) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", task.name):
        raise usage_error(
            "task name", repr(task.name), "lower-case letters, digits, _ and -", "give a short name"
        )
    for field in ("goal", "baseline"):
        sentences = getattr(task, field)
        if not sentences or not all(isinstance(s, str) and s.strip() for s in sentences):
            raise usage_error(
                field,
                list(sentences),
                "at least one sentence, none of them empty",
                f"say the {field} in words",
            )
    if len(task.goal) != len(task.baseline):
        raise usage_error(
            "baseline",
            f"{len(task.baseline)} sentences",
            f"{len(task.goal)}, one for each goal sentence",
            "give goal and baseline the same number of sentences",
        )
    if not 0.0 <= task.alpha <= 1.0:
        raise usage_error("alpha", task.alpha, "a number from 0 to 1", "use 0.5 if in doubt")
    if task.alpha > 0 and task.goal == task.baseline:
        raise usage_error(
            "baseline",
            f"the goal itself, {task.goal[0]!r}",
            "words that differ from the goal (the direction between them is zero)",
            "describe the scene without the goal",
        )
    if task.render_size is not None and (len(task.render_size) != 2 or min(task.render_size) < 8):
        raise usage_error(
            "render_size", task.render_size, "height and width, 8 pixels or more each", "use 64 64"
        )
    if task.horizon is not None and task.horizon < 1:
        raise usage_error("horizon", task.horizon, "1 step or more", "leave it out for the world's own")


HUMANOID_BASELINE = "a humanoid robot"

CLASSIC_ALPHA = 0.1
"""With the embedded encoder words in disorder earn more than the baseline sentence from 0.25 on, a blank frame from 0.5 on."""

POSES: dict[str, tuple[str, str]] = {
    "kneeling": ("kneeling", "On its knees, trunk upright."),
    "lotus": ("seated down, meditating in the lotus position", "Seated with crossed legs."),
    "standing": ("standing up", "Upright on both feet."),
    "arms_raised": ("standing up, with both arms raised", "Upright, both hands above the head."),
    "splits": ("practicing gymnastics, doing the side splits", "Legs spread to both sides on the floor."),
    "hands_on_hips": ("standing up with hands on hips", "Upright, both hands at the hips."),
    "arms_crossed": ("standing up, with its arms crossed", "Upright, arms folded before the chest."),
    "one_leg": ("standing up on one leg", "Upright, one foot off the floor."),
}
"""Pose -> (the words after "a humanoid robot", what it looks like). Source: VLM-RM, Tables 1 and 3."""


COMPOSITIONS: dict[str, tuple[str, str]] = {
    "kneeling_one_arm_raised": ("kneeling, with one arm raised", "On its knees, one hand above the head."),
    "lotus_arms_forward": (
        "meditating in the lotus position, with its arms stretched forward", "Lotus, both arms held out in front."),
    "lotus_hands_on_hips": ("meditating in the lotus position, with hands on hips", "Lotus, both hands at the hips."),
    "lotus_arms_crossed": ("meditating in the lotus position, with its arms crossed", "Lotus, arms folded before the chest."),
    "lying_front_arms_sideways": (
        "lying on its front, with its arms stretched out to the sides", "Face down, arms out to both sides."),
    "lying_side_arms_crossed": ("lying on its side, with its arms crossed", "On one side, arms folded before the chest."),
    "sitting_hands_on_head": ("sitting on the floor, with its hands on its head", "Hips on the floor, hands at the head."),
    "squatting_arms_hanging": ("squatting, with its arms hanging down", "Low on both feet, arms down at the sides."),
}  # fmt: skip
"""Two things at once that the embedded encoder's training never says together -> (words, what it looks like). These goals
are ours, not VLM-RM's; how far training sees such states otherwise: experiments/POSES.md."""


def _humanoid(pose: str) -> Task:
    """Return a humanoid's task; by springs it stands for a second without being told to, so standing is driven by torques."""
    words, description = (POSES | COMPOSITIONS)[pose]
    return Task(
        name=f"humanoid_{pose}",
        env_id="vlmrl/Humanoid-v0",
        env_kwargs=(("pose", pose), ("control", "torque" if pose == "standing" else "position")),
        goal=(f"{HUMANOID_BASELINE} {words}",),
        baseline=(HUMANOID_BASELINE,),
        alpha=0.0,
        render_size=(64, 64),
        horizon=100,
        description=description,
    )


BODIES: dict[str, tuple[str, str, int, dict[str, tuple[str, str]]]] = {
    "ant": ("vlmrl/Ant-v0", "a four-legged robot", 100, {
        "standing": ("standing on all four legs", "Up from a crouch, high on four feet."),
        "crouching": ("crouching low on the floor", "Low on four feet."),
        "upside_down": ("lying upside down on its back", "Turned over, feet in the air."),
        "one_leg": ("standing with one leg raised", "On three feet, one leg in the air."),
    }),
    "half_cheetah": ("vlmrl/HalfCheetah-v0", "a cheetah robot", 100, {
        "standing": ("standing on its feet", "From its back onto both feet."),
        "on_back": ("lying on its back", "Turned over, feet in the air."),
        "upright": ("standing upright on its hind leg", "Reared up on the hind leg, head on top."),
        "headstand": ("doing a headstand", "Head down, hind leg in the air."),
    }),
    "hopper": ("vlmrl/Hopper-v0", "a one-legged robot", 150, {
        "standing": ("standing upright", "On its foot; without control it falls."),
        "bent": ("bent over at the hip", "On its foot, trunk folded down."),
        "kneeling": ("kneeling on the floor", "On its knee, trunk upright."),
        "lying": ("lying on the floor", "Trunk and thigh flat on the floor."),
    }),
    "walker2d": ("vlmrl/Walker2d-v0", "a two-legged robot", 150, {
        "standing": ("standing upright", "On both feet; without control it falls."),
        "stride": ("standing with its legs wide apart", "On both feet, 0.8 m apart."),
        "kneeling": ("kneeling on the floor", "On both knees, trunk upright."),
        "sitting": ("sitting on the floor", "Hips on the floor, trunk upright."),
        "lying": ("lying on the floor", "Trunk flat on the floor."),
    }),
    "reacher": ("vlmrl/Reacher-v0", "a robot arm", 100, {
        "touching": ("touching the red target", "Fingertip on the target."),
        "stretched": ("stretched out straight", "Elbow straight."),
        "folded": ("folded up", "Elbow folded."),
    }),
    "pendulum": ("vlmrl/Pendulum-v0", "a pendulum", 200, {
        "upright": ("pointing straight up", "Swung up and balanced."),
        "hanging": ("hanging straight down", "Brought to rest below its pivot."),
        "leaning_left": ("leaning to the left", "Swung up and held, leaning left."),
        "leaning_right": ("leaning to the right", "Swung up and held, leaning right."),
    }),
}  # fmt: skip
"""Body -> its world, its baseline, its horizon, and pose -> (the words after the baseline, what it looks like)."""


def _body(body: str, pose: str) -> Task:
    env_id, subject, horizon, poses = BODIES[body]
    words, description = poses[pose]
    return Task(
        name=f"{body}_{pose}",
        env_id=env_id,
        env_kwargs=(("pose", pose),),
        goal=(f"{subject} {words}",),
        baseline=(subject,),
        alpha=0.0,
        render_size=(64, 64),
        horizon=horizon,
        description=description,
    )


def _scene(name: str, world: str, goal: str, baseline: str, horizon: int, description: str) -> Task:
    return Task(
        name=name,
        env_id=f"vlmrl/{world}-v0",
        goal=(goal,),
        baseline=(baseline,),
        alpha=CLASSIC_ALPHA,
        render_size=(64, 64),
        horizon=horizon,
        description=description,
    )


_CLASSIC = (
    _scene("cartpole", "CartPole", "pole vertically upright on top of the cart", "pole and cart", 200,
           "Balance a pole on a cart by pushing the cart."),
    _scene("mountain_car", "MountainCar", "a car at the peak of the mountain, next to the yellow flag",
           "a car in the mountain", 200, "Swing a weak car up a mountain and stay at the flag."),
)  # fmt: skip

_SOFT = (
    _scene("straighten_rope", "StraightenRope", "the blue rope is straightened", "the blue rope", 75,
           "Pull a rope straight by its ends (re-creation of SoftGym's RopeFlatten)."),
    _scene("fold_cloth", "FoldCloth", "the cloth is folded diagonally from top left corner to bottom right corner",
           "the cloth", 75, "Fold a cloth along its diagonal by one corner (re-creation of SoftGym's ClothFoldDiagonal)."),
    _scene("pass_water", "PassWater", "the container, which holds water, is as close to the red circle as possible without "
           "causing too many water droplets to spill", "the container", 75,
           "Slide a full container to a red circle without spilling (re-creation of SoftGym's PassWater)."),
)  # fmt: skip
"""RL-VLM-F's goals in our own re-creations of its SoftGym tasks. Source: the sentences it gives CLIP, in lower case and
without the full stop; the baselines are ours."""
RECREATIONS = tuple(task.name for task in _SOFT)
"""Tasks of our re-creations of what RL-VLM-F ran in SoftGym."""

_METAWORLD = (
    _scene("drawer_open", "MetaWorldDrawerOpen", "the drawer is opened", "the drawer", 250,
           "Open a drawer with a robot arm (Meta-World's own)."),
    _scene("soccer", "MetaWorldSoccer", "the soccer ball is in the goal", "a soccer ball and a goal", 250,
           "Push a ball into a goal with a robot arm (Meta-World's own)."),
    _scene("sweep_into", "MetaWorldSweepInto", "the green cube is in the hole", "a green cube and a hole", 250,
           "Sweep a cube into a hole with a robot arm (Meta-World's own)."),
)  # fmt: skip
"""RL-VLM-F's goals in Meta-World; need its package, and are plain environments. Sentences as of `_SOFT`."""
METAWORLD = tuple(task.name for task in _METAWORLD)
"""Tasks of Meta-World."""

_BODIES = (_body(body, pose) for body, (_, _, _, poses) in BODIES.items() for pose in poses)
TASKS: dict[str, Task] = {
    task.name: task
    for task in (*_CLASSIC, *map(_humanoid, (*POSES, *COMPOSITIONS)), *_BODIES, *_SOFT, *_METAWORLD)
}
"""The built-in tasks by name. Source: prompts, alpha (humanoid) and horizons of VLM-RM, Tables 1 and 3; `_SOFT`: RL-VLM-F."""


def get_task(name: str) -> Task:
    """Return the built-in task called `name`.

    Raises: UsageError naming the closest task if there is none of that name.
    """
    if name in TASKS:
        return TASKS[name]
    close = difflib.get_close_matches(name.lower().replace("-", "_"), TASKS, n=1, cutoff=0.5)
    remedy = f"did you mean {close[0]}?" if close else "`vlmrl tasks` lists them"
    raise usage_error("task", repr(name), f"one of {', '.join(TASKS)}", remedy)


def slug(text: str) -> str:
    """Return `text` as a task name: lower case, everything else than letters and digits as _."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "task"


def check_env(env_id: str) -> None:
    """Refuse an environment that is not registered or draws no `rgb_array`; make none.

    Raises: UsageError with the closest registered id, or the render modes the environment has.
    """
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    import vlmrl_envs  # registers the worlds: Gymnasium 1.4 finds no plugins by itself

    vlmrl_envs.register_envs()
    try:
        spec = gymnasium.spec(env_id)
    except Exception as error:  # gymnasium.error.* or the ImportError of a "module:Env-v0" id
        close = difflib.get_close_matches(env_id, gymnasium.registry, n=1)
        remedy = f"did you mean {close[0]}?" if close else "install the package that registers it"
        raise usage_error("env", repr(env_id), f"a registered Gymnasium id ({error})", remedy) from error
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        try:
            creator = load_env_creator(creator)
        except ImportError as error:
            remedy = f"install what it needs: {error}"
            raise usage_error("env", repr(env_id), "an environment that can be imported", remedy) from error
    modes = (getattr(creator, "metadata", None) or {}).get("render_modes")
    if modes is not None and "rgb_array" not in modes:
        raise usage_error(
            "env",
            f"{env_id} with render modes {modes}",
            "render mode rgb_array",
            "choose an env that draws frames",
        )
