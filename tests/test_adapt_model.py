"""What vlmrl adapt trains: the loss, gradients in parts, low-rank factors, figures of validation."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import adapt_fakes as fakes
import numpy as np
import pytest
import torch
from adapt_fakes import small

from vlmrl import adapt
from vlmrl.adapt import batches, lora, loss, model
from vlmrl.adapt.config import AdaptConfig, LabelConfig
from vlmrl.adapt.progress import AdaptProgress, adapt_line, share_done
from vlmrl.adapt.side_by_side import SideBySide
from vlmrl.adapt.training import learning_rate
from vlmrl.encoders.sources import build_scratch
from vlmrl.errors import UsageError


def tiny(folder: Path, kind: str, bias: bool = True):
    """Build a tiny model; "custom" has a text tower of its own, and open_clip's own attention in both."""
    path = fakes.write_model(folder, "resnet" if kind == "resnet" else "vit", bias)
    config = json.loads(path.read_text())
    if kind == "custom":
        config["model_cfg"]["custom_text"] = True
        for tower in ("vision_cfg", "text_cfg"):
            config["model_cfg"][tower]["block_type"] = "custom"
        path.write_text(json.dumps(config))
    return build_scratch(str(path), 0)


def inputs_for(
    loaded, frames: int = 6, texts: tuple[str, ...] = ("a red square", "a thing", "blue")
) -> batches.Inputs:
    size = loaded.model.visual.preprocess_cfg["size"]
    size = size if isinstance(size, int) else size[0]
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 255, (frames, size, size, 3), dtype=np.uint8)
    truth = rng.random((frames, len(texts))).astype(np.float32)
    truth[0] = -1
    same = (rng.random(truth.shape) < 0.7).astype(np.float32)
    batch = batches.Batch(shown, list(texts), truth, same, {})
    images = batches.to_images(shown, [0.5] * 3, [0.25] * 3)
    return batches.Inputs(
        batch, images, loaded.tokenizer(list(texts)), torch.tensor(truth), torch.tensor(same)
    )


# -- loss and gradients ----------------------------------------------------------------------------------------------


def test_the_loss_is_the_sigmoid_loss_of_siglip_with_soft_labels() -> None:
    labels = LabelConfig(floor=0.0, ceiling=1.0, nothing=0.0, truth_weight=0.0, foreign_weight=1.0)
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    truth, same = torch.eye(2), torch.ones(2, 2)
    sign = 2 * truth - 1
    expected = -torch.nn.functional.logsigmoid(sign * logits).mean()  # SigLIP, equation 1, by pair
    assert torch.isclose(loss.soft_sigmoid_loss(logits, truth, same, labels), expected)
    soft = LabelConfig()
    assert loss.pair_labels(torch.tensor([[-1.0, 0.0, 0.5, 1.0]]), torch.ones(1, 4), soft).tolist()[
        0
    ] == pytest.approx([0.003, 0.03, 0.5, 0.97])
    other = loss.pair_labels(torch.tensor([[-1.0, 0.0]]), torch.zeros(1, 2), LabelConfig(foreign=0.01))
    assert other.tolist()[0] == pytest.approx([0.003, 0.01])
    weights = loss.pair_weights(torch.tensor([[-1.0, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0]]), soft)
    assert weights.tolist() == [[1.0, 3.0, 0.25]]


def test_a_frame_of_nothing_pushes_every_similarity_down() -> None:
    logits = torch.tensor([[3.0, 3.0]], requires_grad=True)
    loss.soft_sigmoid_loss(logits, torch.full((1, 2), -1.0), torch.ones(1, 2), LabelConfig()).backward()
    assert (logits.grad > 0).all()


@pytest.mark.parametrize("kind", ["vit", "custom"])
@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(tmp_path: Path, kind: str, parts: int) -> None:
    loaded = tiny(tmp_path, kind)
    inputs = inputs_for(loaded)
    found = []
    for count in (1, parts):
        loaded.model.zero_grad()
        value = model.backward(loaded.model, inputs, LabelConfig(), count, None)
        found.append(
            (value, {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None})
        )
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        assert torch.allclose(gradient, found[1][1][name], atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize("kind", ["vit", "custom"])
def test_parts_side_by_side_have_the_gradient_of_the_whole(tmp_path: Path, kind: str) -> None:
    loaded = tiny(tmp_path, kind)
    loaded.model.zero_grad()
    inputs = inputs_for(loaded)
    value = model.backward(loaded.model, inputs, LabelConfig(), 1, None)
    wanted = {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}
    loaded.model.zero_grad()
    beside = SideBySide(loaded.model, 2)
    try:
        assert beside.backward(inputs, LabelConfig(), None) == pytest.approx(value, rel=1e-5)
    finally:
        beside.close()
    found = {n: p.grad for n, p in loaded.model.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert torch.allclose(gradient, found[name], atol=1e-6, rtol=1e-4), name


def test_statistics_of_parts_side_by_side_are_their_mean(tmp_path: Path) -> None:
    loaded = tiny(tmp_path, "resnet")
    loaded.model.train()
    norm = loaded.model.visual.bn1
    inputs = inputs_for(loaded)
    halves = [copy.deepcopy(loaded.model) for _ in range(2)]
    for number, half in enumerate(halves):
        half.encode_image(inputs.images[number::2])
    beside = SideBySide(loaded.model, 2)
    try:
        for _ in range(2):  # the second from what the first left
            before = norm.running_mean.clone()
            beside.backward(inputs, LabelConfig(), None)
    finally:
        beside.close()
    first = torch.stack([half.visual.bn1.running_mean for half in halves]).mean(dim=0)
    assert torch.allclose(before, first, atol=1e-6)
    assert norm.num_batches_tracked == 2 and not torch.allclose(norm.running_mean, before)


def test_dropout_is_refused_side_by_side(tmp_path: Path) -> None:
    loaded = tiny(tmp_path, "vit")
    loaded.model.ln_final = torch.nn.Sequential(loaded.model.ln_final, torch.nn.Dropout(0.5))
    with pytest.raises(UsageError, match="workers: got 2 for a model with dropout"):
        SideBySide(loaded.model, 2)


def test_dropout_is_the_same_in_both_passes_over_the_sentences(tmp_path: Path, monkeypatch) -> None:
    loaded, found = tiny(tmp_path, "vit"), []
    loaded.model.train()
    loaded.model.ln_final = torch.nn.Sequential(loaded.model.ln_final, torch.nn.Dropout(0.5))
    real = model.encode_words
    monkeypatch.setattr(model, "encode_words", lambda *args: found.append(real(*args)) or found[-1])
    model.backward(loaded.model, inputs_for(loaded), LabelConfig(), 2, None)
    first, second, first_again, second_again = found
    assert torch.equal(first, first_again) and torch.equal(second, second_again)
    assert not torch.equal(first, real(loaded.model, inputs_for(loaded).tokens[:2]))  # it does drop some


def test_text_cut_to_its_length_is_open_clips_own_embedding(tmp_path: Path) -> None:
    for kind in ("vit", "custom"):
        loaded = tiny(tmp_path, kind)
        tokens = loaded.tokenizer(["a robot", "a car at the peak of the mountain"])
        with torch.no_grad():
            ours, theirs = (
                model.encode_words(loaded.model, tokens),
                loaded.model.encode_text(tokens, normalize=True),
            )
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_model_without_a_bias_gets_one_that_fits_its_cosines(tmp_path: Path) -> None:
    loaded = tiny(tmp_path, "vit", bias=False)
    config = small(tmp_path, max_logit_scale=100.0)
    assert model.prepare(loaded, config) and loaded.config["init_logit_bias"] == 0.0
    inputs = inputs_for(loaded)
    model.calibrate_bias(loaded.model.eval(), inputs, LabelConfig(), None)
    with torch.no_grad():
        words = model.encode_words(loaded.model, inputs.tokens)
        logits = model.similarity_logits(
            loaded.model, model.encode_frames(loaded.model, inputs.images, None), words
        )
    weight = loss.pair_weights(inputs.truth, inputs.same, LabelConfig())
    label = (loss.pair_labels(inputs.truth, inputs.same, LabelConfig()) * weight).sum() / weight.sum()
    assert torch.sigmoid(logits.mean()) == pytest.approx(float(label), abs=1e-4)


def test_a_model_without_a_bias_is_exported_with_one(tmp_path: Path) -> None:
    import open_clip

    fakes.register()
    path = fakes.write_model(tmp_path, "vit", bias=False)
    config = small(tmp_path)
    fakes.write_model(tmp_path, "vit", bias=False)  # `small` has written one with a bias in its place
    assert "init_logit_bias" not in path.read_text()
    adapt.run(config)
    assert open_clip.create_model(f"local-dir:{config.out}").logit_bias is not None


# -- low-rank factors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vit", "resnet", "custom"])
def test_merged_factors_are_the_same_function(tmp_path: Path, kind: str) -> None:
    loaded, plain = tiny(tmp_path, kind), tiny(tmp_path, kind)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        count = lora.add_low_rank(loaded.model, 2)
        assert count >= (6 if kind == "vit" else 4)
        moved = [p for n, p in loaded.model.named_parameters() if n.endswith(".up")]
        for up in moved:
            torch.nn.init.normal_(up, std=0.3)
    trainable = [n for n, p in loaded.model.named_parameters() if p.requires_grad]
    assert all(n.endswith((".up", ".down")) for n in trainable)
    plain.model.load_state_dict(lora.merged_state(loaded.model), strict=True)
    inputs = inputs_for(loaded)
    original = tiny(tmp_path, kind).model.eval()
    with torch.no_grad():
        for ours, theirs, first in (
            (loaded.model.eval().encode_image(inputs.images), plain.model.eval().encode_image(inputs.images),
             original.encode_image(inputs.images)),
            (loaded.model.encode_text(inputs.tokens), plain.model.encode_text(inputs.tokens),
             original.encode_text(inputs.tokens)),
        ):  # fmt: skip
            assert torch.allclose(ours, theirs, atol=1e-5)
            assert not torch.allclose(ours, first, atol=1e-3)


def test_factors_begin_as_nothing_and_reach_attention_projections_and_kernels(tmp_path: Path) -> None:
    for kind, wanted in (
        ("vit", {"in_proj_weight", "weight", "proj", "text_projection"}),
        ("resnet", {"weight"}),
    ):
        loaded = tiny(tmp_path, kind)
        names = {name for _, name in lora.targets(loaded.model)}
        assert wanted <= names
        tokens = loaded.tokenizer(["a robot"])
        before = loaded.model.encode_text(tokens)
        lora.add_low_rank(loaded.model, 3)
        assert torch.equal(before, loaded.model.encode_text(tokens))
    kinds = {type(module).__name__ for module, _ in lora.targets(tiny(tmp_path, "resnet").model)}
    assert {"Conv2d", "MultiheadAttention", "NonDynamicallyQuantizableLinear"} <= kinds


def test_low_rank_training_moves_factors_only_and_writes_small_checkpoints(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    fakes.register()
    config = small(tmp_path, low_rank=2, lr=1e-2)
    adapt.run(config)
    (step, *_) = sorted((config.out / "checkpoints").glob("step-*"))
    names = load_file(step / "tensors.safetensors").keys()
    assert not any("token_embedding" in name for name in names)
    assert any(name.endswith("parametrizations.in_proj_weight.0.up") for name in names)
    before = build_scratch(config.start.removeprefix("scratch:"), 0).model.state_dict()
    after = load_file(config.out / "open_clip_model.safetensors")
    moved = {k for k in before if not np.allclose(before[k].numpy(), after[k])}
    assert "token_embedding.weight" not in moved and any("in_proj_weight" in k for k in moved)
    assert not any("parametrizations" in key for key in after)


# -- the schedule ----------------------------------------------------------------------------------------------------


def test_the_rate_of_a_run_by_steps_and_of_a_fast_one_by_the_clock_is_as_it_always_was(
    tmp_path: Path,
) -> None:
    def before(config: AdaptConfig, step: int, progress: float) -> float:
        rise = min(1.0, (step + 1) / max(1, min(config.warmup, config.steps // 5)))
        return config.learning_rate() * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    for steps, warmup in ((3, 300), (7, 300), (100, 2), (1000, 300), (20_000, 300)):
        config = AdaptConfig(tmp_path, (), steps=steps, warmup=warmup)
        for step in range(0, steps, max(1, steps // 500)):
            progress = step / steps
            assert learning_rate(config, step, progress) == before(config, step, progress)
    config = AdaptConfig(tmp_path, (), steps=20_000, warmup=300, minutes=92)
    for step in range(0, 15_000, 7):  # of 0.35 s each
        progress = max(step / 20_000, step * 0.35 / 60 / 92)
        assert learning_rate(config, step, progress) == before(config, step, progress)


def test_warm_up_takes_at_most_a_fifth_of_the_time(tmp_path: Path) -> None:
    config = AdaptConfig(tmp_path, (), steps=20_000, lr=0.1, minutes=10)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1 / 300)
    assert learning_rate(config, 10, 0.1) == pytest.approx(0.05, rel=0.03)
    assert learning_rate(config, 20, 0.2) == pytest.approx(
        0.1 * (0.02 + 0.49 * (1 + math.cos(0.2 * math.pi)))
    )
    assert learning_rate(config, 100, 1.0) == pytest.approx(0.002)
    shown = AdaptProgress(100, 20_000, share_done(config, 100, 300.0), 0.1, 1.0, 300.0, {})
    assert adapt_line(shown).startswith(" 50%  step 100/20,000")
