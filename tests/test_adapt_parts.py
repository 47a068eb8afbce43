"""The parts of vlmrl adapt: losses, low-rank factors, batches, the cache, captions, and every wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import adapt_fakes as fakes
import numpy as np
import pytest
import torch
from adapt_fakes import small
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl import adapt
from vlmrl.adapt import VideoSource, WorldSource, batches, lora, loss, model, validation
from vlmrl.adapt.cache import FrameWriter
from vlmrl.adapt.captions import read_captions
from vlmrl.adapt.config import AdaptConfig, LabelConfig
from vlmrl.adapt.pairs import ArrayStore, Family, Known, family_shares, split_tail
from vlmrl.adapt.tokens import Tokens
from vlmrl.adapt.videos import CLIP, open_videos, split_clips
from vlmrl.cli import main
from vlmrl.encoders.sources import build_scratch
from vlmrl.errors import UsageError
from vlmrl.video import read_video


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
    assert loss.pair_labels(torch.tensor([[-1.0, 0.0, 0.5, 1.0]]), soft).tolist()[0] == pytest.approx(
        [0.003, 0.03, 0.5, 0.97]
    )
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
    label = (loss.pair_labels(inputs.truth, LabelConfig()) * weight).sum() / weight.sum()
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


# -- batches ---------------------------------------------------------------------------------------------------------


def captioned(n: int = 30, side: int = 16) -> Family:
    captions = [{"red": 1.0, "a wall": 1.0} if i % 2 else {"blue": 1.0, "a lie": 0.0} for i in range(n)]
    frames = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, side, side, 3))
    return Family(
        "clips", (ArrayStore("clips", frames, Known(captions=captions), *split_tail(n, 0.2), size=side),)
    )


def graded(n: int = 40, side: int = 16) -> Family:
    world = fakes.SaidSquares()
    states = world.sample_states(np.random.default_rng(0), n)
    degrees = world.fact_degrees(states).astype(np.float32)
    frames = world.render_states(states, size=(side, side))
    store = ArrayStore("squares", frames, Known(degrees=degrees), *split_tail(n, 0.25), size=side)
    return Family("squares", (store,), world.grammar)


def test_a_batch_judges_each_family_by_its_own_words() -> None:
    batch = batches.draw_batch([captioned(), graded()], [0.5, 0.5], np.random.default_rng(0), 20, 8)
    assert batch.frames.shape == (20, 16, 16, 3) and batch.truth.shape == (20, len(batch.texts))
    rows, columns = batch.blocks["clips"]
    own = batch.texts[columns]
    assert len(own) == len(set(own))  # equal captions are one, true of every frame that has it
    for row in range(rows.start, rows.stop):
        odd = batch.frames[row, 0, 0, 0] % 2
        for column, text in enumerate(own):
            assert batch.truth[row, column] == (text in ("red", "a wall") if odd else text == "blue")
    assert batch.same[rows, columns].all() and not batch.same[rows, columns.stop :].any()
    assert not batch.truth[rows, columns.stop :].any()
    assert len(batch.texts) == len(own) + 4  # the second family's half of eight sentences


def test_frames_of_nothing_are_true_of_no_sentence() -> None:
    batch = batches.draw_batch([graded()], [1.0], np.random.default_rng(0), 40, 8, empty=0.25)
    nothing = (batch.truth < 0).all(axis=1)
    assert nothing.sum() == 10 and (batch.truth[~nothing] >= 0).all() and (batch.same == 1).all()


def test_frames_of_nothing_are_blank_noise_or_pieces_out_of_place() -> None:
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    frames[:, 20:40] = 200
    made = batches.nothings(np.random.default_rng(0), frames)
    assert made.shape == frames.shape and made.dtype == np.uint8
    assert np.ptp(made[0].astype(int), axis=(0, 1)).max() == 0  # one colour
    assert (np.sort(made[3], axis=None) == np.sort(frames[3], axis=None)).all()
    assert not (made[3] == frames[3]).all()
    assert batches.nothings(np.random.default_rng(0), frames[:, :27, :27]).shape == (8, 27, 27, 3)


def test_a_batch_depends_on_its_step_alone_and_never_shows_what_is_held_out() -> None:
    family = captioned()
    maker = batches.BatchMaker([family], [1.0], 12, 4, 0.1, 3, True, [0.5] * 3, [0.25] * 3,
                               lambda texts: torch.zeros(len(texts), 4), lambda text: True)  # fmt: skip
    one, again, other = maker.make(5), maker.make(5), maker.make(6)
    assert torch.equal(one.images, again.images) and one.batch.texts == again.batch.texts
    assert not torch.equal(one.images, other.images)
    train = np.concatenate([family.frames(np.random.default_rng(s), 20)[0][:, 0, 0, 0] for s in range(5)])
    held_out = family.frames(np.random.default_rng(0), 50, held_out=True)[0][:, 0, 0, 0]
    assert train.max() < 24 <= held_out.min()


def test_batches_come_in_order_and_errors_come_through() -> None:
    def make(step: int):
        if step == 3:
            raise ValueError("no fourth batch")
        return step

    threads = torch.get_num_threads()
    ahead = batches.Ahead(make, 1)  # type: ignore[arg-type]
    assert [ahead.next(), ahead.next()] == [1, 2]
    with pytest.raises(ValueError, match="no fourth"):
        ahead.next()
    ahead.close()
    assert torch.get_num_threads() == threads


@given(st.integers(2, 300), st.lists(st.floats(0.05, 1.0), min_size=1, max_size=2))
def test_counts_add_up_to_the_batch(total: int, weights: list[float]) -> None:
    counts = batches.split_counts(total, [w / sum(weights) for w in weights])
    assert sum(counts) == total and min(counts) >= 1


def test_shares_are_as_wished_and_the_rest_is_even() -> None:
    families = [Family(name, ()) for name in "abc"]
    assert family_shares(families, {"b": 0.5}) == pytest.approx([0.25, 0.5, 0.25])
    with pytest.raises(UsageError, match="shares: got d; expected one of a, b, c"):
        family_shares(families, {"d": 0.5})
    with pytest.raises(UsageError, match="something left for c"):
        family_shares(families, {"a": 0.5, "b": 0.5})


def test_figures_against_numbers_by_hand() -> None:
    assert validation.average_ranks(np.array([3.0, 1.0, 3.0])).tolist() == [2.5, 1.0, 2.5]
    assert validation.auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])) == 0.875
    assert validation.auc(np.ones(3), np.ones(3, bool)) is None
    assert validation.spearman(np.array([1.0, 2.0, 9.0]), np.array([3.0, 2.0, 1.0])) == -1
    scores = np.array([[0.9, 0.1, 1.0], [0.2, 0.8, 1.0]])
    truth = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # the third is true of every frame: it tells nothing
    assert validation.captions_auc(scores, truth) == 1 and validation.top_is_true(scores, truth) == 1
    assert validation.captions_auc(scores[:, ::-1], truth[:, :2].repeat(1, axis=0)) is not None
    assert validation.captions_auc(scores, np.ones((2, 3))) is None


# -- the cache -------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(2, 9), st.integers(1, 7))
def test_a_full_cache_keeps_every_second_frame(tmp_path_factory, count: int, most: int, chunk: int) -> None:
    folder = tmp_path_factory.mktemp("cache")
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 8, 8, 3))
    writer = FrameWriter(folder / "x.npy", 8, most)
    for start in range(0, count, chunk):
        writer.append(frames[start : start + chunk])
    kept = writer.close()
    assert len(kept) == len(writer.rows) <= most and [p.name for p in folder.iterdir()] == ["x.npy"]
    assert kept[:, 3, 3, 1].tolist() == writer.rows
    stride = int(np.diff(writer.rows)[0]) if len(writer.rows) > 1 else 1
    assert writer.rows == list(range(0, count, stride))[: len(writer.rows)] and stride & (stride - 1) == 0
    assert len(writer.rows) == -(-count // stride)


def test_frames_of_another_size_are_squashed(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "x.npy", 8, 9)
    writer.append(np.full((2, 20, 30, 3), 77, np.uint8))
    assert writer.close().shape == (2, 8, 8, 3) and (np.load(tmp_path / "x.npy") == 77).all()


# -- videos ----------------------------------------------------------------------------------------------------------


def test_videos_are_read_at_the_rate_asked_for(tmp_path: Path) -> None:
    for suffix in ("mp4", "gif", "webm"):
        path = fakes.write_clip(tmp_path / f"x.{suffix}", ["red", "blue"])
        found = list(read_video(path, 4))
        assert [seconds for seconds, _ in found] == [i / 4 for i in range(8)], suffix
        assert all(frame.shape == (32, 32, 3) and frame.dtype == np.uint8 for _, frame in found)
        reds = [int(frame[16, 16, 0]) > int(frame[16, 16, 2]) for _, frame in found]
        assert reds[:3] == [True] * 3 and reds[-3:] == [False] * 3, suffix


def test_frames_of_videos_get_the_captions_of_their_time(tmp_path: Path) -> None:
    source = fakes.videos(tmp_path)
    store = open_videos(source, "clips", 16, 0.3, 0, tmp_path / "cache", 1000)
    frames, known = store.read(np.arange(len(store.frames)))
    assert frames.shape[1:] == (16, 16, 3) and known.captions is not None
    for frame, captions in zip(frames, known.captions, strict=True):
        colour = ["red", "green", "blue"][int(frame[8, 8].argmax())]
        assert captions[f"a {colour} wall"] == 1.0 and CLIP not in captions
        assert len(captions) == (1 if colour == "green" else 2)  # and that it is grey is false
    held = set(store.rows(True)) & set(store.rows(False))
    assert not held and store.held_out and store.count


def test_an_adaptation_to_videos_runs_in_bounded_space(tmp_path: Path) -> None:
    config = small(tmp_path, sources=(fakes.videos(tmp_path, 30.0),), cache_gib=64 * 768 / 2**30 * 1e-3)
    result = adapt.run(config)
    assert result.step == 4
    (row,) = json.loads((config.out / "adapt.json").read_text())["data"]
    assert row["family"] == "videos" and row["frames"] + row["held_out"] <= 64


def test_whole_videos_are_held_out_where_others_say_the_same() -> None:
    known: list[Any] = [{CLIP: float(clip), "same": 1.0} for clip in range(10) for _ in range(5)]
    train, out = split_clips(known, 0.2, 0)
    assert len(out) == 10 and not {int(known[i][CLIP]) for i in train} & {int(known[i][CLIP]) for i in out}
    alone: list[Any] = [{CLIP: float(clip), f"caption {clip}": 1.0} for clip in range(3) for _ in range(10)]
    train, out = split_clips(alone, 0.2, 0)
    assert out.tolist() == [8, 9, 18, 19, 28, 29]


@pytest.mark.parametrize("form", ["json", "mapping", "jsonl", "csv"])
def test_captions_come_in_every_form(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.mp4").touch()
    row = {"file": "a.mp4", "caption": " a  robot ", "start": 1, "end": 2.5, "truth": 0.5}
    if form == "csv":
        (tmp_path / "captions.csv").write_text("file,caption,start,end,truth\na.mp4, a  robot ,1,2.5,0.5\n")
    elif form == "jsonl":
        (tmp_path / "captions.jsonl").write_text(json.dumps(row) + "\n\n")
    elif form == "json":
        (tmp_path / "captions.json").write_text(json.dumps([row]))
    else:
        (tmp_path / "captions.json").write_text(json.dumps({"a.mp4": "a robot"}))
    ((caption,),) = read_captions(tmp_path).values()
    assert caption.text == "a robot"
    if form != "mapping":
        assert (caption.start, caption.end, caption.truth) == (1.0, 2.5, 0.5)


# -- wrong input -----------------------------------------------------------------------------------------------------

ROW = {"file": "a.mp4", "caption": "x"}
BAD_CAPTIONS = {
    "no video": (None, "videos: got .* without one"),
    "nothing": ([], "captions: got none for .*a.mp4; expected a row in captions.json, or a.txt beside it"),
    "another file": (
        [{**ROW, "file": "b.mp4"}],
        "captions: got captions.json, row 1 of 'b.mp4'; expected a video in",
    ),
    "no caption": ([{"file": "a.mp4"}], "without file or caption"),
    "unknown field": ([{**ROW, "begin": 1}], "only file, caption, start, end, truth"),
    "end first": ([{**ROW, "start": 2, "end": 1}], "from 2.0 to 1.0 s; expected start before end"),
    "no number": ([{**ROW, "start": "soon"}], "with start 'soon'; expected a number"),
    "no truth": ([{**ROW, "truth": 2}], "of truth 2.0; expected a number from 0 to 1"),
    "no row": (["a.mp4"], "row 1 with 'a.mp4'"),
    "no list": (3, "with a int; expected a list of rows"),
}


@pytest.mark.parametrize("name", BAD_CAPTIONS)
def test_captions_and_videos_that_do_not_pair_are_named(tmp_path: Path, name: str) -> None:
    rows, message = BAD_CAPTIONS[name]
    if rows is not None:
        (tmp_path / "a.mp4").touch()
        (tmp_path / "captions.json").write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=message) as caught:
        read_captions(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_caption_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "captions.json").write_text("[{")
    with pytest.raises(UsageError, match=r"captions.json .*expected a json file"):
        read_captions(tmp_path)
    (tmp_path / "captions.csv").write_text("file,caption\n")
    with pytest.raises(UsageError, match="expected one of them"):
        read_captions(tmp_path)
    (tmp_path / "captions.csv").unlink()
    (tmp_path / "captions.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="expected a text file in UTF-8"):
        read_captions(tmp_path)


def test_a_video_that_cannot_be_read_leaves_no_folder_behind(tmp_path: Path) -> None:
    place = tmp_path / "clips"
    place.mkdir()
    (place / "a.mp4").write_bytes(b"no video at all")
    (place / "a.txt").write_text("a robot")
    config = small(tmp_path, sources=(VideoSource(place),))
    with pytest.raises(UsageError, match=r"video: got .*a.mp4 .*expected a video that ffmpeg can read"):
        adapt.run(config)
    assert not config.out.exists()


def test_a_caption_after_the_end_of_its_video_is_named(tmp_path: Path) -> None:
    fakes.write_clip(tmp_path / "a.mp4", ["red"])
    (tmp_path / "captions.json").write_text(json.dumps([{**ROW, "start": 30}, ROW]))
    with pytest.raises(UsageError, match=r"'x' from 30 to inf s of .*a.mp4, which ends at 0.75 s"):
        open_videos(VideoSource(tmp_path), "clips", 16, 0.2, 0, tmp_path / "cache", 100)


def test_a_text_over_the_context_length_is_named_with_its_tokens(tmp_path: Path) -> None:
    source = fakes.videos(tmp_path)
    (source.videos / "three.txt").write_text("a robot " * 20)
    config = small(tmp_path, sources=(source,))
    with pytest.raises(
        UsageError, match=r"caption: got 'a robot a robot.* of 42 tokens; expected at most 16 tokens"
    ):
        adapt.run(config)
    assert not config.out.exists()
    import open_clip

    tokens = Tokens(open_clip.SimpleTokenizer(context_length=16), 16, cut=True)
    assert tokens.fits("a robot " * 20) and tokens(["a robot " * 20]).shape == (1, 16)


WRONG = {
    "no source": ({"sources": ()}, "sources: got none"),
    "steps": ({"steps": 0}, "steps: got 0; expected 1 or more"),
    "batch": ({"batch": 1}, "batch: got 1"),
    "lr": ({"lr": 3.0}, "lr: got 3.0"),
    "held_out": ({"held_out": 0.0}, "held_out: got 0"),
    "nothings": ({"nothings": 0.9}, "nothings: got 0.9"),
    "accumulate": ({"accumulate": 13}, "accumulate: got 13"),
    "shares": ({"shares": (("a", 0.7), ("b", 0.7))}, "shares: got"),
    "nan": ({"weight_decay": float("nan")}, "weight_decay: got nan"),
    "frames": ({"sources": (WorldSource("x", frames=-1),)}, "world frames: got -1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_configs_are_refused(tmp_path: Path, name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(UsageError, match=message):
        small(tmp_path, **changes)


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{")
    out = ["adapt", "--out", str(tmp_path / "out"), "--device", "cpu"]
    world = ["--world", "vlmrl/CartPole-v0"]
    for arguments, message in (
        (["adapt"], "out: got none"),
        (out, "sources: got none"),
        ([*out, "--videos", str(tmp_path / "nowhere")], "videos: got"),
        ([*out, "--videos", str(tmp_path / "empty")], "without one"),
        ([*out, "--stored", str(tmp_path / "empty")], "stored: got"),
        ([*out, "--world", "CartPole-v1"], "world: got CartPole-v1"),
        ([*out, "--world", "vlmrl/CartPol-v0"], "did you mean vlmrl/CartPole-v0"),
        ([*out, *world, "--start", "scratch:ViT-B-33"], "close are ViT-B-32"),
        ([*out, *world, "--start", f"scratch:{tmp_path / 'bad.json'}"], "start: got scratch:"),
        ([*out, *world, "--start", "ViT-B-32/nothing"], "encoder: got ViT-B-32/nothing"),
        ([*out, *world, "--start", "ViT-B-32/laion2b_s34b_b79k"], "HF_HUB_OFFLINE"),
        ([*out, *world, "--start", "local-dir:/nowhere"], "a folder that exists"),
        ([*out, *world, "--share", "cartpole"], "share: got 'cartpole'"),
        ([*out, *world, "--device", "cuda:77"], "device: got cuda:77"),
        (["adapt", "--resume", str(tmp_path / "empty")], "run: got"),
    ):
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert error.startswith("vlmrl: error: ") and message in error and "\n" not in error, error
        assert not (tmp_path / "out").exists()


def test_stored_files_that_do_not_pair_are_named(tmp_path: Path) -> None:
    from vlmrl.adapt.config import StoredSource
    from vlmrl.adapt.stored import open_stored

    def refusal() -> str:
        with pytest.raises(UsageError) as caught:
            open_stored(StoredSource(tmp_path), 16, 0.1)
        return str(caught.value)

    frames = tmp_path / "cartpole-own.frames.npy"
    np.save(frames, np.zeros((4, 16, 16, 3), np.uint8))
    assert "without cartpole-own.degrees.npy" in refusal()
    np.save(tmp_path / "cartpole-own.degrees.npy", np.zeros((3, 2)))
    assert "of shape (3, 2) for 4 frames" in refusal()
    np.save(frames, np.zeros((4, 16, 16, 3)))
    assert "uint8 frames" in refusal()
    frames.write_bytes(b"short")
    assert "whole .npy files" in refusal()
    np.save(tmp_path / "dragon-own.frames.npy", np.zeros((4, 16, 16, 3), np.uint8))
    frames.unlink()
    assert "stored: got dragon" in refusal()


def test_a_config_comes_back_from_its_json(tmp_path: Path) -> None:
    from vlmrl.adapt.config import StoredSource
    from vlmrl.configs import from_plain, to_plain

    sources = (
        WorldSource("a/B-v0", (("pose", "kneeling"),)),
        StoredSource(tmp_path, ("x",)),
        VideoSource(tmp_path),
    )
    config = small(tmp_path, sources=sources, shares=(("x", 0.5),))
    assert from_plain(AdaptConfig, json.loads(json.dumps(to_plain(config)))) == config
