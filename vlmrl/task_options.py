"""Arguments that several commands share: a built-in task, or any environment with a goal in words."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro

from vlmrl.errors import usage_error
from vlmrl.tasks import KwargValue, Task, check_env, get_task, slug

Repeated = tyro.conf.UseAppendAction[tuple[str, ...]]
TaskName = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TASK]")]


@dataclass(frozen=True)
class ForTask:
    """Arguments that say what to reach and where."""

    task: TaskName = None
    """A built-in task (`vlmrl tasks` lists them); leave it out with --env."""
    env: str | None = None
    """Gymnasium id of any environment that draws rgb_array frames."""
    goal: Repeated = ()
    """The goal in words; repeat it for several sentences, which are averaged."""
    baseline: Repeated = ()
    """The scene in neutral words; as many as there are goals."""
    alpha: float | None = None
    """Strength of the goal-baseline projection, 0 to 1."""
    env_kwargs: Repeated = ()
    """Keyword argument of the environment as KEY=VALUE; repeatable."""
    camera: str | None = None
    """Camera of the world."""
    render_size: tuple[int, int] | None = None
    """Height and width in pixels of the frames that are scored."""
    horizon: int | None = None
    """Steps of an episode."""

    def chosen_task(self) -> Task:
        """Return the built-in task with what was changed, or a new one around --env.

        Raises: UsageError if both or neither are given, or words are missing.
        """
        if self.task is not None and self.env is not None:
            got = f"{self.task} and --env {self.env}"
            raise usage_error("task", got, "one of both", "leave the task out, or --env")
        if self.task is None and self.env is None:
            expected = "a task name, or --env with --goal and --baseline"
            raise usage_error("task", "none", expected, "`vlmrl tasks` lists the names")
        changes = {
            "goal": self.goal or None,
            "baseline": self.baseline or None,
            "alpha": self.alpha,
            "camera": self.camera,
            "render_size": self.render_size,
            "horizon": self.horizon,
            "env_kwargs": tuple(map(_parse_kwarg, self.env_kwargs)) or None,
        }
        given: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
        if self.task is not None:
            base = get_task(self.task)
            if "env_kwargs" in given:
                given["env_kwargs"] = {**base.kwargs, **dict(given["env_kwargs"])}
            return replace(base, **given)
        assert self.env is not None
        for name in ("goal", "baseline"):
            if name not in given:
                remedy = f'add --{name} "..."'
                raise usage_error(name, "none", f"a sentence, since --env {self.env} has none", remedy)
        check_env(self.env)
        return Task(name=slug(self.env), env_id=self.env, **given)


def _parse_kwarg(text: str) -> tuple[str, KwargValue]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise usage_error("env-kwargs", repr(text), "KEY=VALUE", "for example --env-kwargs pose=kneeling")
    try:
        parsed = json.loads(value)
    except ValueError:
        return key, value
    return key, parsed if parsed is None or isinstance(parsed, (str, int, float, bool)) else value
