"""vlmrl adapt stopped anywhere: by Ctrl-C, by a kill, by a loss that is not finite; and what is left on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import adapt_fakes as fakes
import numpy as np
import pytest
import torch
from adapt_fakes import small
from safetensors.numpy import load_file

from vlmrl import adapt, checkpoints
from vlmrl.adapt import folder, loop, training
from vlmrl.cli import main
from vlmrl.encoders.sources import build_scratch
from vlmrl.runs import read_metrics

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(autouse=True)
def _world() -> None:
    fakes.register()


def latest(out: Path) -> checkpoints.Checkpoint:
    return checkpoints.load_checkpoint(out / "checkpoints")


def rows(out: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(out)]


def once(real, at: int):
    """Call `real`; after the call number `at` Ctrl-C follows."""
    calls = []

    def called(*args, **options):
        found = real(*args, **options)
        calls.append(at)
        if len(calls) == at:
            raise KeyboardInterrupt
        return found

    return called


@pytest.mark.parametrize(("where", "at", "saved"), [
    ("report", 5, 5),  # after a step
    ("vlmrl.adapt.training.backward", 5, 4),  # within a step: batch normalisation has seen the batch
    ("vlmrl.adapt.training.validate", 1, 3),  # before a step's validation is over
    ("vlmrl.adapt.training.validate", 2, 6),  # the last one's
    ("torch.optim.AdamW.step", 5, 3),  # while weights change: not saved
], ids=str)  # fmt: skip
def test_ctrl_c_loses_no_step_and_changes_none(
    tmp_path: Path, monkeypatch, where: str, at: int, saved: int
) -> None:
    settings = {"kind": "resnet", "steps": 6, "validate_every": 3}
    whole = adapt.run(small(tmp_path, **settings, out=tmp_path / "whole"))
    config = small(tmp_path, **settings)
    report = lambda progress: None  # noqa: E731
    if where == "report":
        report = once(report, at)
    else:
        place, _, name = where.rpartition(".")
        owner = torch.optim.AdamW if place.endswith("AdamW") else training
        monkeypatch.setattr(owner, name, once(getattr(owner, name), at))
    with pytest.raises(KeyboardInterrupt):
        adapt.run(config, report)
    monkeypatch.undo()
    checkpoint = latest(config.out)
    assert checkpoint.global_step == saved
    assert (checkpoint.extra["score"] is None) == (where != "torch.optim.AdamW.step")
    result = adapt.resume(config.out)
    assert (result.exported_step, result.validation) == (whole.exported_step, whole.validation)
    for key, value in load_file(whole.path / WEIGHTS).items():
        np.testing.assert_array_equal(load_file(config.out / WEIGHTS)[key], value, err_msg=key)
    assert rows(config.out) == rows(whole.path)


def test_now_and_then_weights_are_saved_that_are_not_validated(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    config, found = small(tmp_path), []

    def look(progress) -> None:
        best = config.out / "checkpoints" / "best"
        checkpoint = latest(config.out)
        found.append((checkpoint.global_step, checkpoint.extra["validated"], best.exists()))

    adapt.run(config, look)
    assert found == [(1, None, False), (2, 2, True), (3, 2, True), (4, 4, True)]


def test_a_finished_run_draws_nothing_again(tmp_path: Path, monkeypatch, capsys) -> None:
    config = small(tmp_path, weights="fp16")
    result = adapt.run(config)
    for name in (".tmp-adapt.json-1", "checkpoints/.tmp-latest-1"):
        (config.out / name).touch()  # a killed process left them
    monkeypatch.setattr(loop, "load_start", lambda *_: pytest.fail("began again"))
    assert adapt.resume(config.out) == result
    assert not list(config.out.rglob(".tmp-*"))
    monkeypatch.undo()
    assert load_file(config.out / WEIGHTS)["token_embedding.weight"].dtype == np.float16
    assert main(["adapt", "--resume", str(config.out), "--weights", "fp32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exported_step"] == result.exported_step
    assert load_file(config.out / WEIGHTS)["token_embedding.weight"].dtype == np.float32


@pytest.mark.parametrize("changes", [{}, {"low_rank": 2}, {"export": "latest"}], ids=str)
def test_a_finished_run_is_exported_anew_without_its_sources(
    tmp_path: Path, monkeypatch, changes: dict
) -> None:
    whole = adapt.run(small(tmp_path, **changes, out=tmp_path / "whole", weights="fp32"))
    config = small(tmp_path, **changes, weights="fp16")
    result = adapt.run(config)
    before = json.loads((config.out / "adapt.json").read_text())
    for name in ("open_families", "family_names"):
        monkeypatch.setattr(loop, name, lambda *_: pytest.fail("opened a source"))
    assert adapt.resume(config.out, weights="fp32") == result
    for key, value in load_file(whole.path / WEIGHTS).items():
        np.testing.assert_array_equal(load_file(config.out / WEIGHTS)[key], value, err_msg=key)
    after = json.loads((config.out / "adapt.json").read_text())
    assert after["config"].pop("weights") == "fp32" and before["config"].pop("weights") == "fp16"
    assert after == before


def test_a_finished_run_is_exported_anew_though_its_videos_are_gone(tmp_path: Path) -> None:
    config = small(tmp_path, weights="fp16", sources=(fakes.videos(tmp_path),))
    result = adapt.run(config)
    shutil.rmtree(tmp_path / "clips")
    assert main(["adapt", "--resume", str(config.out), "--weights", "fp32"]) == 0
    assert load_file(config.out / WEIGHTS)["token_embedding.weight"].dtype == np.float32
    assert adapt.resume(config.out, weights="fp32") == result


# -- numbers that are not finite -------------------------------------------------------------------------------------


def test_a_validation_that_is_not_finite_is_said_in_one_line_with_its_batch(
    tmp_path: Path, monkeypatch
) -> None:
    real, calls = training.validate, []

    def spoil(*args):
        calls.append(1)
        return {**real(*args), **({"loss": float("nan")} if len(calls) == 2 else {})}

    monkeypatch.setattr(training, "validate", spoil)
    config = small(tmp_path, lr=1e-3)
    message = (
        f"validation loss: got nan at step 4; expected a finite number; its batch is in {config.out}/bad-batch-4, "
        f"the last good weights, of step 2, are in {config.out}; begin anew with --start local-dir:{config.out}, "
        f"--lr lower than 0.001"
    )
    with pytest.raises(FloatingPointError) as caught:
        adapt.run(config)
    assert str(caught.value) == message
    assert (config.out / "bad-batch-4" / "batch.npz").is_file() and latest(config.out).global_step == 2
    remedy = replace(config, start=f"local-dir:{config.out}", lr=1e-4, out=tmp_path / "anew")
    assert adapt.run(remedy).step == 4


def test_a_step_that_is_not_finite_leaves_batch_normalisation_as_it_was(tmp_path: Path) -> None:
    config = small(tmp_path, kind="resnet")
    loaded = build_scratch(config.start.removeprefix("scratch:"), 0)
    state = training.Training(config, loaded, torch.device("cpu"))
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    frames = torch.full((4, 3, 32, 32), 0.5)
    frames[0] = float("nan")
    zeros = torch.zeros(4, 1)
    inputs = training.Inputs(None, frames, loaded.tokenizer(["a red square"]), zeros, zeros + 1)  # type: ignore[arg-type]
    with pytest.raises(training.NotFinite):
        state.train_step(inputs, 0.0)
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert state.whole


def test_weights_over_the_range_of_fp16_stay_in_fp32(tmp_path: Path) -> None:
    import open_clip

    loaded = build_scratch(str(fakes.write_model(tmp_path)), 0)
    out = tmp_path / "out"
    out.mkdir()
    with torch.no_grad():
        loaded.model.positional_embedding[0, 0] = 1e6
    with pytest.warns(
        UserWarning, match="weights: positional_embedding stay in fp32, over the range of fp16"
    ):
        folder.export(out, loaded, "fp16", {})
    kinds = {name: value.dtype for name, value in load_file(out / WEIGHTS).items()}
    assert kinds["positional_embedding"] == np.float32 and kinds["text_projection"] == np.float16
    model = open_clip.create_model(f"local-dir:{out}")
    assert model.positional_embedding[0, 0] == 1e6 and model.positional_embedding.dtype == torch.float32
    with torch.no_grad():
        loaded.model.positional_embedding[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"infinity in positional_embedding; .* a lower --lr"):
        folder.export(out, loaded, "fp16", {})


# -- the folder ------------------------------------------------------------------------------------------------------


class Spoken:
    """A tokenizer with files of its own, as a Hugging Face one."""

    def __init__(self) -> None:
        self.calls = 0

    def save_pretrained(self, place: str) -> None:
        self.calls += 1
        for name in ("vocab.txt", "tokenizer_config.json"):
            (Path(place) / name).write_text(name)
        if self.calls == 1:
            raise KeyboardInterrupt


def test_a_tokenizers_files_are_written_whole_and_once(tmp_path: Path) -> None:
    tokenizer = Spoken()
    with pytest.raises(KeyboardInterrupt):
        folder._write_tokenizer(tmp_path, tokenizer)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        folder._write_tokenizer(tmp_path, tokenizer)
    assert tokenizer.calls == 2
    assert {path.name for path in tmp_path.iterdir()} == {"vocab.txt", "tokenizer_config.json"}


def test_a_check_of_words_that_is_lost_is_said(tmp_path: Path) -> None:
    start = small(tmp_path, out=tmp_path / "start")
    adapt.run(start)
    assert "words" not in json.loads((start.out / "adapt.json").read_text())
    (start.out / "words.json").write_text("{}")
    config = small(tmp_path, start=f"local-dir:{start.out}")
    text = f"words.json of local-dir:{start.out} is for its own weights: those made here check no sentences"
    with pytest.warns(UserWarning, match=text):
        adapt.run(config)
    assert json.loads((config.out / "adapt.json").read_text())["words"] == text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch sees")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_it_trains_stops_and_goes_on(tmp_path: Path, precision: str) -> None:
    """Not to the bit: a GPU adds up in another order each time. Steps, optimiser and random numbers go on all the same."""
    settings = {"kind": "resnet", "steps": 6, "device": "cuda", "precision": precision}
    whole = adapt.run(small(tmp_path, **settings, out=tmp_path / "whole"))
    config = small(tmp_path, **settings)
    with pytest.raises(KeyboardInterrupt):
        adapt.run(config, once(lambda progress: None, 3))
    result = adapt.resume(config.out)
    assert result.exported_step == whole.exported_step and latest(config.out).global_step == 6
    assert result.validation["loss"] == pytest.approx(whole.validation["loss"], rel=0.05)
