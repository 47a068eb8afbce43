"""What an adaptation is asked for: the start, the sources, the recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlmrl.errors import usage_error
from vlmrl.tasks import KwargValue

LEARNING_RATES = {"scratch": 2e-3, "low_rank": 5e-4, "full": 5e-5}
"""Defaults of `lr` for a model from scratch, low-rank factors, and all weights of a trained model."""


@dataclass(frozen=True)
class WorldSource:
    """Frames of a world's `sample_states`, with the truths of what can be said of them."""

    env_id: str
    """Gymnasium id of a World, for example vlmrl/CartPole-v0."""
    env_kwargs: tuple[tuple[str, KwargValue], ...] = ()
    """Keyword arguments for the world, as pairs."""
    frames: int = 20_000
    """Frames drawn once and kept in the cache; 0 draws every batch anew."""


@dataclass(frozen=True)
class StoredSource:
    """Files NAME-*.frames.npy (n, H, W, 3) and NAME-*.degrees.npy (n, F), NAME a world's folder."""

    folder: Path
    """The folder that holds the files."""
    names: tuple[str, ...] = ()
    """The names to take, in this order; empty takes all, sorted."""


@dataclass(frozen=True)
class VideoSource:
    """A folder of videos with captions: captions.json, .jsonl or .csv, or NAME.txt beside NAME.mp4."""

    videos: Path
    """The folder."""
    fps: float = 4.0
    """Frames taken per second of video."""


Source = WorldSource | StoredSource | VideoSource


@dataclass(frozen=True)
class LabelConfig:
    """How truths become labels and weights of the loss."""

    floor: float = 0.03
    """The label of truth 0."""
    ceiling: float = 0.97
    """The label of truth 1; within, the label is straight in the truth."""
    nothing: float = 0.003
    """The label of every sentence on a frame that shows nothing at all, and of every frame for jumbled words."""
    foreign: float = 0.03
    """The label of a frame and a sentence that come from two sources, where the frame's own does not say it too."""
    truth_weight: float = 2.0
    """A pair weighs 1 + this times its truth: true pairs are few."""
    foreign_weight: float = 0.25
    """Weight of such pairs."""


@dataclass(frozen=True)
class AdaptConfig:
    """A whole adaptation: model, data, recipe."""

    out: Path
    """Folder to make; it becomes an open_clip directory."""
    sources: tuple[Source, ...]
    """Where frames and captions come from."""
    start: str = "embedded"
    """The model to begin with: embedded, local-dir:PATH, MODEL/PRETRAINED, scratch:ARCHITECTURE, scratch:FILE.json."""
    low_rank: int = 0
    """Rank of the factors that are trained in place of whole weights; 0 trains the weights."""
    freeze_text: bool = False
    """Leave the text tower as it is."""
    shares: tuple[tuple[str, float], ...] = ()
    """Share of each batch by source name; those not named share the rest evenly."""
    steps: int = 2000
    """Optimiser steps."""
    minutes: float = 0.0
    """Stop after so many minutes, the schedule done, or after `steps`, whichever comes first; 0 goes by steps alone."""
    batch: int = 256
    """Frames of a step."""
    captions: int = 96
    """Sentences of a step that are judged against frames of worlds; videos bring one for each frame."""
    accumulate: int = 1
    """Parts a batch is computed in, to save memory; the gradient is that of the whole batch."""
    workers: int = 1
    """Parts a batch is computed in at the same time on a CPU, each on a core; batch normalisation sees one at a time."""
    lr: float | None = None
    """Highest learning rate; by default 2e-3 from scratch, 5e-4 low-rank, 5e-5 otherwise."""
    warmup: int = 300
    """Steps of linear warm-up, at most a fifth of all, and of `minutes`."""
    weight_decay: float = 0.02
    """AdamW's, of matrices and kernels only; none for norms, biases, embeddings of words, scale and bias."""
    beta2: float = 0.98
    """AdamW's second decay."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient."""
    max_logit_scale: float = 100.0
    """Upper bound of the similarity's scale."""
    nothings: float = 0.047
    """Share of frames that show nothing: blank, noise, blurs, shuffled tiles."""
    jumbles: float = 0.0
    """Share of sentences whose words are put out of order; they are true of no frame."""
    augment: bool = True
    """Shift, brighten, tint and roughen some frames."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """Labels and weights."""
    long_captions: Literal["refuse", "cut"] = "refuse"
    """What is done with captions over the context length."""
    held_out: float = 0.05
    """Share of the frames that is never trained on."""
    validate_every: int = 500
    """Steps between validations; each writes a checkpoint, and so do five minutes without one."""
    validation_frames: int = 512
    """Held-out frames of a validation by loss and AUC. The facts of each source that is kept on disk, stored or of a
    world, and has a grammar are judged one by one on up to 1,500 more."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    export: Literal["best", "latest"] = "best"
    """Which weights the folder ends up with: those of the lowest validation loss, or the last."""
    weights: Literal["fp16", "fp32"] = "fp16"
    """Precision of the exported weights."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the towers compute in; auto takes bfloat16 where the device is fast at it."""
    device: str | None = None
    """cpu, cuda or cuda:N; None takes a GPU if there is one."""
    seed: int = 0
    """Seed of weights, batches and held-out frames."""
    cache_gib: float = 4.0
    """Most disk space, in GiB, for the frames of worlds and videos."""
    keep_cache: bool = False
    """Leave these frames on disk when all is done."""

    def __post_init__(self) -> None:
        _check(self)

    def learning_rate(self) -> float:
        """Return `lr`, or the default for what is trained."""
        kind = "low_rank" if self.low_rank else "scratch" if self.start.startswith("scratch:") else "full"
        return LEARNING_RATES[kind] if self.lr is None else self.lr


def require_sources(config: AdaptConfig) -> None:
    """Refuse a config without a source. Raises: UsageError."""
    if not config.sources:
        remedy = "give --world, --stored or --videos"
        raise usage_error("sources", "none", "at least one source of frames and captions", remedy)


def _check(config: AdaptConfig) -> None:
    at_least: dict[str, int] = {
        "steps": 1, "batch": 2, "captions": 2, "accumulate": 1, "workers": 1, "validate_every": 1, "validation_frames": 2,
        "log_every": 1, "low_rank": 0, "warmup": 0, "seed": 0,
    }  # fmt: skip
    for name, low in at_least.items():
        _in_range(config, name, low, float("inf"), f"{low} or more")
    for name in ("nothings", "jumbles", "held_out"):
        _in_range(config, name, 0.0, 0.5, "a share from 0 to 0.5")
    _in_range(config, "beta2", 0.0, 0.999999, "a number from 0 to below 1")
    for name in ("clip_norm", "max_logit_scale", "cache_gib"):
        _in_range(config, name, 1e-9, float("inf"), "a positive number")
    for name in ("weight_decay", "minutes"):
        _in_range(config, name, 0.0, float("inf"), "0 or more")
    if config.held_out == 0:
        raise usage_error(
            "held_out", 0, "a share above 0", "0.05 is usual: the best weights are chosen by it"
        )
    if config.lr is not None and not 0 < config.lr < 1:
        raise usage_error("lr", config.lr, "a number between 0 and 1", "leave it out for the default")
    if config.accumulate > config.batch:
        raise usage_error("accumulate", config.accumulate, f"at most the batch, {config.batch}", "use 1")
    if config.workers > 1 and (config.accumulate > 1 or 2 * config.workers > config.batch):
        got = f"{config.workers} beside a batch of {config.batch} and accumulate {config.accumulate}"
        raise usage_error("workers", got, "two frames or more for each, and no accumulate", "use 1")
    shares = dict(config.shares)
    if any(not 0 < share <= 1 for share in shares.values()) or sum(shares.values()) > 1 + 1e-6:
        raise usage_error("shares", shares, "numbers above 0 whose sum is at most 1", "lower them")
    for source in config.sources:
        _check_source(source)


def _check_source(source: Source) -> None:
    if isinstance(source, WorldSource) and source.frames < 0:
        raise usage_error("world frames", source.frames, "0 or more", "20000 is usual")
    if isinstance(source, VideoSource) and not 0 < source.fps <= 1000:
        raise usage_error("fps", source.fps, "frames per second, above 0", "4 is usual")


def _in_range(config: Any, name: str, low: float, high: float, expected: str) -> None:
    value = getattr(config, name)
    if not low <= value <= high:
        default = type(config).__dataclass_fields__[name].default
        raise usage_error(name, value, expected, f"the default is {default}")
