"""What drew each file of frames: code and settings. A file that something else drew is never taken for the one wanted.

`manifest.json` in the folder of frames maps a source's name to the settings it was drawn with, and to a hash of the code that
decides how its world looks and what is true of it. Wordings are not in it: they are said of frames later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vlmrl_envs
from experiments.embedded import splits
from vlmrl.checkpoints import replace_file
from vlmrl.errors import usage_error
from vlmrl_envs import metaworld_scenes

NAME = "manifest.json"
WORLDS = Path(vlmrl_envs.__file__).parent
DRAWING = ("data", "drawing", "stock", "variation")
"""Modules beside this one that decide how frames look."""
SHARED = (
    "captions",
    "goal_world",
    "held_out",
    "kinematics",
    "leg_world",
    "margins",
    "parts",
    "posing",
    "rules",
    "stock",
)
"""Modules of several worlds that decide how they look and what is true of them."""
SOFT = ("straighten_rope", "fold_cloth", "pass_water")
"""Worlds that share `soft.py` and `soft_world.py`."""
NOT_SEEN = ("wordings.py", "success.py", "described.py", "composed.py")
"""Files of a world that say what is said or asked of a state, not how it looks."""


def drawn_by(world: str, seed: int, scale: float, leave_out: Sequence[str]) -> dict[str, Any]:
    """Return what a source of a world's frames would be drawn by now."""
    files = [Path(__file__).with_name(f"{name}.py") for name in DRAWING]
    files += [path for path in (WORLDS / world).glob("*") if path.suffix in (".py", ".xml")]
    if world in metaworld_scenes.GRAMMARS:
        files += [*WORLDS.glob("metaworld*.py"), Path(__file__).with_name("metaworld.py")]
    files += [*WORLDS.glob("soft*.py")] * (world in SOFT)
    files += [*(WORLDS / "rendering").glob("*.py"), *(WORLDS / f"{name}.py" for name in SHARED)]
    digest = hashlib.sha256(version("metaworld").encode() if world in metaworld_scenes.GRAMMARS else b"")
    for path in sorted(files):
        if path.name not in NOT_SEEN:
            digest.update(path.name.encode() + path.read_bytes())
    digest.update(repr((splits.views(), splits.DISTANCE, splits.LIGHT)).encode())
    return {"code": digest.hexdigest()[:12], "seed": seed, "scale": scale, "leave_out": sorted(leave_out)}


def is_there(folder: Path, name: str, wanted: dict[str, Any]) -> bool:
    """Tell whether a source has been drawn. Raises: UsageError where something else than `wanted` drew it."""
    path = folder / f"{name}.frames.npy"
    if not path.exists():
        return False
    if (found := _read(folder).get(name)) != wanted:
        differs = [key for key in wanted if not found or found.get(key) != wanted[key]]
        got = f"{path} of other {', '.join(differs)}" if found else f"{path} of unknown making"
        remedy = "remove it to have it drawn again, or give another --out; --as-they-are takes what is there"
        raise usage_error("frames", got, "frames that today's code and these settings draw", remedy)
    return True


def note(folder: Path, name: str, wanted: dict[str, Any]) -> None:
    """Note what drew a source."""
    content = json.dumps({**_read(folder), name: wanted}, indent=1) + "\n"
    replace_file(folder / NAME, content.encode())


def _read(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    return json.loads(path.read_text()) if path.is_file() else {}
