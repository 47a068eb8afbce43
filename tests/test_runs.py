"""Run folders: nothing overwritten, nothing lost to a kill, damage found, no secret written."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlmrl import checkpoints, runs
from vlmrl.checkpoints import CheckpointWarning, load_checkpoint, save_checkpoint
from vlmrl.configs import from_plain, redact, to_plain
from vlmrl.errors import UsageError
from vlmrl.runs import RunFolder
from vlmrl.tasks import TASKS, Task

TENSORS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "scalar": np.array(2.5),
    "key": np.array([1, 2**32 - 1], np.uint32),
    "count": np.array(2**40, np.int64),
    "empty": np.zeros((0, 3), np.float16),
    "mask": np.array([True, False]),
}


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (64, 64)


@dataclass(frozen=True)
class Outer:
    task: Task
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    out: Path | None = None
    limit: float | None = None
    steps: int = 10
    view: tuple[int, int] | None = None


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].dtype == right[key].dtype
        np.testing.assert_array_equal(left[key], right[key])


# Configs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_configs_come_back_from_json(task):
    config = Outer(task, "b", Inner(math.inf, (1, 2, 3)), Path("runs/x"), 3.0, 7, (4, 5))
    assert from_plain(Outer, json.loads(json.dumps(to_plain(config), allow_nan=False))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": {"rat": 1.0}}, r"config\.inner\.rat: got an unknown field; .*did you mean rate\?"),
        ({"inner": {"rate": "fast"}}, r"config\.inner\.rate: got 'fast'; expected float"),
        ({"steps": True}, r"config\.steps: got True; expected int"),
        ({"kind": "c"}, r"config\.kind: got 'c'"),
        ({"view": [1, 2, 3]}, r"config\.view: got"),
        ({"task": {"name": "a"}}, r"config\.task: got .*every field of Task"),
        ({"task": 3}, r"config\.task: got 3; expected the fields of Task"),
    ],
)
def test_damaged_configs_name_the_field(change, message):
    with pytest.raises(UsageError, match=message):
        from_plain(Outer, {**to_plain(Outer(TASKS["cartpole"])), **change})


def test_arrays_have_no_place_in_a_config():
    assert to_plain({"a": np.float32(1.5), "b": {3, 1}}) == {"a": 1.5, "b": [1, 3]}
    with pytest.raises(UsageError, match="config value: got ndarray"):
        to_plain(np.zeros(3))


CANARY = "canary-4f9a1c77e2"


@pytest.mark.parametrize(
    "value",
    [
        {"api_key": CANARY},
        {"nested": [{"wandb_token": CANARY}]},
        {"url": f"https://me:{CANARY}@host/x"},
        {"command": ["train", "--api-key", CANARY]},
        {"command": [f"--token={CANARY}"]},
        {"note": f"from the environment: {CANARY}"},
        {"key": "sk-canary4f9a1c77e24f9a1c77e2"},
        {"key": "hf_canary4f9a1c77e24f9a1c77e2"},
        {CANARY: 1},
    ],
)
def test_secrets_are_taken_out(value):
    assert "canary" not in json.dumps(redact(value, {"SOME_API_KEY": CANARY, "PATH": "/bin"}))


def test_what_is_no_secret_stays():
    plain = {"num_tokens": 77, "token": None, "author": "me", "path": "/bin:/usr/bin", "env_id": "a/B-v0"}
    assert redact(plain, {"PATH": "/bin:/usr/bin"}) == plain


# Checkpoints ------------------------------------------------------------------------------------------------


def test_checkpoints_are_bitwise_equal(tmp_path):
    path = save_checkpoint(tmp_path / "c", 1000, TENSORS, {"episode": 3, "name": "x", "nothing": None})
    checkpoint = load_checkpoint(tmp_path / "c")
    same(checkpoint.tensors, TENSORS)
    assert (checkpoint.global_step, checkpoint.path) == (1000, path)
    assert checkpoint.extra == {"episode": 3, "name": "x", "nothing": None}
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "tensors.safetensors"]


def test_old_ones_go_but_the_best_stays(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, pointers=("latest", "best"))
    for step in range(2, 8):
        save_checkpoint(tmp_path, step, TENSORS, keep=2)
    assert [int(path.name[5:]) for path in checkpoints.list_checkpoints(tmp_path)] == [1, 6, 7]
    assert load_checkpoint(tmp_path, "best").global_step == 1
    assert load_checkpoint(tmp_path).global_step == 7


def test_the_same_step_may_be_saved_twice(tmp_path):
    save_checkpoint(tmp_path, 5, TENSORS, {"n": 1})
    save_checkpoint(tmp_path, 5, TENSORS, {"n": 2})
    assert load_checkpoint(tmp_path).extra == {"n": 2}
    assert len(checkpoints.list_checkpoints(tmp_path)) == 2


def test_objects_are_refused(tmp_path):
    with pytest.raises(UsageError, match="tensor 'a': got dtype object"):
        save_checkpoint(tmp_path, 1, {"a": np.array([{}], object)})
    assert not checkpoints.list_checkpoints(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "tensors.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "remove"])
def test_a_damaged_checkpoint_falls_back_with_a_named_warning(tmp_path, name, damage):
    save_checkpoint(tmp_path, 1, TENSORS, {"n": 1})
    newest = save_checkpoint(tmp_path, 2, TENSORS, {"n": 2})
    hurt(newest / name, damage)
    with pytest.warns(CheckpointWarning, match=rf"damaged checkpoint: .*{name}.*using step-000000000001"):
        checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.extra == {"n": 1}


def hurt(path: Path, damage: str) -> None:
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "flip":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    else:
        path.write_bytes(data[: len(data) // 2 if damage == "truncate" else 0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_goes_unnoticed(tmp_path, data):
    folder = tmp_path / "c"
    if not folder.exists():
        save_checkpoint(folder, 1, TENSORS, {"n": 1})
    name = data.draw(st.sampled_from(["manifest.json", "tensors.safetensors"]))
    path = folder / "step-000000000001" / name
    good = path.read_bytes()
    position, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(good[:position] + bytes([good[position] ^ (1 << bit)]) + good[position + 1 :])
    try:
        found = checkpoints.read_checkpoint(path.parent)
    except checkpoints.DamagedCheckpoint as error:
        assert str(path.parent) in str(error)
    else:  # white space of the manifest: the content is the same
        same(found.tensors, TENSORS)
        assert found.extra == {"n": 1}
    finally:
        path.write_bytes(good)


def test_without_a_good_checkpoint_the_findings_are_listed(tmp_path):
    with pytest.raises(UsageError, match="checkpoint: got none in"):
        load_checkpoint(tmp_path)
    hurt(save_checkpoint(tmp_path, 1, TENSORS) / "tensors.safetensors", "truncate")
    with pytest.raises(UsageError, match=r"tensors\.safetensors: \d+ bytes of \d+ \(truncated\)"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"../../etc\n", b"", b"\xff\xfe", b"step-999999999999\n"])
def test_a_damaged_pointer_leads_to_the_newest(tmp_path, content):
    save_checkpoint(tmp_path, 1, TENSORS)
    (tmp_path / "latest").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_checkpoint(tmp_path).global_step == 1


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, TENSORS)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(tmp_path, 2, TENSORS)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert load_checkpoint(tmp_path).global_step == 1


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from vlmrl import checkpoints

folder, call = Path(sys.argv[1]), 0
tensors = {"weights": np.arange(1000.0)}
checkpoints.save_checkpoint(folder / "0", 1, tensors, {"n": 1}, keep=1)
for number in range(1, 60):
    pid = os.fork()
    if pid == 0:
        target = folder / str(number)
        checkpoints.save_checkpoint(target, 1, tensors, {"n": 1}, keep=1)
        calls = 0
        def deadly(name):
            real = getattr(os, name)
            def wrapped(*arguments, **options):
                global calls
                calls += 1
                if calls == number:
                    if name == "write":  # half of it reaches the disk
                        real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)
            setattr(os, name, wrapped)
        for name in ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir"):
            deadly(name)
        checkpoints.save_checkpoint(target, 2, tensors, {"n": 2}, keep=1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        sys.exit(f"{number} {os.WEXITSTATUS(status)}")
sys.exit("never finished")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_every_write_a_whole_checkpoint_remains(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    number, code = done.stderr.split()[-2:]
    assert code == "0", done.stderr
    assert int(number) > 10  # it was killed at ten places and more
    for attempt in range(1, int(number)):
        folder = tmp_path / str(attempt)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # whole, not merely recovered
            checkpoint = load_checkpoint(folder)
        assert checkpoint.extra["n"] in (1, 2)
        np.testing.assert_array_equal(checkpoint.tensors["weights"], np.arange(1000.0))
        checkpoints.clean_up(folder)
        assert not list(folder.glob(".tmp-*"))
        save_checkpoint(folder, 3, {"weights": np.zeros(1)})
        assert load_checkpoint(folder).global_step == 3


# Run folders ------------------------------------------------------------------------------------------------


def test_a_run_folder_holds_config_versions_and_metrics(tmp_path):
    config = Outer(TASKS["cartpole"], out=tmp_path)
    with RunFolder.create(tmp_path / "a" / "run", config) as run:
        run.log(64, {"vlm_reward": np.float32(0.5), "success": None, "env_reward": float("nan")})
        run.log(128, {"vlm_reward": 0.75, "success": 1.0})
        run.save_checkpoint(128, TENSORS, {"n": 1}, score=0.75)
        run.save_checkpoint(192, TENSORS, {"n": 2}, score=0.5)
    content = runs.read_config(run.path)
    assert from_plain(Outer, content["config"]) == config
    assert {"python", "numpy", "torch", "jax", "vlmrl"} <= content["versions"].keys()
    assert content["git"] is None or set(content["git"]) == {"sha", "dirty"}
    assert runs.read_metrics(run.path) == [
        {"global_step": 64, "vlm_reward": 0.5, "success": None, "env_reward": None},
        {"global_step": 128, "vlm_reward": 0.75, "success": 1.0},
    ]
    again = RunFolder.open(run.path, writing=True)
    assert again.load_checkpoint().extra == {"n": 2, "score": 0.5}
    assert again.load_checkpoint("best").extra["n"] == 1
    again.save_checkpoint(256, TENSORS, score=0.6)  # the best so far is remembered across runs
    assert again.load_checkpoint("best").global_step == 128
    assert list((run.path / "tensorboard").glob("events*"))


def test_tensorboard_reads_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunFolder.create(tmp_path / "run", {}) as run:
        run.log(10, {"vlm_reward": 0.5, "note": "text"})
        run.log(20, {"vlm_reward": 0.25})
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("vlm_reward")] == [(10, 0.5), (20, 0.25)]


@pytest.mark.parametrize("what", ["empty folder", "run", "file"])
def test_what_exists_is_not_overwritten(tmp_path, what):
    path = tmp_path / "run"
    if what == "file":
        path.write_text("mine")
    elif what == "run":
        RunFolder.create(path, {"mine": 1}).close()
    else:
        path.mkdir()
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match=r"run folder: got .*/run, which exists; .*nothing was overwritten"):
        RunFolder.create(path, {})
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_no_write_permission_is_said_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="run folder: got"):
        RunFolder.create(tmp_path / "file" / "run", {})

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)  # root may write everywhere
    with pytest.raises(UsageError, match=r"run folder: got .*\(Permission denied\); .*--out"):
        RunFolder.create(tmp_path / "run", {})


def test_a_folder_that_could_not_be_filled_is_taken_back(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        RunFolder.create(tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


def test_no_secret_reaches_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.setattr(sys, "argv", ["vlmrl", "train", "--api-key", CANARY])
    with RunFolder.create(tmp_path / "run", {"api_key": CANARY, "note": f"x {CANARY} y"}) as run:
        run.log(1, {"note": CANARY, "vlm_reward": 0.5})
        run.save_checkpoint(1, TENSORS, {"url": f"https://a:{CANARY}@b"})
    for path in run.path.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "run: got .*config.json"),
        ("{", "run: got .*no JSON"),
        ("[]", "run: got .*of another kind"),
        ('{"format": "vlmrl-run", "version": 99}', "run: got version 99; .*update vlmrl"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        RunFolder.open(tmp_path)


def test_a_line_cut_off_is_left_out_and_then_removed(tmp_path):
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.log(1, {"a": 1})
        run.log(2, {"a": 2})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 3, "a"')
    assert [row["global_step"] for row in runs.read_metrics(run.path)] == [1, 2]
    with RunFolder.open(run.path, writing=True) as again:
        again.log(3, {"a": 3})
    assert [row["a"] for row in runs.read_metrics(run.path)] == [1, 2, 3]
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("garbage\n")
    with pytest.warns(UserWarning, match="1 of 4 lines are unreadable"):
        assert len(runs.read_metrics(run.path)) == 3


def test_git_state_needs_a_checkout_of_ours(tmp_path):
    (tmp_path / "errors.py").write_text("")
    assert runs.git_state(tmp_path) is None
