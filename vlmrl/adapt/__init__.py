"""Train or fine-tune any open_clip model on frames and captions: of worlds, of stored files, of videos.

Modules, in the order data flows through them:

    config                        what is asked for
    checks                        what a world hands over: nothing that could not be learnt from
    pairs                         frames with their truths: the families that batches are drawn from
    cache, stored, worlds         where they come from: a bounded cache on disk, stored files, worlds,
    captions, videos              and folders of videos with captions
    batches                       frames, sentences and truths of one step, made ahead
    loss, lora, model             what is trained, and how
    side_by_side                  the parts of a batch, each on a core
    validation, folder            judged on held-out frames, kept on disk
    progress, loop                from start to end
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.adapt.config import AdaptConfig, StoredSource, VideoSource, WorldSource
    from vlmrl.adapt.loop import resume, run
    from vlmrl.adapt.progress import AdaptResult

_HOMES = {
    "AdaptConfig": "config", "StoredSource": "config", "VideoSource": "config", "WorldSource": "config",
    "AdaptResult": "progress", "resume": "loop", "run": "loop",
}  # fmt: skip

__all__ = ["AdaptConfig", "AdaptResult", "StoredSource", "VideoSource", "WorldSource", "resume", "run"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use: torch is heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vlmrl.adapt' has no attribute {name!r}")
    return getattr(import_module(f"vlmrl.adapt.{_HOMES[name]}"), name)
