"""All sources of an adaptation, opened and sorted into families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlmrl.adapt.cache import frame_budget
from vlmrl.adapt.captions import read_captions
from vlmrl.adapt.config import AdaptConfig, StoredSource, VideoSource, WorldSource
from vlmrl.adapt.pairs import Family, Store
from vlmrl.adapt.stored import open_stored, world_grammar
from vlmrl.adapt.videos import open_videos
from vlmrl.adapt.worlds import open_world, world_name
from vlmrl.errors import usage_error
from vlmrl.frames import Interpolation
from vlmrl.tasks import check_env

CAPTIONED = "videos"
"""Name of the family that all folders of videos share."""


def family_names(config: AdaptConfig) -> list[str]:
    """Return the names of the families of a config, with nothing drawn or decoded yet.

    Raises: UsageError for what is seen to be wrong with a source at once.
    """
    names: list[str] = []
    for source in config.sources:
        if isinstance(source, StoredSource):
            names += open_stored(source, 1, config.held_out)
        elif isinstance(source, WorldSource):
            check_env(source.env_id)
            names.append(world_name(source.env_id))
        else:
            assert isinstance(source, VideoSource)
            read_captions(source.videos)
            names.append(CAPTIONED)
    return list(dict.fromkeys(names))


def open_families(
    config: AdaptConfig,
    size: int,
    cache: Path,
    check: Callable[[list[str]], None] = lambda texts: None,
    interpolation: Interpolation = "bicubic",
) -> list[Family]:
    """Open every source at `size` pixels; what has to be drawn or decoded goes to the folder `cache`.

    `check` refuses captions that the model cannot read. Raises: UsageError for what is wrong with a source.
    """
    kept = [s for s in config.sources if not isinstance(s, StoredSource)]
    most = frame_budget(config.cache_gib, len(kept), size)
    stores: dict[str, list[Store]] = {}
    grammars: dict[str, Any] = {}
    for number, source in enumerate(config.sources):
        if isinstance(source, StoredSource):
            for name, files in open_stored(source, size, config.held_out, interpolation).items():
                stores.setdefault(name, []).extend(files)
                grammars[name] = world_grammar(name)
        elif isinstance(source, WorldSource):
            name = world_name(source.env_id)
            store, grammars[name] = open_world(
                source, size, config.held_out, config.seed, cache, most, check, interpolation
            )
            stores.setdefault(name, []).append(store)
        else:
            assert isinstance(source, VideoSource)
            name = f"{CAPTIONED}-{number}"
            store = open_videos(
                source, name, size, config.held_out, config.seed, cache, most, check, interpolation
            )
            stores.setdefault(CAPTIONED, []).append(store)
            grammars[CAPTIONED] = None
    families = [Family(name, tuple(found), grammars[name]) for name, found in stores.items()]
    for family in families:
        names = [store.name for store in family.stores]
        if len(set(names)) < len(names):
            got = f"{', '.join(names)} for {family.name}"
            raise usage_error("sources", got, "each source once", "leave the second one out")
    return families
