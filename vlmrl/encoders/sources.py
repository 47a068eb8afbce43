"""Find an open_clip model by name, here or on its hub, and load it: safetensors from disk, never a pickle."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError, safe_open

from vlmrl.encoders.hub import fetch_weights
from vlmrl.errors import UsageError, usage_error

EMBEDDED = Path(__file__).parent / "embedded"
CONFIG_FILE = "open_clip_config.json"
PREFERRED = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
PICKLES = (".bin", ".ckpt", ".npz", ".pickle", ".pkl", ".pt", ".pth")
NAMES = "embedded, local-dir:PATH, random[:SEED], MODEL/PRETRAINED or as-slow-as:MODEL[:SHARE]"
# The architecture of `random` in a checkout whose embedded weights have not been made yet.
FALLBACK_CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 24, "patch_size": None},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "squash"},
}


@dataclass(frozen=True)
class LoadedClip:
    """An open_clip model in evaluation mode on the CPU, with what is needed to use it."""

    name: str
    model: Any  # open_clip.CLIP, CustomTextCLIP or CoCa
    tokenizer: Any  # open_clip's, with the model's context length
    embedding_dim: int
    config: dict[str, Any] = field(default_factory=dict)
    """Its `model_cfg`, as an open_clip_config.json holds it."""
    weights: Path | None = None
    """The file its weights came from, where that is a folder of one's own."""


def load_clip(name: str, seed: int = 0) -> LoadedClip:
    """Load the open_clip model that `name` stands for; `seed` is used by `random` alone.

    Raises:
        UsageError: unknown name or tag; weights that are missing, corrupt, foreign or pickled.
    """
    kind, _, rest = name.partition(":")
    if name == "embedded":
        if not (EMBEDDED / PREFERRED[0]).is_file():
            remedy = 'reinstall vlmrl, or use "local-dir:PATH" or the untrained control "random"'
            raise usage_error("encoder", name, f"its weights in {EMBEDDED}", remedy)
        return _load_directory(name, EMBEDDED)
    if kind == "local-dir":
        return _load_directory(name, Path(rest).expanduser())
    if kind == "random":
        return _load_random(name, _parse_seed(name, rest, seed))
    model, slash, tag = name.rpartition("/")
    if not slash or not model or ":" in model:
        close = get_close_matches(name, open_clip.list_models(), n=1)
        remedy = f'add the tag of its weights: "{close[0]}/TAG"' if close else 'for example "embedded"'
        raise usage_error("encoder", repr(name), NAMES, remedy)
    return _load_named(name, model.replace("/", "-"), tag, seed)


def _parse_seed(name: str, text: str, default: int) -> int:
    """Return the seed that follows "random:", or the default where none does."""
    if not text:
        return default
    if not text.isdecimal() or int(text) >= 2**63:
        raise usage_error("encoder", name, "a seed of 0 or more after random:", 'for example "random:0"')
    return int(text)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence open_clip's log lines; every failure below becomes one error of our own."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(previous)


def _build(name: str, source: str, seed: int, **options: Any) -> LoadedClip:
    """Build the model that open_clip knows as `source`, with the untrained weights of `seed`."""
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        model = open_clip.create_model(source, load_weights=False, pretrained_text=False, **options)
        tokenizer = open_clip.get_tokenizer(source)
    config = open_clip.get_model_config(source)
    if options.get("force_quick_gelu"):
        config["quick_gelu"] = True
    return LoadedClip(name, model.eval(), tokenizer, config["embed_dim"], config)


def build_scratch(config: str, seed: int) -> LoadedClip:
    """Build an untrained model: one of open_clip's architectures, or what a JSON file describes.

    The file is an open_clip_config.json, or its `model_cfg` alone as in open_clip's own model_configs.
    Raises: UsageError for an unknown architecture, or a file that is no such config.
    """
    name, path = f"scratch:{config}", Path(config).expanduser()
    if path.suffix != ".json" and not path.is_file():
        if config in open_clip.list_models():
            return _build_architecture(name, config, seed)
        close = get_close_matches(config, open_clip.list_models(), n=3, cutoff=0.4)
        remedy = f"close are {', '.join(close)}" if close else "see open_clip.list_models()"
        raise usage_error("start", name, "an architecture that open_clip knows, or a .json file", remedy)
    remedy = f"write it as {CONFIG_FILE}: model_cfg and preprocess_cfg"
    try:
        plain = json.loads(path.read_bytes())
        whole = plain if "model_cfg" in plain else {"model_cfg": plain}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CONFIG_FILE).write_text(json.dumps(whole))
            return _build(name, f"local-dir:{folder}", seed)
    except Exception as error:  # open_clip builds whatever the file says, so anything can come out of it
        got = f"{name} ({_short(error)})"
        raise usage_error("start", got, "a file with a valid open_clip config", remedy) from error


def _load_random(name: str, seed: int) -> LoadedClip:
    """Build the embedded architecture with untrained weights."""
    if (EMBEDDED / CONFIG_FILE).is_file():
        return _build(name, f"local-dir:{EMBEDDED}", seed)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG_FILE).write_text(json.dumps(FALLBACK_CONFIG))
        return _build(name, f"local-dir:{folder}", seed)


def _load_directory(name: str, folder: Path) -> LoadedClip:
    """Load open_clip_config.json and the safetensors beside it."""
    remedy = f"the folder must hold {CONFIG_FILE} and {PREFERRED[0]}, as open_clip saves them"
    if not folder.is_dir():
        raise usage_error("encoder", name, "a folder that exists", remedy)
    config = folder / CONFIG_FILE
    if not config.is_file():
        raise usage_error("encoder", name, f"the file {config}", remedy)
    weights = _find_weights(name, folder)
    try:
        loaded = _build(name, f"local-dir:{folder}", seed=0)
    except Exception as error:  # open_clip builds whatever the file says, so anything can come out of it
        raise usage_error(
            "encoder", f"{config} ({_short(error)})", "a valid open_clip config", remedy
        ) from error
    _fill(loaded.model, weights)
    return replace(loaded, weights=weights)


def _find_weights(name: str, folder: Path) -> Path:
    """Return the safetensors file to load, by open_clip's order of preference."""
    found = {path.name: path for path in sorted(folder.glob("*.safetensors"))}
    chosen = next((found[file] for file in PREFERRED if file in found), next(iter(found.values()), None))
    if chosen is not None:
        return chosen
    pickles = [path for path in sorted(folder.iterdir()) if path.suffix in PICKLES]
    if pickles:
        remedy = "convert it with safetensors.torch.save_file on a machine that trusts it"
        raise usage_error("encoder", f"{pickles[0]}, a pickle, which can run code", "safetensors", remedy)
    remedy = f"put the weights there as {PREFERRED[0]}"
    raise usage_error("encoder", name, f"a .safetensors file in {folder}", remedy)


def _fill(model: torch.nn.Module, weights: Path) -> None:
    """Load a safetensors file into the model, every key of it, and check that its numbers are numbers."""
    try:
        with safe_open(weights, framework="pt") as file:
            file.keys()
        with _quiet():
            open_clip.load_checkpoint(model, str(weights), strict=True)
    except (SafetensorError, OSError) as error:
        remedy = "the file is corrupt or cut off: copy or download it again"
        raise usage_error(
            "encoder", f"{weights} ({_short(error)})", "a whole safetensors file", remedy
        ) from error
    except Exception as error:
        remedy = "take the weights and the config of one and the same model"
        raise usage_error(
            "encoder", f"{weights} ({_short(error)})", "the config's own weights", remedy
        ) from error
    bad = [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        remedy = "the file is corrupt: copy or download it again"
        raise usage_error("encoder", f"{weights} (NaN or infinity in {bad[0]})", "finite weights", remedy)


def _load_named(name: str, model: str, tag: str, seed: int) -> LoadedClip:
    """Load one of open_clip's own architectures, with the weights of a tag or untrained."""
    if model not in open_clip.list_models():
        close = get_close_matches(model, open_clip.list_models(), n=3, cutoff=0.4)
        remedy = f"close are {', '.join(close)}" if close else "see open_clip.list_models()"
        raise usage_error("encoder", name, "a model that open_clip knows", f"{remedy}; else use {NAMES}")
    kind, _, rest = tag.partition(":")
    if kind == "random":
        return _build_architecture(name, model, _parse_seed(name, rest, seed))
    tags = open_clip.list_pretrained_tags_by_model(model)
    entry = open_clip.get_pretrained_cfg(model, tag)
    if not entry:
        close = get_close_matches(tag, tags, n=3, cutoff=0.3) or tags[:3]
        remedy = f"{model} has {', '.join(close)}" if close else f"open_clip has no weights for {model}"
        raise usage_error("encoder", name, f"a tag of {model}'s weights", remedy)
    weights = fetch_weights(name, entry)  # first, so that the common failure is quick
    # OpenAI's weights need QuickGELU; open_clip only warns when a tag and its architecture disagree.
    loaded = _build_architecture(
        name, model, 0, force_preprocess_cfg=entry, force_quick_gelu=entry.get("quick_gelu", False)
    )
    _fill_tag(loaded, weights)
    return loaded


def _build_architecture(name: str, model: str, seed: int, **options: Any) -> LoadedClip:
    """Build one of open_clip's architectures; some need a package or a tokenizer that is not here."""
    try:
        return _build(name, model, seed, **options)
    except Exception as error:
        remedy = "install what it names, or use embedded or local-dir:PATH"
        got = f"{name} ({_short(error)})"
        raise usage_error("encoder", got, "a model that can be built here", remedy) from error


def _fill_tag(loaded: LoadedClip, weights: Path) -> None:
    """Load downloaded weights; old tags exist only as torch archives, read with `weights_only`."""
    if weights.suffix == ".safetensors":
        return _fill(loaded.model, weights)
    try:
        with _quiet():
            open_clip.load_checkpoint(loaded.model, str(weights), strict=True, weights_only=True)
    except Exception as error:
        remedy = f"delete {weights} and load {loaded.name} again"
        raise usage_error("encoder", f"{weights} ({_short(error)})", "the tag's weights", remedy) from error
    return None


def _short(error: Exception) -> str:
    """Return the first telling words of an error, for the middle of a one-line message."""
    if isinstance(error, UsageError):
        return str(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
