"""Teach the text tower more words: frames are embedded once by the image tower, which stays as it is.

    python -m experiments.embedded.text --model data/embedded/model --out data/embedded/final

A frame's vector costs nothing to look up, so that a step judges more frames by more sentences in a fraction of the time:
in minutes the text tower hears what would take the whole training hours. Writes a folder of its own; `--model` is not touched.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.embedded import splits, train
from vlmrl.adapt.batches import draw_batch, nothings
from vlmrl.adapt.config import AdaptConfig
from vlmrl.adapt.folder import export
from vlmrl.adapt.loss import soft_sigmoid_loss
from vlmrl.adapt.model import encode_words, make_optimizer, similarity_logits
from vlmrl.adapt.pairs import ArrayStore, Family, Known
from vlmrl.adapt.tokens import Tokens
from vlmrl.encoders import load_encoder
from vlmrl.encoders.sources import load_clip

CHUNK = 2048
"""Frames that are embedded at once."""
NOTHINGS = 4096
"""Frames of nothing whose vectors are kept."""


@dataclass(frozen=True)
class TextConfig:
    """How the text tower goes on learning."""

    steps: int = 6000
    """Optimiser steps."""
    frames: int = 512
    """Vectors of a step."""
    captions: int = 256
    """Sentences of a step."""
    lr: float = 1e-3
    """Highest learning rate: linear warm-up over 100 steps, then half a cosine down to 2%."""
    weight_decay: float = 0.02
    """AdamW's, of matrices only."""
    beta2: float = 0.98
    """AdamW's second decay."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient."""
    nothings: float = 0.047
    """Share of vectors of frames that show nothing."""
    jumbles: float = 0.04
    """Share of sentences whose words are in disorder."""
    max_logit_scale: float = 40.0
    """Upper bound of the similarity's scale."""
    seed: int = 0
    """Seed of the batches."""


class VectorStore(ArrayStore):
    """A store whose frames are already vectors (n, D)."""

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, Known]:
        """Return the vectors of these rows and what is known of them."""
        assert self.known.degrees is not None
        return self.frames[rows], Known(degrees=np.asarray(self.known.degrees[rows], np.float32))


def embedded_families(encoder: Any, families: Sequence[Family]) -> list[Family]:
    """Return the families with every frame that may be trained on as its vector, float32."""
    found = []
    for family in families:
        stores = []
        for store in family.stores:
            assert isinstance(store, ArrayStore)
            rows = store.rows(held_out=False)
            parts = [store.read(part) for part in np.array_split(rows, max(1, len(rows) // CHUNK))]
            vectors = np.concatenate([encoder.embed_images(frames).cpu().numpy() for frames, _ in parts])
            known = Known(degrees=np.concatenate([known.degrees for _, known in parts]))
            everything = np.arange(len(rows))
            stores.append(VectorStore(store.name, vectors, known, everything, everything[:0], size=0))
            print(f"{store.name}: {len(rows)} frames embedded", flush=True)
        found.append(Family(family.name, tuple(stores), family.grammar))
    return found


def vectors_of_nothing(encoder: Any, families: Sequence[Family], rng: np.random.Generator) -> np.ndarray:
    """Return the vectors (n, D) of frames that show nothing."""
    each = max(1, NOTHINGS // len(families))
    frames = [nothings(rng, family.frames(rng, each)[0]) for family in families]
    return np.concatenate([encoder.embed_images(part).cpu().numpy() for part in frames])


def learn(
    model: Any, tokens: Tokens, families: Sequence[Family], shares: Sequence[float], nothing: np.ndarray, config: TextConfig
) -> list[float]:  # fmt: skip
    """Train everything but the image tower, in place; return the losses."""
    labels = train.LABELS
    model.train().requires_grad_(True)
    model.visual.eval().requires_grad_(False)
    settings = {"lr": config.lr, "weight_decay": config.weight_decay, "beta2": config.beta2}
    optimizer = make_optimizer(model, AdaptConfig(Path(), (), **settings))
    losses, started = [], time.monotonic()
    for step in range(config.steps):
        rng = np.random.default_rng([config.seed, step])
        batch = draw_batch(
            families, shares, rng, config.frames, config.captions, tokens.fits, jumbled=config.jumbles
        )
        where = rng.choice(len(batch.frames), round(config.nothings * len(batch.frames)), replace=False)
        batch.frames[where] = nothing[rng.integers(len(nothing), size=len(where))]
        batch.truth[where], batch.same[where] = -1.0, 1.0
        rate = config.lr * min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
        words = encode_words(model, tokens(batch.texts))
        logits = similarity_logits(model, torch.as_tensor(batch.frames), words)
        truth, same = torch.as_tensor(batch.truth), torch.as_tensor(batch.same)
        loss = soft_sigmoid_loss(logits, truth, same, labels)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss: got {loss.item()} at step {step}; expected a finite number; lower --lr"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], config.clip_norm)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(config.max_logit_scale))
        losses.append(float(loss.detach()))
        if (step + 1) % 250 == 0:
            mean = float(np.mean(losses[-250:]))
            print(
                f"step {step + 1:,}/{config.steps:,}  loss {mean:.4f}  {time.monotonic() - started:.0f} s",
                flush=True,
            )
    model.eval()
    return losses


def run(model: Path, data: Path, out: Path, config: TextConfig) -> None:
    """Go on with the text tower of the open_clip folder `model` on the frames in `data`; write the folder `out`."""
    loaded = load_clip(f"local-dir:{model}")
    encoder = load_encoder(f"local-dir:{model}", "cpu")
    leave_out, without = splits.read(model)
    held_out = train.recipe(data, out, "embedded").held_out
    frames = train.families(data, held_out, leave_out, without)
    wished = splits.shares(train.SHARES, [family.name for family in frames])
    shares = [wished[family.name] / sum(wished.values()) for family in frames]
    nothing = vectors_of_nothing(encoder, frames, np.random.default_rng([config.seed, 2**30]))
    tokens = Tokens(loaded.tokenizer, int(loaded.model.context_length), cut=False)
    started = time.monotonic()
    losses = learn(loaded.model.float(), tokens, embedded_families(encoder, frames), shares, nothing, config)
    made = json.loads((model / "adapt.json").read_text())
    made["text"] = {
        **asdict(config),
        "seconds": time.monotonic() - started,
        "loss": float(np.mean(losses[-250:])),
    }
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    export(part, loaded, "fp16", made)
    splits.write(part, leave_out, without)
    part.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("data/embedded/model"))
    parser.add_argument("--data", type=Path, default=Path("data/embedded"))
    parser.add_argument("--out", type=Path, default=Path("data/embedded/final"))
    parser.add_argument("--steps", type=int, default=TextConfig.steps)
    parser.add_argument("--captions", type=int, default=TextConfig.captions)
    parser.add_argument("--lr", type=float, default=TextConfig.lr)
    parser.add_argument("--seed", type=int, default=TextConfig.seed)
    args = parser.parse_args()
    if args.out.exists():
        print(f"{args.out} is there already")
        return
    config = TextConfig(steps=args.steps, captions=args.captions, lr=args.lr, seed=args.seed)
    run(args.model, args.data, args.out, config)


if __name__ == "__main__":
    main()
