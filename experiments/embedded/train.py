"""Train the embedded encoder from scratch: a small CLIP on rendered frames and graded captions.

    python -m experiments.embedded.train --data data/embedded --out vlmrl/encoders/embedded

Loss: SigLIP's pairwise sigmoid (Zhai et al. 2023, eq. 1) with the sentence's truth of the state as a soft label, in
place of 1 for the matching pair and 0 for every other. So every sentence of a batch is judged against every frame,
and similarity rises smoothly as a state approaches what the words say. Resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from experiments.embedded import splits
from experiments.embedded.config import CONFIG
from experiments.embedded.splits import GRAMMARS
from vlmrl_envs.captions import Grammar, Sentence

SHARES = {"cartpole": 0.2, "mountain_car": 0.16, "humanoid": 0.64}
FLOOR, CEILING = 0.03, 0.97
"""Truths 0 and 1 as labels; within, the label is straight in the truth."""
NOTHING = 0.003
"""The label of every sentence on a frame that shows no world at all."""
NOTHINGS = 0.047
"""Share of such frames in a batch: blank, noise, blurs, and frames whose pieces are out of place."""


class Frames:
    """All sources of one world in memory, what training may not see left out, the last 2% of each held out."""

    def __init__(self, folder: Path, world: str, leave_out: Sequence[str] = ()) -> None:
        self.train: list[tuple[np.ndarray, np.ndarray]] = []
        self.held_out: list[tuple[str, np.ndarray, np.ndarray]] = []
        for path in sorted(folder.glob(f"{world}-*.frames.npy")):
            frames = np.load(path)
            degrees = np.load(str(path).replace(".frames.", ".degrees.")).astype(np.float32)
            kept = splits.kept(world, degrees, leave_out)
            frames, degrees = frames[kept], degrees[kept]
            cut = int(0.98 * len(frames))
            self.train.append((frames[:cut], degrees[:cut]))
            self.held_out.append((path.name.split(".")[0], frames[cut:], degrees[cut:]))
        self._weights = np.array([len(f) ** 0.75 for f, _ in self.train])
        self._weights /= self._weights.sum()

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw n frames and their degrees."""
        counts = rng.multinomial(n, self._weights)
        parts = [
            (f[i], d[i])
            for (f, d), c in zip(self.train, counts, strict=True)
            for i in [rng.integers(len(f), size=c)]
        ]
        return np.concatenate([f for f, _ in parts]), np.concatenate([d for _, d in parts])


def augment(frames: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shift half of frames (B, H, W, 3), 0..255, by up to 3 px; brighten, tint and roughen some; in place."""
    b, height, width, _ = frames.shape
    dx, dy = (int(torch.randint(-3, 4, (), generator=rng)) for _ in range(2))
    rows = (torch.arange(height) + dy).clamp(0, height - 1)
    columns = (torch.arange(width) + dx).clamp(0, width - 1)
    frames[: b // 2] = frames[: b // 2].index_select(1, rows).index_select(2, columns)
    gain = 1 + 0.12 * torch.randn(b, 1, 1, 3, generator=rng) * (torch.rand(b, 1, 1, 1, generator=rng) < 0.5)
    shift = 15 * torch.randn(b, 1, 1, 1, generator=rng) * (torch.rand(b, 1, 1, 1, generator=rng) < 0.5)
    frames.mul_(gain).add_(shift)
    rough = torch.randperm(b, generator=rng)[: b // 5]
    frames[rough] += 8 * torch.randn((len(rough), *frames.shape[1:]), generator=rng)
    return frames.clamp_(0, 255)


def draw_batch(
    data: dict[str, Frames],
    rng: np.random.Generator,
    batch: int,
    captions: int,
    grammars: dict[str, Grammar] = GRAMMARS,
) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Draw frames (B, H, W, 3), sentences K, truths (B, K) and whether frame and sentence share a world (B, K)."""
    frames, degrees, counts = [], {}, {}
    shares = splits.shares(SHARES, list(grammars))
    for world, share in shares.items():
        counts[world] = batch - sum(counts.values()) if world == list(shares)[-1] else round(batch * share)
        f, degrees[world] = data[world].draw(rng, counts[world])
        frames.append(f)
    sentences: list[Sentence] = []
    truth, same, row = np.zeros((batch, captions)), np.zeros((batch, captions)), 0
    for world, share in shares.items():
        count = captions - len(sentences) if world == list(shares)[-1] else round(captions * share)
        known = degrees[world]
        for column in range(len(sentences), len(sentences) + count):
            row_of = known[rng.integers(len(known))] if rng.random() < 0.75 else None
            sentence = grammars[world].draw(rng, row_of)
            sentences.append(sentence)
            truth[row : row + counts[world], column] = sentence.truth(known)
            same[row : row + counts[world], column] = 1.0
        row += counts[world]
    shown = np.concatenate(frames)
    where = rng.choice(batch, round(NOTHINGS * batch), replace=False)
    shown[where] = nothings(rng, shown[where])
    truth[where], same[where] = -1.0, 1.0
    return shown, [s.text for s in sentences], truth, same


def nothings(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Draw frames (n, H, W, 3) of nothing: made of noise at some scale, of one colour, or of shuffled pieces."""
    n, side = len(frames), frames.shape[1]
    out = np.empty_like(frames)
    for i in range(n):
        kind = i % 4
        colour = rng.uniform(0, 255, 3)
        if kind == 0:  # one colour, now and then one that the worlds use
            out[i] = colour if rng.random() < 0.7 else rng.choice([0, 128, 255])
        elif kind == 1:  # noise of fine grain
            out[i] = rng.uniform(0, 255, (side, side, 3))
        elif kind == 2:  # noise of coarse grain, drawn smooth
            grain = rng.uniform(0, 255, (int(rng.integers(2, 12)),) * 2 + (3,)).astype(np.uint8)
            out[i] = np.asarray(Image.fromarray(grain).resize((side, side), Image.Resampling.BICUBIC))
        else:  # a real frame's tiles out of place
            tile = side // int(rng.choice([4, 8]))
            pieces = frames[i].reshape(side // tile, tile, side // tile, tile, 3).swapaxes(1, 2)
            pieces = pieces.reshape(-1, tile, tile, 3)[rng.permutation((side // tile) ** 2)]
            rows = pieces.reshape(side // tile, side // tile, tile, tile, 3).swapaxes(1, 2)
            out[i] = rows.reshape(side, side, 3)
    return out


def soft_sigmoid_loss(logits: torch.Tensor, truth: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits (B, K) to soft labels; pairs from two worlds weigh a quarter.

    A truth below 0 marks a frame that shows nothing: its label is `NOTHING`.
    """
    label = torch.where(truth < 0, NOTHING, FLOOR + (CEILING - FLOOR) * truth)
    truth = truth.clamp(min=0)
    weight = torch.where(same > 0, 1.0 + 2.0 * truth, 0.25)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return (each * weight).sum() / weight.sum()


def to_input(frames: np.ndarray | torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
    """Return normalised channels-last input (B, 3, H, W) of frames uint8 (B, H, W, 3)."""
    x = torch.as_tensor(frames).float()
    if rng is not None:
        x = augment(x, rng)
    mean, std = (255 * torch.tensor(CONFIG["preprocess_cfg"][k]) for k in ("mean", "std"))
    return x.sub_(mean).div_(std).permute(0, 3, 1, 2)  # channels last in memory


def encode_words(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return what `model.encode_text` returns (K, D), the padding after the longest of tokens (K, 32) left out.

    Exact: attention looks back only, and a sentence is read at its last word.
    """
    length = int(tokens.argmax(dim=1).max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(x)), tokens.argmax(dim=1)] @ model.text_projection
    return torch.nn.functional.normalize(x, dim=-1)


@torch.no_grad()
def validate(model: torch.nn.Module, tokenizer, data: dict[str, Frames]) -> dict[str, float]:
    """Return, for each held-out source, the mean Spearman correlation of similarity with truth over the facts."""
    from scipy.stats import spearmanr

    model.eval()
    found = {}
    for world, grammar in ((world, GRAMMARS[world]) for world in data):
        texts = [f"{grammar.subjects[0]} {fact.phrases[0]}" for fact in grammar.facts]
        words = model.encode_text(tokenizer(texts), normalize=True)
        for name, frames, degrees in data[world].held_out:
            with torch.autocast("cpu", torch.bfloat16):
                image = model.encode_image(to_input(frames[:1500], None), normalize=True)
            cosine = (image.float() @ words.T).numpy()
            scores = [spearmanr(cosine[:, i], degrees[:1500, i]).statistic for i in range(degrees.shape[1])
                      if degrees[:1500, i].std() > 0.02]  # fmt: skip
            found[name] = float(np.nanmean(scores))
    model.train()
    return found


def export(model: torch.nn.Module, out: Path) -> None:
    """Write an open_clip directory: config and fp16 safetensors."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    weights = {k: v.detach().half().contiguous() for k, v in model.state_dict().items() if k != "attn_mask"}
    save_file(weights, out / "open_clip_model.safetensors.part", metadata={"format": "pt"})
    (out / "open_clip_model.safetensors.part").rename(out / "open_clip_model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/embedded"))
    parser.add_argument("--out", type=Path, default=Path("data/embedded/model"))
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument(
        "--minutes", type=float, default=0, help="stop (with the schedule done) after so long; 0: by steps"
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--captions", type=int, default=96)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--init", type=Path, help="an open_clip folder of this shape to go on from, with a fresh optimiser"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="POSE", help="never show or say these poses"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="WORLD", help="never show or say these worlds"
    )
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    grammars = splits.grammars(args.leave_out, args.without)
    data = {world: Frames(args.data, world, args.leave_out) for world in grammars}
    model = open_clip.CLIP(**_clip_kwargs()).to(memory_format=torch.channels_last)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"])
    decay = [p for n, p in model.named_parameters() if p.ndim >= 2 and "token_embedding" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim < 2 or "token_embedding" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.98), fused=True
    )  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    splits.write(args.out, args.leave_out, args.without)
    state = args.out / "train_state.safetensors"
    if args.init is not None:
        model.load_state_dict(load_file(args.init / "open_clip_model.safetensors"), strict=False)
    first = _restore(model, optimizer, state) if state.exists() else 0
    model.train()

    def make_batch(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([args.seed, step])
        frames, texts, truth, same = draw_batch(data, rng, args.batch, args.captions, grammars)
        x = to_input(frames, torch.Generator().manual_seed(args.seed * 1_000_003 + step))
        return x, tokenizer(texts), torch.as_tensor(truth).float(), torch.as_tensor(same).float()

    started, seen = time.time(), 0
    step = first
    # One thread for the batches: two would fight with the model's own over the cores.
    ahead = ThreadPoolExecutor(1, initializer=lambda: torch.set_num_threads(1))
    waiting = ahead.submit(make_batch, step)
    while step < args.steps:
        elapsed = (time.time() - started) / 60 / args.minutes if args.minutes else 0.0
        progress = max(step / args.steps, elapsed)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                args.lr * min(1.0, (step + 1) / 300) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
            )
        x, tokens, truth, same = waiting.result()
        waiting = ahead.submit(make_batch, step + 1)
        with torch.autocast("cpu", torch.bfloat16):
            image = model.encode_image(x, normalize=True)
        words = encode_words(model, tokens)
        logits = model.logit_scale.exp() * image.float() @ words.T + model.logit_bias
        loss = soft_sigmoid_loss(logits, truth, same)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss: got {loss.item()} at step {step}; expected finite; lower --lr")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=np.log(40.0))
        step += 1
        seen += args.batch
        if step % 100 == 0:
            rate = seen / (time.time() - started)
            print(f"step {step} loss {loss.item():.4f} scale {model.logit_scale.exp().item():.1f} "
                  f"bias {model.logit_bias.item():.2f} {rate:.0f} frames/s {progress:.0%}", flush=True)  # fmt: skip
        if step % 1000 == 0:
            print(
                json.dumps({k: round(v, 3) for k, v in validate(model, tokenizer, data).items()}), flush=True
            )
            _save(model, optimizer, step, state)
            export(model, args.out)
    print(json.dumps({k: round(v, 3) for k, v in validate(model, tokenizer, data).items()}), flush=True)
    _save(model, optimizer, step, state)
    export(model, args.out)
    ahead.shutdown()


def _clip_kwargs() -> dict:
    config = CONFIG["model_cfg"]
    return {**config, "vision_cfg": open_clip.CLIPVisionCfg(**config["vision_cfg"]),
            "text_cfg": open_clip.CLIPTextCfg(**config["text_cfg"])}  # fmt: skip


def _save(model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, path: Path) -> None:
    """Save weights, optimiser and step in one file, replaced atomically."""
    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items() if k != "attn_mask"}
    for i, entry in enumerate(optimizer.state_dict()["state"].values()):
        tensors |= {f"adam.{i}.{k}": v.contiguous() for k, v in entry.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"step": str(step)})
    part.rename(path)


def _restore(model: torch.nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> int:
    from safetensors import safe_open

    tensors = load_file(path)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    model.load_state_dict(weights, strict=False)
    saved = optimizer.state_dict()
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".", 2)
            saved["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(saved)
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


if __name__ == "__main__":
    main()
