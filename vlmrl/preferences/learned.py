"""What rewards learned from preferences share: fitting, standardising over a pool, scoring, saving."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlmrl.configs import from_plain
from vlmrl.errors import usage_error
from vlmrl.preferences.configs import FitConfig
from vlmrl.preferences.evidence import CLEAR, evidence
from vlmrl.preferences.fitting import FitReport, fit, score_segments
from vlmrl.preferences.formulas import sigmoid
from vlmrl.preferences.labelled import label_pairs
from vlmrl.preferences.networks import rows_at_once, silence
from vlmrl.preferences.protocol import Answer, Pair, Segment, segments_of
from vlmrl.preferences.weights import write_reward
from vlmrl.rewards.protocol import Reads

FLAT = 1e-6
"""A reward that varies by less over the pool is flat, and is not blown up."""


class LearnedReward(ABC):
    """What both kinds share: fitting, standardising, scoring, saving."""

    reads: Reads = "frames"
    segment_reads: Literal["embeddings", "frames"]
    kind: str
    members: int
    fit_config: FitConfig
    device: torch.device

    def __init__(self) -> None:
        self.ensemble: nn.Module | None = None
        self.fits = 0
        """How often it was fitted."""
        self.report: FitReport | None = None
        """Of the last fit."""
        self.mean, self.scale, self.is_flat = 0.0, 1.0, False

    # -- learning ----------------------------------------------------------------------------------------------

    def fit(
        self,
        answered: Sequence[tuple[Pair, Answer]],
        *,
        pool: np.ndarray | Tensor | None = None,
        warm: bool = False,
    ) -> FitReport:
        """Fit to answered pairs (all there are so far), and standardise the output over `pool`; return the report.

        pool: embeddings (B, D), or frames (B, H, W, 3) for a reward on pixels, such as the agent has seen; None takes
        the pairs' own. warm: go on from the last fit; otherwise from a new start, which depends on the seed and on how
        often it was fitted.
        Labels that teach nothing leave no reward at all, `is_flat`: where no pass made a new start better (the report's
        best pass is 0), or what was learned predicts labels it has not seen no better than a coin (its evidence is below
        2.33). With nothing held out this is not looked at.
        Raises: UsageError for answers without a label, or segments of several sizes; FloatingPointError if the loss is
            not finite, the reward being then as it was.
        """
        data = label_pairs(answered, self._read, self.fit_config.validation, self.fit_config.seed)
        generator = torch.Generator().manual_seed(self.fit_config.seed * 1_000_003 + self.fits)
        frames = data.items[data.mask]
        going_on = warm and self.ensemble is not None and not self.is_flat
        ensemble = copy.deepcopy(self._fitted()) if going_on else self._start(frames, generator)
        report = fit(ensemble, self.members, data, self.fit_config, generator)
        found: float | None = 0.0
        if going_on or report.best_epoch:
            found = evidence(
                ensemble,
                lambda: self._start(frames, generator),
                self.members,
                data,
                self.fit_config,
                generator,
            )
        if found is not None and found < CLEAR:
            silence(ensemble)
        self.ensemble, self.report, self.fits = ensemble, replace(report, evidence=found), self.fits + 1
        self.standardise(frames if pool is None else pool)
        return self.report

    def standardise(self, pool: np.ndarray | Tensor) -> None:
        """Shift and scale the output so that its mean is 0 and its deviation 1 over a pool, as `fit` takes it."""
        raw = self._raw(pool).double().mean(dim=0)
        if len(raw) == 0:
            raise usage_error("pool", "no frames", "at least one frame", "leave it out for the pairs' own")
        deviation = float(raw.std(correction=0))
        self.is_flat = deviation < FLAT
        self.mean, self.scale = float(raw.mean()), 1.0 if self.is_flat else deviation

    # -- scoring -----------------------------------------------------------------------------------------------

    def member_rewards(self, batch: np.ndarray | Tensor) -> Float[Tensor, "members batch"]:
        """Return each member's rewards (E, B), float32, in the units of the standardised reward.

        batch: embeddings (B, D) or, on pixels, frames (B, H, W, 3). Raises: UsageError before the first `fit`.
        """
        return (self._raw(batch) - self.mean) / self.scale

    def segment_returns(self, batch: np.ndarray) -> np.ndarray:
        """Return each member's returns, float64 (E, B), of segments (B, L, ...), not standardised: of P(first)."""
        ensemble, items = self._fitted(), self._items(np.asarray(batch))
        mask = np.ones(items.shape[:2], bool)
        return score_segments(ensemble, self.members, items, mask, self.fit_config.aggregate)

    def probabilities(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return P(first preferred), float64 (P,), of pairs: the mean over the members."""
        segments = segments_of(pairs)
        parts = dict(zip(segments, self._read(list(segments.values())), strict=True))
        returns: dict[str, np.ndarray] = {}
        for shape in {part.shape for part in parts.values()}:
            alike = {key: part for key, part in parts.items() if part.shape == shape}
            scores = self.segment_returns(np.stack(list(alike.values())))
            returns |= dict(zip(alike, scores.T, strict=True))
        gaps = [returns[pair.first.key] - returns[pair.second.key] for pair in pairs]
        return sigmoid(np.array(gaps)).mean(axis=1) if gaps else np.zeros(0)

    def _raw(self, batch: np.ndarray | Tensor) -> Tensor:
        ensemble = self._fitted()
        chunk = rows_at_once(tuple(batch.shape[1:]))
        parts = [torch.zeros(self.members, 0, device=self.device)]
        with torch.no_grad():
            for first in range(0, len(batch), chunk):
                items = self._items(batch[first : first + chunk])
                part = torch.as_tensor(items).to(self.device)
                parts.append(ensemble(part.expand(self.members, *part.shape)))
        return torch.cat(parts, dim=1)

    def _fitted(self) -> nn.Module:
        if self.ensemble is None:
            remedy = "call `fit` with answered pairs, or load a saved one"
            raise usage_error("preference reward", "one that has learned nothing", "a fitted one", remedy)
        return self.ensemble

    # -- saving ------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the reward into `folder`: safetensors and JSON. Raises: UsageError before the first `fit`; OSError."""
        state = {name: value.cpu().numpy() for name, value in self._fitted().state_dict().items()}
        record = {
            "kind": self.kind, "fits": self.fits, "mean": self.mean, "scale": self.scale, "is_flat": self.is_flat,
            "report": self.report, **self._described(),
        }  # fmt: skip
        return write_reward(Path(folder), state, record)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all that scoring and the next fit depend on, by name; nearly nothing before the first fit."""
        state = {"numbers": np.array([self.fits, self.mean, self.scale, self.is_flat], np.float64)}
        if self.ensemble is not None:
            tensors = self.ensemble.state_dict().items()
            state |= {f"ensemble/{name}": np.array(value.cpu().numpy()) for name, value in tensors}
            state["shape"] = np.array(self._frame_shape(), np.int64)
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict` of a reward of the same settings; the last fit's report is not part of it."""
        self.report, self.ensemble = None, None
        if "shape" in state:
            blank = np.zeros((1, *state["shape"]), np.uint8 if len(state["shape"]) == 3 else np.float32)
            ensemble = self._start(blank, torch.Generator())
            prefix = "ensemble/"
            tensors = {
                name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
            }
            ensemble.load_state_dict(
                {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
            )
            self.ensemble = ensemble.to(self.device).eval()
        fits, self.mean, self.scale, is_flat = (float(number) for number in state["numbers"])
        self.fits, self.is_flat = int(fits), bool(is_flat)

    def _take(self, tensors: dict[str, np.ndarray], record: dict[str, Any], ensemble: nn.Module) -> None:
        try:
            ensemble.load_state_dict(
                {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
            )
            self.fits, self.is_flat = int(record["fits"]), bool(record["is_flat"])
            self.mean, self.scale = float(record["mean"]), float(record["scale"])
            report = record["report"]
            self.report = None if report is None else from_plain(FitReport, report, "report")
        except (KeyError, RuntimeError) as error:
            remedy = "save the reward again, or copy it back"
            raise usage_error("reward", f"a record that does not fit ({error})", "its own", remedy) from error
        self.ensemble = ensemble.to(self.device).eval()

    @abstractmethod
    def _read(self, segments: list[Segment]) -> list[np.ndarray]:
        """Return what is learned from of each segment, (L, ...)."""

    @abstractmethod
    def _items(self, batch: Any) -> Any:
        """Return a batch, checked, as the ensemble takes it."""

    @abstractmethod
    def _start(self, frames: np.ndarray, generator: torch.Generator) -> nn.Module:
        """Return a new ensemble for such frames (B, ...)."""

    @abstractmethod
    def _frame_shape(self) -> tuple[int, ...]:
        """Return the shape of what one frame is to the ensemble: (D,) or (H, W, 3)."""

    @abstractmethod
    def _described(self) -> dict[str, Any]:
        """Return what of this kind is saved in the record."""
