"""From start to end: open the sources, train, validate, keep the best, write an open_clip directory."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from vlmrl import checkpoints
from vlmrl.adapt.batches import Ahead, BatchMaker, Inputs, split_counts
from vlmrl.adapt.config import AdaptConfig, require_sources
from vlmrl.adapt.families import family_names, open_families
from vlmrl.adapt.folder import RECORD, export, last_good, save_bad_batch, source_rows, what_is_kept_said
from vlmrl.adapt.model import image_shape, load_start
from vlmrl.adapt.pairs import Family, family_shares
from vlmrl.adapt.progress import AdaptProgress, AdaptResult, Report, share_done
from vlmrl.adapt.tokens import Tokens
from vlmrl.adapt.training import NotFinite, Training
from vlmrl.checkpoints import Checkpoint
from vlmrl.configs import from_plain, to_plain
from vlmrl.encoders.sources import LoadedClip
from vlmrl.encoders.words import WORDS_FILE
from vlmrl.errors import UsageError
from vlmrl.runs import CHECKPOINTS, RunFolder, read_config
from vlmrl.runtime import guard_import_order, resolve_device

KIND = "adapt"
CACHE = "cache"
SAVE_EVERY = 300.0
"""Seconds of training after which a checkpoint is due, validated or not: a kill loses no more."""


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
    with folder, what_is_kept_said(folder.path):
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
    weights: Literal["fp16", "fp32"] | None = None,
) -> AdaptResult:
    """Go on with the adaptation in `path` from its last checkpoint; of one that is finished no source is opened.

    By steps and on a CPU it goes on exactly as if it had never stopped; by the clock it has the minutes that were
    left. `device` and the precision of exported `weights` may differ from those that it began with.
    Raises: as `run`; UsageError if `path` was not made by it, or weights of the start that stay frozen have changed.
    """
    content = read_config(path, KIND)
    config = replace(from_plain(AdaptConfig, content["config"]), out=Path(path))
    config = replace(config, device=device or config.device, weights=weights or config.weights)
    with RunFolder.open(path, writing=True, kind=KIND) as folder, what_is_kept_said(folder.path):
        found = _finished(config, folder)
        if found is not None:
            return found
        return _Work(config, folder, resolve_device(config.device), families).go(on_progress)


def _finished(config: AdaptConfig, folder: RunFolder) -> AdaptResult | None:
    """Return what the adaptation in `folder` ended with, if it is trained; its weights as `config` wants them."""
    file = folder.path / RECORD
    if not file.exists() or not checkpoints.list_checkpoints(folder.path / CHECKPOINTS):
        return None
    last = folder.load_checkpoint("latest")
    if share_done(config, last.global_step, last.extra["seconds"]) < 1 or last.extra.get("score") is None:
        return None
    folder.mend_best(last)
    chosen = folder.load_checkpoint("best") if config.export == "best" else last
    record = json.loads(file.read_bytes())
    if (record["step"], record["config"]["weights"]) != (chosen.global_step, config.weights):
        record = _export_again(config, folder, chosen, record)
    _clear(config, folder)
    return AdaptResult(folder.path, last.global_step, record["step"], record["validation"])


def _export_again(
    config: AdaptConfig, folder: RunFolder, checkpoint: Checkpoint, record: dict[str, Any]
) -> dict[str, Any]:
    """Write the weights of a checkpoint as `config` asks for them; return the old `record` with what is new."""
    guard_import_order()
    loaded = load_start(config.start, config.seed)
    with torch.random.fork_rng(devices=[]):
        Training(config, loaded, torch.device("cpu")).restore(checkpoint)
    extra = checkpoint.extra
    record |= {"step": checkpoint.global_step, "validation": extra["validation"], "seconds": extra["seconds"]}
    record["config"] = to_plain(config)
    export(folder.path, loaded, config.weights, record)
    return record


def _clear(config: AdaptConfig, folder: RunFolder) -> None:
    if not config.keep_cache:
        shutil.rmtree(folder.path / CACHE, ignore_errors=True)


class _Work:
    """One process's part of an adaptation."""

    def __init__(
        self, config: AdaptConfig, folder: RunFolder, device: torch.device, families: Sequence[Family] | None
    ) -> None:
        guard_import_order()
        self.config, self.folder = config, folder
        names = family_names(config) if families is None else [family.name for family in families]
        shares = family_shares(names, dict(config.shares))
        for total in (config.batch, config.captions, config.validation_frames):
            split_counts(total, shares)  # first: what follows may take minutes
        loaded = load_start(config.start, config.seed)
        preprocess = loaded.model.visual.preprocess_cfg
        size, interpolation = image_shape(loaded.model)
        context = getattr(loaded.model, "context_length", None) or loaded.tokenizer.context_length
        tokens = Tokens(loaded.tokenizer, int(context), config.long_captions == "cut")
        if families is None:
            families = open_families(config, size, folder.path / CACHE, tokens.check, interpolation)
        self.maker = BatchMaker(
            families, shares, config.batch, config.captions, config.nothings, config.jumbles, config.seed,
            config.augment, preprocess["mean"], preprocess["std"], tokens, tokens.fits,
        )  # fmt: skip
        self.held_out = self.maker.make_held_out(config.validation_frames)
        with torch.random.fork_rng(devices=[]):
            self.training = Training(config, loaded, device)
        self.validation: dict[str, float] = {}
        self.validated: int | None = None
        """The step that `validation` is of."""
        self.saved, self.saved_at = 0, 0.0
        """Step, and seconds of training, of the last checkpoint."""
        self.device = device
        self.unchecked = _say_unchecked(config, loaded)

    def go(self, on_progress: Report | None) -> AdaptResult:
        """Train to the end from where the folder stands."""
        saved = checkpoints.list_checkpoints(self.folder.path / CHECKPOINTS)
        if saved:
            checkpoint = self.folder.load_checkpoint("latest")
            self.training.restore(checkpoint)
            self.validation = checkpoint.extra["validation"]
            self.validated = checkpoint.extra.get("validated", checkpoint.global_step)
            self.saved, self.saved_at = self.training.step, self.training.seconds
        devices = [self.device] if self.device.type == "cuda" else []
        if saved:
            self.folder.mend_best(checkpoint)
        self.folder.take_back(self.training.step)
        with torch.random.fork_rng(devices=devices):
            self._train(on_progress, fresh=not saved)
        self._finish()
        record = json.loads((self.folder.path / RECORD).read_bytes())
        return AdaptResult(self.folder.path, self.training.step, record["step"], record["validation"])

    def _train(self, on_progress: Report | None, fresh: bool) -> None:
        training, config = self.training, self.config
        began, first = time.monotonic() - training.seconds, training.step
        ahead = Ahead(self.maker.make, first)
        started = time.monotonic()
        try:
            if self._due():  # stopped just before
                self._validate()
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
                if self._due():
                    self._validate()
                elif training.seconds - self.saved_at >= SAVE_EVERY:
                    self._save()
                if on_progress is not None:
                    on_progress(self._report(loss, first, time.monotonic() - started))
        except (FloatingPointError, OSError):
            raise  # nothing worth saving, or nowhere to save it
        except BaseException:
            if training.whole and training.step > self.saved:
                self._save()
            raise
        finally:
            ahead.close()
            training.close()

    def _progress(self) -> float:
        return share_done(self.config, self.training.step, self.training.seconds)

    def _due(self) -> bool:
        """Tell whether the weights as they are have to be validated."""
        step = self.training.step
        at = step % self.config.validate_every == 0 or self._progress() >= 1
        return step > 0 and at and self.validated != step

    def _step(self, inputs: Inputs, progress: float) -> float:
        try:
            return self.training.train_step(inputs, progress)
        except NotFinite as error:
            raise self._explained(error, inputs) from error

    def _explained(self, error: NotFinite, inputs: Inputs) -> NotFinite:
        """Save the batch of an error, and return the error with all that its one line has to say."""
        place = save_bad_batch(self.folder.path, self.training.step, inputs.batch)
        whence = f"--start local-dir:{self.folder.path}, " if (self.folder.path / RECORD).exists() else ""
        remedy = f"begin anew with {whence}--lr lower than {self.config.learning_rate():g}"
        return NotFinite(
            f"{error}; expected a finite number; its batch is in {place}, {last_good(self.folder.path)}; {remedy}"
        )

    def _validate(self) -> None:
        """Judge the model, write a checkpoint, and export the weights if they are the ones to keep."""
        training = self.training
        try:
            self.validation = training.validate(self.held_out, self.maker)
        except NotFinite as error:
            raise self._explained(error, self.held_out) from error
        self.validated = training.step
        self.folder.log(training.step, {f"held_out/{key}": value for key, value in self.validation.items()})
        path = self._save()
        best = (self.folder.path / CHECKPOINTS / "best").read_text().strip() == path.name
        if best or self.config.export == "latest":
            self._export(training.step, self.validation)

    def _save(self) -> Path:
        """Write a checkpoint; only weights that were just validated have a score."""
        training = self.training
        score = -self.validation["loss"] if self.validated == training.step else None
        extra = {**training.extra(), "validation": self.validation, "validated": self.validated}
        path = self.folder.save_checkpoint(training.step, training.tensors(), extra, score=score, keep=2)
        self.saved, self.saved_at = training.step, training.seconds
        return path

    def _export(self, step: int, validation: dict[str, float]) -> None:
        record = {"step": step, "validation": validation, "seconds": self.training.seconds}
        record |= {"precision": str(self.training.half or torch.float32), "device": self.device.type}
        record |= {"data": source_rows(self.maker.families, self.maker.shares), "config": self.config}
        if self.unchecked:
            record["words"] = self.unchecked
        export(self.folder.path, self.training.loaded, self.config.weights, record)

    def _finish(self) -> None:
        """See that the folder ends up with the right weights, after a kill between two writes too."""
        which = "best" if self.config.export == "best" else "latest"
        checkpoint = self.folder.load_checkpoint(which)
        file = self.folder.path / RECORD
        record = json.loads(file.read_bytes()) if file.exists() else None
        exported = record and (record["step"], record["config"]["weights"])
        if exported != (checkpoint.global_step, self.config.weights):
            step, seconds = self.training.step, self.training.seconds
            self.training.restore(checkpoint)
            self._export(checkpoint.global_step, checkpoint.extra["validation"])
            self.training.step, self.training.seconds = step, seconds
        _clear(self.config, self.folder)

    def _report(self, loss: float, first: int, seconds: float) -> AdaptProgress:
        step, total = self.training.step, self.config.steps
        rate = (step - first) / max(seconds, 1e-9)
        left = (total - step) / rate
        if self.config.minutes:
            left = min(left, 60 * self.config.minutes - self.training.seconds)
        frames_per_s, share = rate * self.config.batch, self._progress()
        return AdaptProgress(step, total, share, loss, frames_per_s, max(left, 0.0), self.validation)


def _say_unchecked(config: AdaptConfig, loaded: LoadedClip) -> str | None:
    """Warn, and return what adapt.json is to say, if the start checks sentences and its adapted weights cannot."""
    if loaded.weights is None or not (loaded.weights.parent / WORDS_FILE).is_file():
        return None
    text = f"{WORDS_FILE} of {config.start} is for its own weights: those made here check no sentences"
    warnings.warn(text, stacklevel=2)
    return text
