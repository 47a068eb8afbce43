"""The model that is trained: where it starts, what of it moves, and how it is computed."""

from __future__ import annotations

import contextlib
import hashlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlmrl.adapt.batches import Inputs
from vlmrl.adapt.config import AdaptConfig, LabelConfig
from vlmrl.adapt.lora import add_low_rank
from vlmrl.adapt.loss import pair_labels, pair_weights, soft_sigmoid_loss
from vlmrl.encoders import speed
from vlmrl.encoders.sources import LoadedClip, build_scratch, load_clip
from vlmrl.errors import usage_error
from vlmrl.frames import Interpolation

SCALES = ("logit_scale", "logit_bias")


def load_start(start: str, seed: int) -> LoadedClip:
    """Load the model to begin with.

    Raises: UsageError for an unknown name, or weights that are missing or damaged.
    """
    kind, _, rest = start.partition(":")
    loaded = build_scratch(rest, seed) if kind == "scratch" else load_clip(start, seed)
    size = loaded.model.visual.preprocess_cfg["size"]
    if not isinstance(size, int) and size[0] != size[1]:
        raise usage_error("start", f"{start} with images of {size}", "a square image size", "take another")
    return loaded


def image_shape(model: Any) -> tuple[int, Interpolation]:
    """Return the side in pixels of the square that a model takes, and how frames are resized to it."""
    preprocess = model.visual.preprocess_cfg
    size = preprocess["size"]
    bilinear = preprocess["interpolation"] == "bilinear"  # open_clip reads anything else as bicubic
    return size if isinstance(size, int) else size[0], "bilinear" if bilinear else "bicubic"


def prepare(loaded: LoadedClip, config: AdaptConfig) -> bool:
    """Make the model trainable as `config` wants it, in place; return whether its bias has to be calibrated.

    A model without a bias, which the sigmoid loss needs, gets one, and its config says so.
    Low-rank factors start from torch's global generator.
    """
    model = loaded.model
    model.requires_grad_(True)
    if config.low_rank:
        add_low_rank(model, config.low_rank)
    fresh = getattr(model, "logit_bias", None) is None
    if fresh:
        model.logit_bias = nn.Parameter(torch.zeros_like(model.logit_scale))
        loaded.config["init_logit_bias"] = 0.0
    if config.freeze_text:
        for name, parameter in model.named_parameters():
            if not name.startswith("visual.") and name not in SCALES:
                parameter.requires_grad_(False)
    for name in SCALES:
        getattr(model, name).requires_grad_(True)
    model.to(memory_format=torch.channels_last)
    return fresh


def set_training(model: nn.Module, frozen_norms: bool) -> None:
    """Put the model into training mode; batch normalisations of frozen weights keep their statistics."""
    model.train()
    if frozen_norms:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def make_optimizer(model: nn.Module, config: AdaptConfig) -> torch.optim.AdamW:
    """Return AdamW over what is trainable; matrices and kernels decay, word embeddings and vectors do not."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            words = "token_embedding" in name or "word_embeddings" in name
            groups[parameter.ndim >= 2 and not words].append(parameter)
    return torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": config.weight_decay},
         {"params": groups[False], "weight_decay": 0.0}],
        lr=config.learning_rate(), betas=(0.9, config.beta2), fused=True,
    )  # fmt: skip


def choose_half(precision: str, model: Any, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where it is asked for, or fast: on GPUs that have it, for convolutions on such CPUs."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if speed.is_convolutional(model.visual) and speed.has_bfloat16() else None


def encode_frames(
    model: Any, images: Float[Tensor, "batch 3 side side"], half: torch.dtype | None
) -> Float[Tensor, "batch dim"]:
    """Return float32 unit vectors of images, computed in `half` if it is given."""
    with torch.autocast(images.device.type, half) if half else contextlib.nullcontext():
        return model.encode_image(images, normalize=True).float()


def encode_words(
    model: Any, tokens: Int[Tensor, "texts length"], half: torch.dtype | None = None
) -> Float[Tensor, "texts dim"]:
    """Return unit vectors of tokens; on a GPU in `half`. What is padding in all of them is left out if it may be.

    Exact for a text tower that looks back only and reads a sentence at its last word, as CLIP's does.
    """
    context = torch.autocast("cuda", half) if half and tokens.is_cuda else contextlib.nullcontext()
    with context:
        if not _looks_back_only(model):
            return model.encode_text(tokens, normalize=True).float()
        last = tokens.argmax(dim=1)
        length = int(last.max()) + 1
        x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
        x = x[torch.arange(len(x), device=x.device), last] @ model.text_projection
        return F.normalize(x, dim=-1).float()


def _looks_back_only(model: Any) -> bool:
    return (
        getattr(model, "text_pool_type", None) == "argmax"
        and getattr(model, "attn_mask", None) is not None
        and isinstance(getattr(model, "text_projection", None), Tensor)
    )


def similarity_logits(
    model: Any, images: Float[Tensor, "frames dim"], words: Float[Tensor, "texts dim"]
) -> Float[Tensor, "frames texts"]:
    """Return the logits of pairs: scaled cosines, and the bias."""
    return model.logit_scale.exp() * images @ words.T + model.logit_bias


def backward(model: Any, inputs: Inputs, labels: LabelConfig, parts: int, half: torch.dtype | None) -> float:
    """Add the gradient of the batch's loss to the model's and return the loss, computed in `parts`.

    Source of the parts: Gao et al. 2021 (GradCache), sentences first without and at the end with a graph; dropout
    draws the same both times.
    Deviation: batch normalisation, where there is any, sees a part at a time, in which every family has its share.
    """
    device = model.logit_scale.device
    images, tokens, truth, same = (
        x.to(device, non_blocking=True) for x in (inputs.images, inputs.tokens, inputs.truth, inputs.same)
    )
    total = pair_weights(truth, same, labels).sum()
    if parts == 1:
        logits = similarity_logits(
            model, encode_frames(model, images, half), encode_words(model, tokens, half)
        )
        loss = soft_sigmoid_loss(logits, truth, same, labels, total)
        loss.backward()
        return loss.item()
    pieces, states, first_time = tokens.chunk(parts), [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(_random_state(device))
            first_time.append(encode_words(model, piece, half))
    words = torch.cat(first_time).requires_grad_(True)
    sum_of_parts = 0.0
    for first in range(parts):
        rows = torch.arange(first, len(images), parts, device=device)
        logits = similarity_logits(model, encode_frames(model, images[rows], half), words)
        loss = soft_sigmoid_loss(logits, truth[rows], same[rows], labels, total)
        loss.backward()
        sum_of_parts += loss.item()
    assert words.grad is not None
    gradients = words.grad.split([len(piece) for piece in pieces])
    for piece, state, gradient in zip(pieces, states, gradients, strict=True):
        _random_state(device, state)
        again = encode_words(model, piece, half)
        if again.requires_grad:
            again.backward(gradient)
    return sum_of_parts


def _random_state(device: torch.device, state: Tensor | None = None) -> Tensor:
    """Return the state of the generator that dropout draws from on `device`; with `state`, put that in its place."""
    cuda = device.type == "cuda"
    if state is None:
        return torch.cuda.get_rng_state(device) if cuda else torch.get_rng_state()
    if cuda:
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
    return state


@torch.no_grad()
def calibrate_bias(model: Any, inputs: Inputs, labels: LabelConfig, half: torch.dtype | None) -> None:
    """Set the bias so that the mean logit of a batch is that of its mean label.

    Without it a model trained with a softmax, whose cosines are all alike, begins with a loss in the tens.
    """
    device = model.logit_scale.device
    words = encode_words(model, inputs.tokens.to(device), half)
    frames = encode_frames(model, inputs.images.to(device), half)
    cosine = float((frames @ words.T).mean())
    weight = pair_weights(inputs.truth, inputs.same, labels)
    label = float((pair_labels(inputs.truth, inputs.same, labels) * weight).sum() / weight.sum())
    model.logit_bias.fill_(math.log(label / (1 - label)) - float(model.logit_scale.exp().mean()) * cosine)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes: the trainable parameters and all buffers that are kept."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def frozen_digest(model: nn.Module) -> str:
    """Return a checksum of the parameters that are not trained, so that another start is noticed."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
