"""vlmrl adapt: it learns, resumes bit for bit, and leaves a directory that plain open_clip loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import adapt_fakes as fakes
import numpy as np
import open_clip
import pytest
import torch
from adapt_fakes import small
from PIL import Image
from safetensors.numpy import load_file

from vlmrl import adapt, checkpoints, load_encoder, runs
from vlmrl.adapt import StoredSource, WorldSource, folder, loop, worlds
from vlmrl.adapt.batches import to_images
from vlmrl.adapt.model import image_shape
from vlmrl.adapt.pairs import fit_square
from vlmrl.adapt.progress import adapt_line
from vlmrl.cli import main
from vlmrl.errors import UsageError
from vlmrl.runs import read_metrics

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(autouse=True)
def _world() -> None:
    fakes.register()


class Stop(Exception):
    pass


def stop_at(step: int, error: type[BaseException] = Stop):
    def report(progress) -> None:
        if progress.global_step == step:
            raise error

    return report


def same_tensors(one: Path, two: Path) -> None:
    left, right = load_file(one), load_file(two)
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


@pytest.mark.parametrize("world", ["Squares", "SaidSquares"])
def test_it_learns_squares_it_has_not_seen(tmp_path: Path, world: str) -> None:
    config = small(
        tmp_path, world, steps=100, validate_every=50, batch=32, captions=24, lr=3e-3, held_out=0.4
    )
    config = replace(config, sources=(WorldSource(f"test/{world}-v0", frames=200),), validation_frames=64)
    seen: list[str] = []
    result = adapt.run(config, lambda progress: seen.append(adapt_line(progress)))
    assert result.validation["auc"] > 0.8
    rows = [row for row in read_metrics(config.out) if "held_out/loss" in row]
    assert rows[-1]["held_out/loss"] < rows[0]["held_out/loss"]
    assert seen[-1].startswith("100%  step 100/100") and "held-out auc" in seen[-1]
    assert not (config.out / "cache").exists()
    record = json.loads((config.out / "adapt.json").read_text())
    assert (
        record["step"] == result.exported_step
        and record["config"]["seed"] == 0
        and "torch" in record["versions"]
    )
    (source,) = record["data"]
    assert source["frames"] == 120 and source["held_out"] == 80


def test_the_embedded_encoder_goes_on_with_cart_pole_frames_drawn_once_and_anew(tmp_path: Path) -> None:
    source = WorldSource("vlmrl/CartPole-v0", frames=100)
    config = small(tmp_path, start="embedded", sources=(source,), steps=4, validate_every=4, low_rank=4,
                   validation_frames=20, precision="auto")  # fmt: skip
    result = adapt.run(config)
    assert result.validation["auc"] > 0.85 and result.validation["spearman/cartpole"] > 0.7
    anew = replace(config, out=tmp_path / "anew", sources=(replace(source, frames=0),), steps=1)
    assert adapt.run(anew).step == 1


def test_the_folder_loads_in_plain_open_clip_with_the_same_embeddings(tmp_path: Path) -> None:
    config = small(tmp_path, weights="fp16")
    adapt.run(config)
    name = f"local-dir:{config.out}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    model.eval()
    texts, frames = (
        ["a red square", "a blue thing"],
        fakes.Squares().render_states(np.array([[0, 0.5, 0], [2, 0.9, 0]]), size=(16, 16)),
    )
    encoder = load_encoder(name, "cpu", precision="float32")
    with torch.no_grad():
        words = model.encode_text(open_clip.get_tokenizer(name)(texts), normalize=True)
        images = model.encode_image(
            torch.stack([transform(Image.fromarray(f)) for f in frames]), normalize=True
        )
    assert torch.allclose(encoder.embed_texts(texts), words, atol=1e-5)
    assert torch.allclose(encoder.embed_images(frames), images, atol=1e-5)
    assert load_file(config.out / WEIGHTS)["token_embedding.weight"].dtype == np.float16


def test_plain_open_clip_sees_frames_as_training_did(tmp_path: Path) -> None:
    config = small(tmp_path)
    path = Path(config.start.removeprefix("scratch:"))
    changed = json.loads(path.read_text())
    changed["preprocess_cfg"] |= {"resize_mode": "shortest", "interpolation": "bilinear"}
    path.write_text(json.dumps(changed))
    adapt.run(config)
    name = f"local-dir:{config.out}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    frame = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    seen = to_images(fit_square(frame[None], *image_shape(model)), [0.5] * 3, [0.25] * 3)
    assert torch.allclose(transform(Image.fromarray(frame))[None], seen, atol=2.1 / 255 / 0.25)


@pytest.mark.parametrize("changes", [
    {}, {"low_rank": 2}, {"accumulate": 3}, {"kind": "resnet", "workers": 2}, {"kind": "resnet", "precision": "bfloat16"}, {"freeze_text": True},
    {"export": "latest"}, {"sources": (WorldSource("test/Squares-v0", frames=0),)},
], ids=str)  # fmt: skip
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, changes: dict) -> None:
    whole = adapt.run(small(tmp_path, **changes, steps=6, out=tmp_path / "whole"))
    config = small(tmp_path, **changes, steps=6)
    with pytest.raises(Stop):
        adapt.run(config, stop_at(5))
    result = adapt.resume(config.out)
    assert (result.step, result.exported_step) == (6, whole.exported_step)
    assert result.validation == whole.validation
    same_tensors(config.out / WEIGHTS, whole.path / WEIGHTS)
    for name in ("latest", "best"):
        places = [path / "checkpoints" for path in (config.out, whole.path)]
        names = [(place / name).read_text().strip() for place in places]
        same_tensors(*(p / n / checkpoints.TENSORS for p, n in zip(places, names, strict=True)))
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(p)]
        for p in (config.out, whole.path)
    ]
    assert rows[0] == rows[1]
    assert adapt.resume(config.out).step == 6  # and once more, with nothing left to do


def test_a_run_stopped_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    whole = adapt.run(small(tmp_path, out=tmp_path / "whole"))
    config = small(tmp_path)
    with pytest.raises(OSError, match="no weights were saved before"):
        adapt.run(config, stop_at(1, OSError))
    adapt.resume(config.out)
    same_tensors(config.out / WEIGHTS, whole.path / WEIGHTS)


def test_a_killed_process_leaves_good_weights_and_goes_on(tmp_path: Path) -> None:
    whole = adapt.run(small(tmp_path, steps=6, out=tmp_path / "whole"))
    code = (
        "import os, signal, sys; from pathlib import Path; import adapt_fakes as f; f.register()\n"
        "from vlmrl import adapt; import torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "kill = lambda p: p.global_step == 5 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "adapt.run(f.small(Path(sys.argv[1]), steps=6), kill)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", code, str(tmp_path), str(torch.get_num_threads())]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    out = tmp_path / "out"
    assert load_encoder(f"local-dir:{out}", "cpu").embed_texts(["a red square"]).shape == (1, 16)
    assert adapt.resume(out).step == 6
    same_tensors(out / WEIGHTS, whole.path / WEIGHTS)


def test_a_loss_that_is_not_finite_stops_with_its_batch_saved(tmp_path: Path, monkeypatch) -> None:
    config = small(tmp_path)
    step = loop.Training.train_step

    def spoil(self, inputs, progress):
        if self.step == 3:
            inputs.images[0] = float("nan")
        return step(self, inputs, progress)

    monkeypatch.setattr(loop.Training, "train_step", spoil)
    with pytest.raises(FloatingPointError) as caught:
        adapt.run(config)
    message = str(caught.value)
    assert "loss: got nan" in message and "step 3" in message and "of step 2, are in" in message
    place = config.out / "bad-batch-3"
    saved = np.load(place / "batch.npz", allow_pickle=False)
    assert saved["frames"].shape == (12, 16, 16, 3) and saved["frames"].dtype == np.uint8
    assert len(json.loads((place / "captions.json").read_text())) == saved["truth"].shape[1]
    assert all(np.isfinite(w).all() for w in load_file(config.out / WEIGHTS).values())
    monkeypatch.undo()
    assert adapt.resume(config.out).step == 4


@pytest.mark.parametrize("call", [0, 1, 3, 5])
def test_a_full_disk_leaves_the_last_good_weights(tmp_path: Path, monkeypatch, call: int) -> None:
    whole = adapt.run(small(tmp_path, out=tmp_path / "whole"))
    config = small(tmp_path)
    with pytest.raises(Stop):
        adapt.run(config, stop_at(2))
    before = (config.out / WEIGHTS).read_bytes()
    calls, write = [], checkpoints.write_file

    def full(path, data):
        calls.append(path)
        if len(calls) > call:
            raise OSError(28, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_file", full)
    with pytest.raises(OSError, match="No space left on device; the last good weights, of step 2, are in"):
        adapt.resume(config.out)
    assert (config.out / WEIGHTS).read_bytes() == before
    monkeypatch.undo()
    adapt.resume(config.out)
    same_tensors(config.out / WEIGHTS, whole.path / WEIGHTS)


def test_a_full_disk_while_frames_are_drawn_is_said_and_survived(tmp_path: Path, monkeypatch) -> None:
    config = small(tmp_path)

    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vlmrl.adapt.cache.FrameWriter.append", full)
    remedy = f"vlmrl adapt --resume {config.out}"
    message = f"[Errno 28] No space left on device; no weights were saved before; then: {remedy}"
    for go_on in (lambda: adapt.run(config), lambda: adapt.resume(config.out)):
        with pytest.raises(OSError) as caught:
            go_on()
        assert str(caught.value) == message
    assert list((config.out / "cache").iterdir()) == []
    monkeypatch.undo()
    assert adapt.resume(config.out).step == 4


def test_frames_are_drawn_once_even_if_a_run_is_stopped(tmp_path: Path, monkeypatch) -> None:
    config = small(tmp_path, keep_cache=True)
    with pytest.raises(Stop):
        adapt.run(config, stop_at(3))
    monkeypatch.setattr(worlds.WorldFrames, "parts", lambda *_: pytest.fail("drawn again"))
    adapt.resume(config.out)
    assert (config.out / "cache").exists()


def test_the_text_tower_stays_as_it_is_where_asked(tmp_path: Path) -> None:
    start = small(tmp_path, out=tmp_path / "start")
    adapt.run(start)
    config = small(tmp_path, start=f"local-dir:{start.out}", freeze_text=True, lr=1e-2)
    adapt.run(config)
    before, after = load_file(start.out / WEIGHTS), load_file(config.out / WEIGHTS)
    moved = {key.split(".")[0] for key in before if not np.array_equal(before[key], after[key])}
    assert moved == {"visual", "logit_scale", "logit_bias"}


def test_another_start_is_noticed_when_a_run_is_resumed(tmp_path: Path) -> None:
    start = small(tmp_path, out=tmp_path / "start")
    adapt.run(start)
    config = small(tmp_path, start=f"local-dir:{start.out}", low_rank=2)
    with pytest.raises(Stop):
        adapt.run(config, stop_at(3))
    other = small(tmp_path, out=tmp_path / "other", seed=5)
    adapt.run(other)
    (start.out / WEIGHTS).write_bytes((other.out / WEIGHTS).read_bytes())
    with pytest.raises(UsageError, match=r"start: got .* with other weights than at the beginning"):
        adapt.resume(config.out)


def test_the_last_weights_are_kept_where_asked_and_the_best_otherwise(tmp_path: Path, monkeypatch) -> None:
    losses = iter([1.0, 2.0, 1.0, 2.0])
    real = loop.Training.validate
    monkeypatch.setattr(loop.Training, "validate", lambda self, *a: {**real(self, *a), "loss": next(losses)})
    assert adapt.run(small(tmp_path, out=tmp_path / "best")).exported_step == 2
    assert adapt.run(small(tmp_path, out=tmp_path / "latest", export="latest")).exported_step == 4


def test_a_kill_between_checkpoint_and_export_is_made_good(tmp_path: Path, monkeypatch) -> None:
    whole = adapt.run(small(tmp_path, out=tmp_path / "whole"))
    config = small(tmp_path)

    def die(*_, **__):
        raise Stop

    monkeypatch.setattr(loop, "export", die)
    with pytest.raises(Stop):
        adapt.run(replace(config, validate_every=4))
    monkeypatch.setattr(loop, "export", folder.export)
    assert adapt.resume(config.out).exported_step == 4
    same_tensors(config.out / WEIGHTS, whole.path / WEIGHTS)


def test_the_command_trains_resumes_and_prints_json(tmp_path: Path, capsys) -> None:
    model = fakes.write_model(tmp_path)
    out = tmp_path / "out"
    arguments = ["adapt", "--out", str(out), "--world", "test/SaidSquares-v0", "--world-frames", "60", "--start",
                 f"scratch:{model}", "--steps", "2", "--batch", "12", "--captions", "8", "--validate-every", "2",
                 "--validation-frames", "24", "--device", "cpu", "--share", "test_saidsquares_v0=1", "--json"]  # fmt: skip
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["step"] == 2 and result["path"] == str(out) and 0 <= result["validation"]["auc"] <= 1
    assert main(["adapt", "--resume", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2
    assert main(arguments) == 2
    assert "which exists" in capsys.readouterr().err
    assert main(["eval", str(out)]) == 2
    assert "made by `vlmrl adapt`" in capsys.readouterr().err
    assert main(["adapt", "--resume", str(out), "--steps", "9"]) == 2
    assert "also --steps" in capsys.readouterr().err


def test_stored_files_are_read_as_the_experiments_write_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, n in (("cartpole-own", 40), ("cartpole-varied", 30), ("mountain_car-own", 20)):
        facts = len(adapt_grammar(name.split("-")[0]).facts)
        np.save(tmp_path / f"{name}.frames.npy", rng.integers(0, 255, (n, 24, 24, 3), dtype=np.uint8))
        np.save(tmp_path / f"{name}.degrees.npy", rng.random((n, facts)).astype(np.float16))
    config = small(
        tmp_path, sources=(StoredSource(tmp_path),), shares=(("cartpole", 0.75),), long_captions="cut"
    )
    adapt.run(config)
    data = json.loads((config.out / "adapt.json").read_text())["data"]
    assert [(row["source"], row["share"], row["held_out"]) for row in data] == [
        ("cartpole-own", 0.75, 8), ("cartpole-varied", 0.75, 6), ("mountain_car-own", 0.25, 4)]  # fmt: skip


def adapt_grammar(name: str):
    from vlmrl.adapt.stored import world_grammar

    return world_grammar(name)


def test_a_folder_of_a_run_is_no_adaptation(tmp_path: Path) -> None:
    runs.RunFolder.create(tmp_path / "run", {})
    with pytest.raises(UsageError, match="made by `vlmrl train`"):
        adapt.resume(tmp_path / "run")
