"""From start to end: open the sources, train, validate, keep the best, write an open_clip directory."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vlmrl import checkpoints
from vlmrl.adapt.batches import Ahead, BatchMaker, Inputs
from vlmrl.adapt.config import AdaptConfig, require_sources
from vlmrl.adapt.families import open_families
from vlmrl.adapt.folder import RECORD, drop_rows_after, export, save_bad_batch
from vlmrl.adapt.model import load_start
from vlmrl.adapt.pairs import Family, family_shares
from vlmrl.adapt.tokens import Tokens
from vlmrl.adapt.training import NotFinite, Training
from vlmrl.configs import from_plain
from vlmrl.errors import UsageError
from vlmrl.progress import duration
from vlmrl.runs import CHECKPOINTS, RunFolder, read_config
from vlmrl.runtime import guard_import_order, resolve_device

KIND = "adapt"
CACHE = "cache"


@dataclass(frozen=True)
class AdaptProgress:
    """Where an adaptation stands after a step."""

    global_step: int
    """Steps done."""
    total_steps: int
    """Steps there will be."""
    loss: float
    """The last step's loss."""
    frames_per_s: float
    """Frames trained on per second since the start, validation included."""
    seconds_left: float
    """Estimated seconds to the end."""
    validation: dict[str, float]
    """The last validation; empty before the first."""


def adapt_line(progress: AdaptProgress) -> str:
    """Return one line of plain text: steps, loss, rate, the last validation, time left."""
    share = progress.global_step / progress.total_steps
    parts = [
        f"{share:4.0%}  step {progress.global_step:,}/{progress.total_steps:,}",
        f"loss {progress.loss:.4f}",
        f"{progress.frames_per_s:,.0f} frames/s",
    ]
    parts += [
        f"held-out {k} {progress.validation[k]:.3f}" for k in ("loss", "auc") if k in progress.validation
    ]
    return "  ".join([*parts, f"ETA {duration(progress.seconds_left)}"])


@dataclass(frozen=True)
class AdaptResult:
    """What an adaptation ended with."""

    path: Path
    """The open_clip directory; load it as local-dir:PATH."""
    step: int
    """Steps done."""
    exported_step: int
    """The step whose weights the directory holds."""
    validation: dict[str, float]
    """The figures of these weights on held-out frames."""


Report = Callable[[AdaptProgress], None]


def run(
    config: AdaptConfig, on_progress: Report | None = None, families: Sequence[Family] | None = None
) -> AdaptResult:
    """Train as `config` says, into the new folder `config.out`, and return what came of it.

    families: frames and sentences of one's own, in place of what `config.sources` names.
    Raises: UsageError for wrong input, with no folder left behind; FloatingPointError for a loss that is not
        finite, with the batch saved; OSError (disk full). The last good weights stay intact.
    """
    if families is None:
        require_sources(config)
    device = resolve_device(config.device)
    folder = RunFolder.create(config.out, config, KIND)
    with folder:
        try:
            work = _Work(config, folder, device, families)
        except UsageError:
            shutil.rmtree(folder.path, ignore_errors=True)  # it was made a moment ago, by us
            raise
        return work.go(on_progress)


def resume(
    path: str | Path,
    device: str | None = None,
    on_progress: Report | None = None,
    families: Sequence[Family] | None = None,
) -> AdaptResult:
    """Go on with the adaptation in `path` from its last checkpoint, exactly as if it had never stopped.

    Raises: as `run`; UsageError if `path` was not made by it, or the start's weights have changed.
    """
    content = read_config(path, KIND)
    config = replace(from_plain(AdaptConfig, content["config"]), out=Path(path))
    if device is not None:
        config = replace(config, device=device)
    with RunFolder.open(path, writing=True, kind=KIND) as folder:
        return _Work(config, folder, resolve_device(config.device), families).go(on_progress)


class _Work:
    """One process's part of an adaptation."""

    def __init__(
        self, config: AdaptConfig, folder: RunFolder, device: torch.device, families: Sequence[Family] | None
    ) -> None:
        guard_import_order()
        self.config, self.folder = config, folder
        loaded = load_start(config.start, config.seed)
        preprocess = loaded.model.visual.preprocess_cfg
        size = preprocess["size"] if isinstance(preprocess["size"], int) else preprocess["size"][0]
        context = getattr(loaded.model, "context_length", None) or loaded.tokenizer.context_length
        tokens = Tokens(loaded.tokenizer, int(context), config.long_captions == "cut")
        if families is None:
            families = open_families(config, size, folder.path / CACHE, tokens.check)
        shares = family_shares([family.name for family in families], dict(config.shares))
        self.maker = BatchMaker(
            families, shares, config.batch, config.captions, config.nothings, config.jumbles, config.seed,
            config.augment, preprocess["mean"], preprocess["std"], tokens, tokens.fits,
        )  # fmt: skip
        self.held_out = self.maker.make_held_out(config.validation_frames)
        with torch.random.fork_rng(devices=[]):
            self.training = Training(config, loaded, device)
        self.validation: dict[str, float] = {}
        self.device = device

    def go(self, on_progress: Report | None) -> AdaptResult:
        """Train to the end from where the folder stands."""
        saved = checkpoints.list_checkpoints(self.folder.path / CHECKPOINTS)
        if saved:
            checkpoint = self.folder.load_checkpoint("latest")
            self.training.restore(checkpoint)
            self.validation = checkpoint.extra["validation"]
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            if saved:
                self.folder.mend_best(checkpoint)
            drop_rows_after(self.folder.path, self.training.step)
            with torch.random.fork_rng(devices=devices):
                self._train(on_progress, fresh=not saved)
            self._finish()
        except OSError as error:
            text = f"{error.strerror or error}; {self._last_good()}; then: vlmrl adapt --resume {self.folder.path}"
            raise OSError(error.errno or 0, text) from error
        record = json.loads((self.folder.path / RECORD).read_bytes())
        return AdaptResult(self.folder.path, self.training.step, record["step"], record["validation"])

    def _train(self, on_progress: Report | None, fresh: bool) -> None:
        training, config = self.training, self.config
        began, first = time.monotonic() - training.seconds, training.step
        ahead = Ahead(self.maker.make, first)
        started = time.monotonic()
        try:
            while (progress := self._progress()) < 1:
                inputs = ahead.next()
                if fresh and training.step == 0:
                    training.begin(inputs)
                loss = self._step(inputs, progress)
                training.seconds = time.monotonic() - began
                if training.step % config.log_every == 0:
                    lr = training.optimizer.param_groups[0]["lr"]
                    row = {"loss": loss, "lr": lr, "seconds": training.seconds}
                    row |= {"logit_scale": float(training.model.logit_scale.detach().exp().mean())}
                    self.folder.log(training.step, row)
                if training.step % config.validate_every == 0 or self._progress() >= 1:
                    self._validate()
                if on_progress is not None:
                    on_progress(self._report(loss, first, time.monotonic() - started))
        finally:
            ahead.close()

    def _progress(self) -> float:
        """Return how much is done, 0 to 1, by steps or by the clock, whichever is further."""
        elapsed = self.training.seconds / 60 / self.config.minutes if self.config.minutes else 0.0
        return max(self.training.step / self.config.steps, elapsed)

    def _step(self, inputs: Inputs, progress: float) -> float:
        try:
            return self.training.train_step(inputs, progress)
        except NotFinite as error:
            place = save_bad_batch(self.folder.path, self.training.step, inputs.batch)
            raise NotFinite(
                f"{error}; expected a finite number; its batch is in {place}, {self._last_good()}; lower --lr"
            ) from error

    def _validate(self) -> None:
        """Judge the model, write a checkpoint, and export the weights if they are the ones to keep."""
        training = self.training
        self.validation = training.validate(self.held_out, self.maker)
        self.folder.log(training.step, {f"held_out/{key}": value for key, value in self.validation.items()})
        extra = {**training.extra(), "validation": self.validation}
        path = self.folder.save_checkpoint(
            training.step, training.tensors(), extra, score=-self.validation["loss"], keep=2
        )
        best = (self.folder.path / CHECKPOINTS / "best").read_text().strip() == path.name
        if best or self.config.export == "latest":
            self._export(training.step, self.validation)

    def _export(self, step: int, validation: dict[str, float]) -> None:
        families = self.maker.families
        data = [
            {"family": family.name, "source": store.name, "share": share, "frames": store.count,
             "held_out": store.held_out}
            for family, share in zip(families, self.maker.shares, strict=True) for store in family.stores
        ]  # fmt: skip
        record = {"step": step, "validation": validation, "seconds": self.training.seconds}
        record |= {"precision": str(self.training.half or torch.float32), "device": self.device.type}
        record |= {"data": data, "config": self.config}
        export(self.folder.path, self.training.loaded, self.config.weights, record)

    def _finish(self) -> None:
        """See that the folder ends up with the right weights, after a kill between two writes too."""
        which = "best" if self.config.export == "best" else "latest"
        checkpoint = self.folder.load_checkpoint(which)
        file = self.folder.path / RECORD
        exported = json.loads(file.read_bytes())["step"] if file.exists() else None
        if exported != checkpoint.global_step:
            step, seconds = self.training.step, self.training.seconds
            self.training.restore(checkpoint)
            self._export(checkpoint.global_step, checkpoint.extra["validation"])
            self.training.step, self.training.seconds = step, seconds
        if not self.config.keep_cache:
            shutil.rmtree(self.folder.path / CACHE, ignore_errors=True)

    def _last_good(self) -> str:
        file = self.folder.path / RECORD
        if not file.exists():
            return "no weights were saved before"
        step = json.loads(file.read_bytes())["step"]
        return f"the last good weights, of step {step}, are in {self.folder.path}"

    def _report(self, loss: float, first: int, seconds: float) -> AdaptProgress:
        step, total = self.training.step, self.config.steps
        rate = (step - first) / max(seconds, 1e-9)
        left = (total - step) / rate
        if self.config.minutes:
            left = min(left, 60 * self.config.minutes - self.training.seconds)
        return AdaptProgress(step, total, loss, rate * self.config.batch, max(left, 0.0), self.validation)
