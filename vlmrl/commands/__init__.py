"""The commands of `vlmrl`: their arguments as frozen dataclasses, and what each does.

A command returns its `Outcome` and prints nothing to standard output, so that a result printed as JSON stands
there alone. What is heavy (torch, JAX, MuJoCo) is imported where it is used.
"""

from __future__ import annotations

from typing import Any

from vlmrl.commands.adapt import Adapt
from vlmrl.commands.after import Eval, Label, Video
from vlmrl.commands.before import Doctor, Preflight, Tasks
from vlmrl.commands.outcome import Outcome
from vlmrl.commands.train import Resume, Train, finish, train_defaults

__all__ = ["COMMANDS", "Outcome", "Tasks", "Train", "finish", "train_defaults"]

COMMANDS: dict[str, Any] = {
    **{"tasks": Tasks, "doctor": Doctor, "preflight": Preflight},
    **{"train": Train, "resume": Resume, "eval": Eval, "video": Video, "label": Label, "adapt": Adapt},
}
"""The commands by name, in the order a user meets them."""
