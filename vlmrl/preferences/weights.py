"""A learned reward on disk: a safetensors file and the JSON that names it, switched over in one step.

The JSON names a tensor file by its checksum and is replaced last: whatever is killed when, it names a whole file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.checkpoints import replace_file
from vlmrl.configs import redact, to_plain
from vlmrl.errors import usage_error

FORMAT = "vlmrl-preference-reward"
VERSION = 1
RECORD = "preference.json"


def write_reward(folder: Path, tensors: dict[str, np.ndarray], record: dict[str, Any]) -> Path:
    """Write tensors and record into `folder`, made if there is none; return the record's path.

    Raises: OSError (disk full, no permission); what was saved before stays as it was.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    data = save({name: np.array(value, order="C") for name, value in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"preference-{digest[:16]}.safetensors"
    replace_file(folder / name, data)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "tensors": name,
        "sha256": digest,
        **redact(to_plain(record)),
    }
    replace_file(folder / RECORD, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    for old in folder.glob("preference-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)
    return folder / RECORD


def read_reward(folder: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (tensors, record) of a reward of this kind, the checksum verified before anything is parsed.

    Raises: UsageError for a folder without one, another kind or version, or damaged files.
    """
    from safetensors.numpy import load

    path, remedy = folder / RECORD, "save the reward again, or copy it back"
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise usage_error("reward", f"{path} of another kind", f"format {FORMAT}", remedy)
        if record.get("version") != VERSION:
            got = f"version {record.get('version')}"
            raise usage_error("reward", got, f"version {VERSION}", "load it with the vlmrl that wrote it")
        if record.get("kind") != kind:
            raise usage_error("reward", f"one of {record.get('kind')}", f"one of {kind}", "load it as that")
        name = Path(str(record["tensors"])).name  # a name in this folder, whatever somebody wrote into it
        data = (folder / name).read_bytes()
    except OSError as error:
        got = f"{error.filename} ({error.strerror})"
        raise usage_error("reward", got, "a folder with a saved reward", remedy) from error
    except (KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise usage_error("reward", f"{path} ({error})", "a reward's record", remedy) from error
    if hashlib.sha256(data).hexdigest() != record.get("sha256"):
        raise usage_error(
            "reward", f"{folder / name} (altered or cut off)", "the file that was saved", remedy
        )
    return load(data), record
