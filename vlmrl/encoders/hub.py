"""Get the weights of an open_clip tag: from the hub's cache, else from the hub, within a bounded wait."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from vlmrl.errors import usage_error

PROBE_TIMEOUT_S = 5.0  # for one answer of the server
PROBE_DEADLINE_S = 15.0  # for everything, name resolution (which knows no timeout) included
DEFAULT_FILE = "open_clip_pytorch_model.bin"
DEFAULT_SAFE_FILE = "open_clip_model.safetensors"


def fetch_weights(name: str, entry: dict[str, Any]) -> Path:
    """Return the file of a tag's weights, downloaded if the cache has none; safetensors before anything else.

    The server is asked for the file's header first: without a network, open_clip and its hub client retry for
    52 s (measured) before they fail.

    Args:
        name: the encoder's name, for messages.
        entry: open_clip's record of the tag, whose `hf_hub` is "ORGANISATION/REPOSITORY/[FILE]".

    Raises:
        UsageError: not cached and not to be had; names the tag, where it was looked for, what is usable here.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    repository, files = hub_files(entry["hf_hub"])
    for file in files:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    folder = f"{constants.HF_HUB_CACHE}/models--{repository.replace('/', '--')}"
    remedy = "usable here without a network: embedded, local-dir:PATH (open_clip_config.json and safetensors)"
    if _offline():
        raise usage_error("encoder", name, f"its weights in {folder} (HF_HUB_OFFLINE forbids more)", remedy)
    address = f"{constants.ENDPOINT}/{repository}"
    reachable, reason = probe(repository, files)
    if reachable is None:
        raise usage_error("encoder", name, f"its weights in {folder} or at {address} ({reason})", remedy)
    try:
        return Path(hf_hub_download(repository, reachable))
    except Exception as error:
        expected = f"a download of {reachable} from {address} ({_words(error)})"
        raise usage_error("encoder", name, expected, f"try again; {remedy}") from error


def hub_files(address: str) -> tuple[str, list[str]]:
    """Return the repository and its possible files of open_clip's "ORGANISATION/REPOSITORY/[FILE]"."""
    repository, file = os.path.split(address)
    file = file or DEFAULT_FILE
    safe = DEFAULT_SAFE_FILE if file == DEFAULT_FILE else f"{os.path.splitext(file)[0]}.safetensors"
    return repository, list(dict.fromkeys([safe, file]))


def probe(repository: str, files: list[str]) -> tuple[str | None, str]:
    """Return the first file that the hub has, or None and the reason, within 15 s on any network."""
    found: list[str] = []
    reasons: list[str] = []

    def ask() -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        for file in files:
            try:
                get_hf_file_metadata(hf_hub_url(repository, file), timeout=PROBE_TIMEOUT_S)
            except Exception as error:
                reasons.append(_words(error))
            else:
                found.append(file)
                return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_DEADLINE_S)
    if found:
        return found[0], ""
    return None, reasons[-1] if reasons else f"no answer within {PROBE_DEADLINE_S:.0f} s"


def _offline() -> bool:
    """Say whether the user forbids the network, now or when huggingface_hub was imported."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in (
        "1",
        "ON",
        "YES",
        "TRUE",
    )


def _words(error: Exception) -> str:
    """Return an error as a few words of one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
