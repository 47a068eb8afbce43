"""What vlmrl adapt trains on: batches, the cache of frames, videos and captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import adapt_fakes as fakes
import numpy as np
import pytest
import torch
from adapt_fakes import small
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmrl import adapt, ranks
from vlmrl.adapt import WorldSource, batches, validation, worlds
from vlmrl.adapt.cache import FrameWriter, cached_store
from vlmrl.adapt.captions import read_captions
from vlmrl.adapt.pairs import ArrayStore, Family, Known, family_shares, split_tail
from vlmrl.adapt.videos import CLIP, open_videos, split_clips
from vlmrl.errors import UsageError
from vlmrl.video import read_video
from vlmrl_envs import held_out

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


def said(name: str, *captions: dict[str, float]) -> Family:
    """Return a family whose frames, blank, have these captions in turn."""
    known, frames = [captions[i % len(captions)] for i in range(20)], np.zeros((20, 16, 16, 3), np.uint8)
    return Family(name, (ArrayStore(name, frames, Known(captions=known), *split_tail(20, 0.2), size=16),))


def test_a_sentence_that_two_sources_say_is_as_true_of_the_ones_frames_as_of_the_others() -> None:
    one = said("one", {"the drawer is open": 1.0}, {"the drawer is shut": 1.0})
    two = said("two", {"the drawer is open": 0.5, "a gripper": 1.0}, {"a table": 1.0})
    batch = batches.draw_batch([one, two], [0.5, 0.5], np.random.default_rng(0), 40, 8)
    (rows, own), (others, foreign) = batch.blocks["one"], batch.blocks["two"]
    first, second = (k for k, text in enumerate(batch.texts) if text == "the drawer is open")
    assert own.start <= first < own.stop <= foreign.start <= second
    np.testing.assert_array_equal(batch.truth[:, second], batch.truth[:, first])
    assert set(batch.truth[rows, second]) == {0.0, 1.0} and set(batch.truth[others, first]) == {0.0, 0.5}
    assert batch.same[:, [first, second]].all()
    for k, text in enumerate(batch.texts):  # what only one of them says stays foreign to the other's frames
        if text != "the drawer is open":
            elsewhere = others if own.start <= k < own.stop else rows
            assert not batch.same[elsewhere, k].any() and not batch.truth[elsewhere, k].any()


def test_a_caption_of_a_frame_is_true_of_it_though_another_source_says_it() -> None:
    family = said("clips", {"the drawer is open": 0.75, "a gripper": 1.0}, {"a gripper": 1.0})
    _, known = family.frames(np.random.default_rng(0), 20)
    found = family.judge("the drawer is open", known)
    assert found is not None and set(found) == {0.0, 0.75} and family.judge("a table", known) is None


def test_a_grammar_judges_the_facts_that_another_source_says() -> None:
    told = said("clips", {"a square in red": 1.0}, {"a square in a picture": 1.0}, {"a bird": 1.0})
    batch = batches.draw_batch([graded(), told], [0.5, 0.5], np.random.default_rng(0), 40, 8)
    rows, _ = batch.blocks["squares"]
    column = {text: k for k, text in enumerate(batch.texts) if k >= batch.blocks["clips"][1].start}
    red = batch.truth[rows, column["a square in red"]]
    shown = batch.frames[rows, 8, 8].argmax(axis=1) == 0
    np.testing.assert_array_equal(red, shown)  # true of the world's own red squares, false of the others
    assert batch.same[rows, column["a square in red"]].all() and 0 < shown.sum() < len(shown)
    assert (batch.truth[rows, column["a square in a picture"]] == 1).all()  # as of any frame of this world
    assert not batch.same[rows, column["a bird"]].any() and not batch.truth[rows, column["a bird"]].any()


def test_what_a_grammar_leaves_out_it_judges_in_no_words_of_others() -> None:
    family = graded()
    _, known = family.frames(np.random.default_rng(0), 5)
    silent = Family("squares", family.stores, family.grammar.leave_out(["red"]))
    assert family.judge("a square in red", known) is not None
    assert silent.judge("a square in red", known) is None


def test_captions_that_are_too_long_are_passed_over() -> None:
    captions = [{"red": 1.0, "a long story": 1.0}, {"a long story": 1.0}]
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    store = ArrayStore("x", frames, Known(captions=captions), np.arange(2), np.arange(0), 16)
    short = lambda text: "long" not in text  # noqa: E731
    for seed in range(5):
        batch = batches.draw_batch([Family("x", (store,))], [1.0], np.random.default_rng(seed), 20, 8, short)
        assert batch.texts == ["red"] and set(batch.truth[:, 0]) == {0.0, 1.0}
    with pytest.raises(UsageError, match="caption: got none short enough for 20 frames"):
        batches.draw_batch(
            [Family("x", (store,))], [1.0], np.random.default_rng(0), 20, 8, lambda text: False
        )


def test_frames_of_nothing_are_true_of_no_sentence() -> None:
    batch = batches.draw_batch([graded()], [1.0], np.random.default_rng(0), 40, 8, empty=0.25)
    nothing = (batch.truth < 0).all(axis=1)
    assert nothing.sum() == 10 and (batch.truth[~nothing] >= 0).all() and (batch.same == 1).all()


def test_words_in_disorder_are_true_of_no_frame() -> None:
    orderly = batches.draw_batch([graded()], [1.0], np.random.default_rng(0), 10, 16)
    batch = batches.draw_batch([graded()], [1.0], np.random.default_rng(0), 10, 16, jumbled=0.5)
    jumbled = (batch.truth < 0).all(axis=0)
    assert 4 <= jumbled.sum() <= 8 and (batch.truth[:, ~jumbled] >= 0).all() and (batch.same == 1).all()
    for column, text in enumerate(batch.texts):
        assert sorted(text.split()) == sorted(orderly.texts[column].split())
        assert (text != orderly.texts[column]) == jumbled[column]
    assert batches.jumble(np.random.default_rng(0), "red red") == "red red"


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
    maker = batches.BatchMaker([family], [1.0], 12, 4, 0.1, 0.0, 3, True, [0.5] * 3, [0.25] * 3,
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


@example(5, [0.3, 0.3, 0.3, 0.1])
@given(st.integers(2, 300), st.lists(st.floats(0.05, 1.0), min_size=1, max_size=12))
def test_counts_add_up_to_the_batch(total: int, weights: list[float]) -> None:
    total = max(total, len(weights))
    counts = batches.split_counts(total, [w / sum(weights) for w in weights])
    assert sum(counts) == total and min(counts) >= 1


def test_counts_of_the_embedded_encoder_stay_as_they_were() -> None:
    shares = [0.46, 0.09, 0.09, 0.07, 0.07, 0.06, 0.06, 0.05, 0.05]
    assert batches.split_counts(256, shares) == [118, 23, 23, 18, 18, 15, 15, 13, 13]
    with pytest.raises(UsageError, match="batch: got 8 for 9 families; expected one at least for each"):
        batches.split_counts(8, shares)
    assert batches.split_counts(80, shares) == [37, 7, 7, 6, 6, 5, 5, 4, 3]


def test_shares_are_as_wished_and_the_rest_is_even() -> None:
    assert family_shares("abc", {"b": 0.5}) == pytest.approx([0.25, 0.5, 0.25])
    with pytest.raises(UsageError, match="shares: got d; expected one of a, b, c"):
        family_shares("abc", {"d": 0.5})
    with pytest.raises(UsageError, match="something left for c"):
        family_shares("abc", {"a": 0.5, "b": 0.5})


def test_figures_against_numbers_by_hand() -> None:
    assert ranks.average_ranks(np.array([3.0, 1.0, 3.0])).tolist() == [2.5, 1.0, 2.5]
    assert validation.auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])) == 0.875
    assert validation.auc(np.ones(3), np.ones(3, bool)) is None
    assert ranks.spearman(np.array([1.0, 2.0, 9.0]), np.array([3.0, 2.0, 1.0])) == -1
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
        part = range(start, min(start + chunk, count))
        writer.append(frames[start : start + chunk], [{"it is number": i} for i in part])
        assert len(writer.known) == len(writer.rows) <= most  # what is dropped is forgotten
    kept = writer.close()
    assert [known["it is number"] for known in writer.known] == writer.rows
    assert len(kept) == len(writer.rows) <= most and [p.name for p in folder.iterdir()] == ["x.npy"]
    assert kept[:, 3, 3, 1].tolist() == writer.rows
    stride = int(np.diff(writer.rows)[0]) if len(writer.rows) > 1 else 1
    assert writer.rows == list(range(0, count, stride))[: len(writer.rows)] and stride & (stride - 1) == 0
    assert len(writer.rows) == -(-count // stride)


def test_frames_of_another_size_are_squashed(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "x.npy", 8, 9)
    writer.append(np.full((2, 20, 30, 3), 77, np.uint8), [{}, {}])
    assert writer.close().shape == (2, 8, 8, 3) and (np.load(tmp_path / "x.npy") == 77).all()


def test_frames_are_resized_as_the_model_wants_it(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (1, 20, 40, 3), dtype=np.uint8)
    made = {}
    for name in ("bilinear", "bicubic"):
        wanted = np.asarray(Image.fromarray(frames[0]).resize((16, 16), Image.Resampling[name.upper()]))
        writer = FrameWriter(tmp_path / name, 16, 9, name)
        writer.append(frames, [{}])
        store = ArrayStore("x", frames, Known(captions=[{}]), np.arange(1), np.arange(1), 16, name)
        for made[name] in (writer.close(), store.draw(np.random.default_rng(0), 1)[0]):
            assert np.abs(made[name][0].astype(int) - wanted).max() <= 2
        assert store.only(np.ones(1, bool)).interpolation == name
    assert np.abs(made["bilinear"].astype(int) - made["bicubic"]).max() > 10


def test_degrees_of_a_cache_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    degrees = np.random.default_rng(0).random((10, 3))

    def parts():
        yield np.zeros((10, 8, 8, 3), np.uint8), degrees

    arguments = (tmp_path / "cache", "x", 8, 6)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".tmp-x.captions.json-1").touch()  # a killed process left it
    with pytest.warns(UserWarning, match="x.frames.npy: 10 frames are more than 6; one of 2 is kept"):
        first = cached_store(*arguments, parts, lambda known: split_tail(len(known), 0.2))
    again = cached_store(
        *arguments, lambda: pytest.fail("drawn again"), lambda known: split_tail(len(known), 0.2)
    )
    for store in (first, again):
        assert store.known.degrees is not None and store.known.degrees.dtype == np.float32
        assert np.array_equal(store.known.degrees, degrees[::2].astype(np.float32))
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert names == ["x.degrees.npy", "x.frames.npy"]


# -- worlds ----------------------------------------------------------------------------------------------------------


def test_states_that_show_what_a_grammar_holds_out_are_never_drawn() -> None:
    world = worlds.WorldFrames(WorldSource("vlmrl/Humanoid-v0"), 16)
    any_states = world.world.sample_states(np.random.default_rng(0), 200)
    states = world.states(np.random.default_rng(0), 200)
    assert states.shape == any_states.shape
    for drawn, seen in ((any_states, False), (states, True)):
        assert held_out.training_states(world.grammar, world._degrees(drawn)).all() == seen
    world._degrees = lambda states: np.ones((len(states), len(world.grammar.facts)))
    with pytest.raises(UsageError, match="world: got humanoid, whose states nearly all show"):
        world.states(np.random.default_rng(0), 2)


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
    with pytest.warns(UserWarning, match="frames are more than 64; one of 2 is kept"):
        result = adapt.run(config)
    assert result.step == 4
    (row,) = json.loads((config.out / "adapt.json").read_text())["data"]
    assert row["family"] == "videos" and row["frames"] + row["held_out"] <= 64


def test_a_world_larger_than_the_cache_is_drawn_in_part(tmp_path: Path) -> None:
    fakes.register()
    with pytest.warns(UserWarning, match="64 frames are drawn, not 90"):
        adapt.run(small(tmp_path, sources=(WorldSource("test/Squares-v0", frames=90),), cache_gib=1e-9))


def test_frames_and_words_of_ones_own_take_the_place_of_sources(tmp_path: Path) -> None:
    config = small(tmp_path, sources=(), shares=(("clips", 0.25),))
    with pytest.raises(ZeroDivisionError):
        adapt.run(config, lambda progress: 1 // (progress.global_step - 3), families=[captioned(), graded()])
    result = adapt.resume(config.out, families=[captioned(), graded()])
    assert result.step == 4 and {"auc/clips", "auc/squares"} <= result.validation.keys()


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
    (tmp_path / "a.txt").write_text(" a \t robot \n\n")  # the same caption, beside the video
    assert read_captions(tmp_path)[tmp_path / "a.mp4"][1].text == "a robot"
    if form != "mapping":
        assert (caption.start, caption.end, caption.truth) == (1.0, 2.5, 0.5)


def test_any_frame_of_a_batch_may_be_shifted() -> None:
    moved = torch.zeros(16, dtype=torch.bool)
    for seed in range(12):
        frames = torch.linspace(0, 255, 8).repeat(16, 8, 1)[..., None].expand(16, 8, 8, 3).clone()
        steps = batches.augment(frames, torch.Generator().manual_seed(seed)).diff(dim=2)[..., 0]
        moved |= (steps[:, :, 0].mean(1).abs() < 1) | (
            steps[:, :, -1].mean(1).abs() < 1
        )  # an edge drawn twice
    assert moved.all()  # not only those of the families that come first
