"""The arguments of `vlmrl adapt`, and the config they describe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from vlmrl.adapt.config import (
    AdaptConfig,
    LabelConfig,
    Source,
    StoredSource,
    VideoSource,
    WorldSource,
    require_sources,
)
from vlmrl.errors import usage_error

Words = tyro.conf.UseAppendAction[tuple[str, ...]]
Paths = tyro.conf.UseAppendAction[tuple[Path, ...]]


@dataclass(frozen=True)
class AdaptOptions:
    """Arguments that say what to train, on what, and how."""

    out: Path | None = None
    """Folder to make; it becomes an open_clip directory, and is whole at any moment."""
    resume: Path | None = None
    """Go on with this folder's run, exactly where it stopped; only --device and --weights may be given with it."""
    world: Words = ()
    """Gymnasium id of a World to draw frames of, such as vlmrl/CartPole-v0; repeatable."""
    stored: Paths = ()
    """Folder with NAME-*.frames.npy and NAME-*.degrees.npy, NAME a world's folder; repeatable."""
    videos: Paths = ()
    """Folder of videos with captions.json, .jsonl or .csv (file, caption, start, end, truth), or a NAME.txt
    beside each video; repeatable."""
    start: str = AdaptConfig.start
    """Model to begin with: embedded, local-dir:PATH, MODEL/PRETRAINED, scratch:ARCHITECTURE or scratch:FILE.json."""
    low_rank: int = AdaptConfig.low_rank
    """Train low-rank factors of this rank in place of whole weights; they are merged into the weights at the end."""
    freeze_text: bool = AdaptConfig.freeze_text
    """Leave the text tower as it is."""
    share: Words = ()
    """Share of each batch as NAME=0.3, NAME a world or "videos"; repeatable; by default all alike."""
    world_frames: int = WorldSource.frames
    """Frames of each world, drawn once and kept on disk meanwhile; 0 draws every batch anew."""
    fps: float = VideoSource.fps
    """Frames taken per second of video."""
    steps: int = AdaptConfig.steps
    """Optimiser steps."""
    minutes: float = AdaptConfig.minutes
    """Stop after so many minutes, the schedule done, or after --steps, whichever comes first; 0 goes by steps alone."""
    batch: int = AdaptConfig.batch
    """Frames of a step."""
    captions: int = AdaptConfig.captions
    """Sentences of a step that are judged against frames of worlds."""
    accumulate: int = AdaptConfig.accumulate
    """Parts a batch is computed in, to save memory; the gradient stays that of the whole batch."""
    workers: int = AdaptConfig.workers
    """Parts a batch is computed in at the same time on a CPU, each on a core of its own."""
    lr: float | None = AdaptConfig.lr
    """Highest learning rate; by default 2e-3 from scratch, 5e-4 low-rank, 5e-5 otherwise."""
    warmup: int = AdaptConfig.warmup
    """Steps of linear warm-up, at most a fifth of all, and of --minutes."""
    weight_decay: float = AdaptConfig.weight_decay
    """Decay of matrices and kernels."""
    no_augment: bool = False
    """Train on frames as they are: none shifted, brightened, tinted or roughened."""
    hard_labels: bool = False
    """Labels 0 and 1 as they are, in place of 0.03 and 0.97."""
    nothings: float = AdaptConfig.nothings
    """Share of frames that show nothing, which no sentence is true of."""
    jumbles: float = AdaptConfig.jumbles
    """Share of sentences whose words are put in disorder, which are true of no frame."""
    long_captions: Literal["refuse", "cut"] = AdaptConfig.long_captions
    """What is done with captions over the context length."""
    held_out: float = AdaptConfig.held_out
    """Share of the frames that is never trained on."""
    validate_every: int = AdaptConfig.validate_every
    """Steps between validations; each writes a checkpoint, and so do five minutes without one."""
    validation_frames: int = AdaptConfig.validation_frames
    """Held-out frames of a validation by loss and AUC; facts are judged one by one on up to 1,500 more of each source
    that is kept on disk and has a grammar."""
    export: Literal["best", "latest"] = AdaptConfig.export
    """Which weights are kept: those of the lowest held-out loss, or the last."""
    weights: Literal["fp16", "fp32"] | None = None
    """Precision of the weights that are written; by default fp16, or with --resume as the run began."""
    precision: Literal["auto", "float32", "bfloat16"] = AdaptConfig.precision
    """What the towers compute in; auto takes bfloat16 where it is fast."""
    device: str | None = None
    """cpu, cuda or cuda:N; by default a GPU if there is one."""
    seed: int = AdaptConfig.seed
    """Seed of weights, batches and held-out frames."""
    cache_gib: float = AdaptConfig.cache_gib
    """Most disk space, in GiB, for frames of worlds and videos while it trains."""
    keep_cache: bool = AdaptConfig.keep_cache
    """Leave these frames on disk when all is done."""

    def resume_path(self) -> Path:
        """Return the folder that is worked in."""
        path = self.resume or self.out
        assert path is not None  # `config` has refused it
        return path

    def config(self) -> AdaptConfig:
        """Return what the arguments describe.

        Raises: UsageError if something is missing, or makes no sense.
        """
        if self.out is None:
            raise usage_error("out", "none", "a new folder", "add --out FOLDER (or --resume FOLDER)")
        sources: list[Source] = [WorldSource(world, frames=self.world_frames) for world in self.world]
        sources += [StoredSource(folder) for folder in self.stored]
        sources += [VideoSource(folder, self.fps) for folder in self.videos]
        names = {field.name for field in dataclasses.fields(AdaptConfig)}
        same: dict[str, Any] = {n: getattr(self, n) for n in vars(self) if n in names}
        labels = (
            LabelConfig(floor=0.0, ceiling=1.0, nothing=0.0, foreign=0.0)
            if self.hard_labels
            else LabelConfig()
        )
        shares = tuple(map(_parse_share, self.share))
        made = {"sources": tuple(sources), "shares": shares, "labels": labels, "augment": not self.no_augment}
        made |= {"weights": self.weights or AdaptConfig.weights}
        config = AdaptConfig(**{**same, **made})
        require_sources(config)
        return config

    def check_resume(self) -> None:
        """Refuse other arguments beside --resume. Raises: UsageError naming them."""
        allowed = ("resume", "device", "weights", "json")
        for field in dataclasses.fields(self):
            if field.name not in allowed and getattr(self, field.name) != field.default:
                name = f"--{field.name.replace('_', '-')}"
                expected = "no other arguments but --device and --weights: all is as the run began"
                raise usage_error("resume", f"also {name}", expected, f"leave {name} out, or begin anew")


def _parse_share(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise usage_error("share", repr(text), "NAME=NUMBER", "for example --share cartpole=0.3") from error
