"""The command line: results, exit codes, one-line errors, progress, Ctrl-C; training itself is a stand-in."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder

from vlmrl import commands, evaluation, making, runs, training
from vlmrl.cli import main, parse
from vlmrl.configs import from_plain
from vlmrl.progress import Progress, ProgressPrinter, duration, progress_line
from vlmrl.tasks import TASKS
from vlmrl.video import write_video

STEP = Progress(64, 128, 5000.0, 4000.0, 0.5, 0.25, None, 61.0)


class FakeRun:
    """A run that needs no agent."""

    def __init__(self, config, folder):
        self.config, self.folder, self.path = config, folder, folder.path


def runs_config(path):
    return from_plain(training.TrainConfig, runs.read_config(path)["config"])


@pytest.fixture
def fake_training(monkeypatch):
    """Replace training, loading, evaluation and video by stand-ins that write what the real ones write."""
    seen: dict[str, object] = {}

    def train(config, on_progress=None):
        seen["config"] = config
        print("Warp greets on standard output")
        folder = runs.RunFolder.create(config.out, config)
        folder.save_checkpoint(64, {"w": np.zeros(2)})
        for progress in (STEP, replace(STEP, global_step=128, success=1.0)):
            folder.log(progress.global_step, {"vlm_reward": progress.vlm_reward, "success": progress.success})
            on_progress(progress)
        folder.close()
        if seen.get("interrupt"):
            raise KeyboardInterrupt
        return FakeRun(config, folder)

    def resume(path, on_progress=None):
        seen["resumed"] = path
        return FakeRun(runs_config(path), runs.RunFolder.open(path))

    def load_run(path, which="latest"):
        seen["which"] = which
        return FakeRun(None, runs.RunFolder.open(path))

    def evaluate(run, episodes=100, horizon=None, seed=0, states_file=None):
        seen["evaluated"] = (episodes, horizon, seed)
        if states_file is not None:
            Path(states_file).write_bytes(b"states")
        return {"success": 0.97, "success_interval": (0.91, 0.99), "episodes": episodes}

    def record_video(run, path, seed=0, horizon=None, **options):
        seen.setdefault("videos", []).append(options)
        return write_video(path, np.zeros((2, 32, 32, 3), np.uint8))

    class Envs:
        def close(self):
            pass

    for module, stand_ins in (
        (training, (train, resume, load_run)),
        (evaluation, (evaluate, record_video)),
    ):
        for stand_in in stand_ins:
            monkeypatch.setattr(module, stand_in.__name__, stand_in)
    monkeypatch.setattr(making, "make_envs", lambda *_, **__: Envs())
    monkeypatch.setattr(training, "make_agent", lambda *_: None)
    return seen


def one_line_error(capsys, *arguments: object, code: int = 2) -> str:
    """Run a command that must fail, and return its single line on standard error."""
    assert main(list(map(str, arguments))) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("vlmrl: error: ")
    return line.removeprefix("vlmrl: error: ")


# Results ----------------------------------------------------------------------------------------------------


def test_tasks_are_listed(capsys):
    assert main(["tasks"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in TASKS)
    assert main(["tasks", "--json"]) == 0
    assert [task["name"] for task in json.loads(capsys.readouterr().out)] == list(TASKS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vlmrl ")


def test_train_writes_a_run_with_videos_and_page(tmp_path, capsys, fake_training):
    out = tmp_path / "run"
    assert main(["train", "cartpole", "--out", str(out), "--seed", "3", "--json"]) == 0
    printed, told = capsys.readouterr()
    result = json.loads(printed)  # nothing else is on standard output
    assert result["run"] == str(out) and result["global_step"] == 128 and result["success"] == 1.0
    assert [Path(path).name for path in result["videos"]] == ["before.mp4", "after.mp4"]
    assert all(Path(path).is_file() for path in [*result["videos"], result["report"]])
    before, after = fake_training["videos"]
    assert before["reward_range"] == after["reward_range"] and before["caption"] == "before training"
    assert "Warp greets" in told and "5,000 steps/s  4,000 frames/s" in told and "ETA 1:01" in told


def test_train_takes_the_presets_of_its_task(tmp_path, fake_training):
    preset = training.preset("humanoid_kneeling")
    arguments = [
        "train",
        "--agent.gamma",
        "0.5",
        "--no-video",
        "humanoid_kneeling",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main(arguments) == 0
    config = fake_training["config"]
    assert config.agent == replace(preset.agent, gamma=0.5)
    assert (config.task, config.total_steps, config.num_envs) == (
        preset.task,
        preset.total_steps,
        preset.num_envs,
    )
    assert not config.video and "videos" not in fake_training


def test_train_takes_several_views():
    command = parse(["train", "humanoid_kneeling", "--views", "front", "track", "--seed", "3"])
    assert (command.task, command.views, command.seed) == ("humanoid_kneeling", ("front", "track"), 3)
    assert parse(["train", "cartpole"]).views == ()


def test_a_word_that_is_a_task_elsewhere_misleads_nobody():
    command = parse(["train", "mountain_car", "--goal", "cartpole"])
    assert command.task == "mountain_car" and command.agent == training.preset("mountain_car").agent
    command = parse(["train", "--goal", "mountain_car", "cartpole"])
    assert command.task == "cartpole" and command.agent == training.preset("cartpole").agent
    command = parse(["train", "--env", "A-v0", "--goal", "cartpole"])
    assert command.agent == training.TrainConfig(task=TASKS["cartpole"]).agent


def test_train_asks_as_often_as_it_is_told(tmp_path, fake_training):
    arguments = ["train", "cartpole", "--no-video", "--queries", "500", "--query-share", "0.05"]
    assert main([*arguments, "--learned.ensemble-size", "3", "--out", str(tmp_path / "run")]) == 0
    config = fake_training["config"]
    assert (config.queries, config.query_share, config.learned.ensemble_size) == (500, 0.05, 3)
    assert config.asks_rarely and runs_config(tmp_path / "run") == config
    assert main(["train", "cartpole", "--no-video", "--out", str(tmp_path / "always")]) == 0
    assert not fake_training["config"].asks_rarely


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("--queries", "0", "queries: got 0; expected an integer >= 1"),
        ("--query-share", "0", "query_share: got 0.0; expected a number in (0, 1]"),
        ("--query-share", "1.2", "query_share: got 1.2"),
    ],
)
def test_limits_out_of_range_are_wrong_usage(tmp_path, capsys, option, value, match):
    out = tmp_path / "run"
    assert one_line_error(capsys, "train", "cartpole", "--out", out, option, value).startswith(match)
    assert not out.exists()


def test_resume_goes_on_and_finishes_the_run(tmp_path, capsys, fake_training):
    run = tmp_path / "run"
    assert main(["train", "cartpole", "--no-video", "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["resume", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(run) and fake_training["resumed"] == run
    assert "run folder" in one_line_error(capsys, "resume", tmp_path / "nothing")


def test_train_takes_any_env(tmp_path, fake_training):
    arguments = ["train", "--env", "CartPole-v1", "--goal", "up", "--goal", "high", "--baseline", "a"]
    arguments += ["--baseline", "b", "--env-kwargs", "sutton_barto_reward=true", "--horizon", "50"]
    assert main([*arguments, "--out", str(tmp_path / "r")]) == 0
    task = fake_training["config"].task
    assert (task.name, task.goal, task.baseline) == ("cartpole_v1", ("up", "high"), ("a", "b"))
    assert (task.kwargs, task.horizon) == ({"sutton_barto_reward": True}, 50)


def test_a_task_may_be_changed(tmp_path, fake_training):
    arguments = ["train", "humanoid_kneeling", "--goal", "a robot kneeling", "--alpha", "0.3"]
    arguments += ["--env-kwargs", "renderer=gl", "--render-size", "32", "48", "--out", str(tmp_path / "r")]
    assert main(arguments) == 0
    task = fake_training["config"].task
    assert (task.goal, task.alpha, task.render_size) == (("a robot kneeling",), 0.3, (32, 48))
    assert task.kwargs == {"pose": "kneeling", "control": "position", "renderer": "gl"}


def test_eval_and_video(tmp_path, capsys, fake_training):
    run, states = str(tmp_path / "run"), tmp_path / "states.npz"
    assert main(["train", "cartpole", "--out", run, "--no-video"]) == 0
    capsys.readouterr()
    arguments = ["eval", run, "--episodes", "7", "--horizon", "9", "--seed", "5", "--checkpoint", "best"]
    assert main([*arguments, "--states", str(states), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["success"] == 0.97 and result["success_interval"] == [0.91, 0.99]
    assert (fake_training["evaluated"], fake_training["which"]) == ((7, 9, 5), "best")
    assert states.read_bytes() == b"states" and result["states"] == str(states)
    assert main(["eval", run]) == 0
    assert "success_interval  0.91, 0.99" in capsys.readouterr().out
    assert main(["video", run, "--seed", "4", "--json"]) == 0
    path = json.loads(capsys.readouterr().out)["video"]
    assert path == f"{run}/videos/episode-4.mp4" and Path(path).is_file()


def test_preflight_prints_a_verdict(capsys, monkeypatch):
    monkeypatch.setattr("vlmrl.encoders.load_encoder", lambda *_, **__: FakeEncoder())
    arguments = ["preflight", "mountain_car", "--states", "16", "--render-size", "32", "32", "--horizon", "8"]
    words = ["--goal", "red", "--baseline", "blue"]
    assert main([*arguments, *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"] in ("separates", "weak", "reversed", "flat")
    assert [group["name"] for group in result["groups"]] == ["start", "random", "goal"]
    assert main([*arguments, "--goal", "red " * 20, "--baseline", "green"]) == 0
    text = capsys.readouterr().out
    assert "verdict: " in text and "its end is cut off" in text


def test_doctor_is_1_if_something_fails(capsys, monkeypatch):
    from vlmrl import doctor

    good, bad = doctor.Probe("a", lambda: "fine", ""), doctor.Probe("b", lambda: 1 / 0, "divide less")
    monkeypatch.setattr(doctor, "probes", lambda *_: [good])
    assert main(["doctor"]) == 0
    monkeypatch.setattr(doctor, "probes", lambda *_: [good, bad])
    assert main(["doctor", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(check["ok"], check["remedy"]) for check in checks] == [(True, ""), (False, "divide less")]


# Wrong input ------------------------------------------------------------------------------------------------

ENV = ["train", "--env", "CartPole-v1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "cartpool"], "task: got 'cartpool'; expected one of cartpole, "),
        (["preflight", "cartpool"], "task: got 'cartpool'"),
        (["train"], "task: got none; expected a task name, or --env"),
        (["train", "cartpole", "--env", "A-v0"], "task: got cartpole and --env A-v0"),
        ([*ENV, "--goal", "a"], "baseline: got none; expected a sentence"),
        ([*ENV, "--goal", "", "--baseline", "b"], "goal: got ['']; expected"),
        ([*ENV, "--goal", "a", "--baseline", "a"], "baseline: got the goal itself"),
        (["train", "--env", "Non-v0", "--goal", "a", "--baseline", "b"], "env: got 'Non-v0'; expected"),
        (["train", "cartpole", "--alpha", "2"], "alpha: got 2.0; expected a number from 0 to 1"),
        (["train", "cartpole", "--env-kwargs", "x"], "env-kwargs: got 'x'; expected KEY=VALUE"),
        (["train", "cartpole", "--total-steps", "0"], "total_steps: got 0; expected"),
        (["preflight", "cartpole", "--states", "2"], "states: got 2; expected 8 or more"),
        (["preflight", "cartpole", "--goal-frames", "/none"], "goal frames: got /none; expected a folder"),
        (["preflight", "cartpole", "--device", "tpu"], "device: got tpu; expected"),
        (["doctor", "--device", "tpu"], "device: got tpu; expected"),
        (["eval", "/none"], "run: got /none (No such file or directory: config.json); expected a run folder"),
        (["video", "/none"], "run: got /none"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_2(capsys, arguments, message):
    line = one_line_error(capsys, *arguments)
    assert line.startswith(message) and "; expected " in line


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["train", "cartpole", "extra"],
        ["train", "cartpole", "--seed", "one"],
        ["train", "cartpole", "--agent.gamma", "2"],
        ["train", "cartpole", "--reward", "sum"],
        ["eval"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_is_2(capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err and "Traceback" not in err


def test_help_is_0(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in commands.COMMANDS)


def test_what_exists_is_refused_and_untouched(tmp_path, capsys, fake_training):
    run = tmp_path / "run"
    assert main(["train", "cartpole", "--out", str(run), "--no-video"]) == 0
    capsys.readouterr()
    (tmp_path / "a.mp4").write_text("mine")
    (tmp_path / "a.npz").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["train", "cartpole", "--out", str(run)]) == 2
    assert "which exists" in capsys.readouterr().err.splitlines()[-1]
    assert "a.mp4, which exists" in one_line_error(capsys, "video", run, "--out", tmp_path / "a.mp4")
    assert "a.npz, which exists" in one_line_error(capsys, "eval", run, "--states", tmp_path / "a.npz")
    assert "a folder that exists" in one_line_error(capsys, "video", run, "--out", tmp_path / "no" / "a.mp4")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (FloatingPointError("reward nan\nat step 3, world 5"), 1, "reward nan at step 3, world 5"),
    ],
)
def test_known_failures_are_one_line_and_1(capsys, monkeypatch, error, code, text):
    def fail(self):
        raise error

    monkeypatch.setattr(commands.Tasks, "run", fail)
    assert text in one_line_error(capsys, "tasks", code=code)


def test_errors_of_the_worlds_are_2_and_unknown_ones_keep_their_traceback(capsys, monkeypatch):
    from vlmrl_envs.errors import world_error

    def wrong(self):
        raise world_error("pose", "sitting", "one of these", "pick one")

    def broken(self):
        raise RuntimeError("a bug")

    monkeypatch.setattr(commands.Tasks, "run", wrong)
    assert one_line_error(capsys, "tasks") == "pose: got sitting; expected one of these; pick one"
    monkeypatch.setattr(commands.Tasks, "run", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["tasks"])


def test_warnings_are_lines_on_standard_error(capsys, monkeypatch):
    def warn(self):
        warnings.warn("the prompt\nis long", stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return commands.Outcome([], "done")

    monkeypatch.setattr(commands.Tasks, "run", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["tasks"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("done\n", "vlmrl: warning: the prompt is long\n")


# Interrupts -------------------------------------------------------------------------------------------------


def test_ctrl_c_names_the_checkpoint_and_is_130(tmp_path, capsys, fake_training):
    fake_training["interrupt"] = True
    assert main(["train", "cartpole", "--out", str(tmp_path / "run")]) == 130
    out, err = capsys.readouterr()
    assert out == "" and f"interrupted; the agent so far is saved: vlmrl eval {tmp_path / 'run'}" in err
    assert "Traceback" not in err
    assert runs.RunFolder.open(tmp_path / "run").load_checkpoint().global_step == 64


def test_ctrl_c_before_the_first_checkpoint(tmp_path, capsys, monkeypatch):
    def train(config, on_progress=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    assert main(["train", "cartpole", "--out", str(tmp_path / "run")]) == 130
    assert "before there was anything to save" in capsys.readouterr().err


def test_as_a_program(tmp_path):
    asked = {"capture_output": True, "text": True, "env": {**os.environ, "PYTHONIOENCODING": "utf-8"}}
    command = [sys.executable, "-m", "vlmrl.cli", "eval", str(tmp_path)]
    done = subprocess.run(command, **asked, check=False)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("vlmrl: error: run: got ")
    assert done.stderr.count("\n") == 1
    heavy = "import sys, vlmrl.cli as c; c.main(['tasks']); print({'torch', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], **asked, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


# Progress ---------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(stream, times, **options):
    clock = iter(times)
    printer = ProgressPrinter(stream, clock=lambda: next(clock), **options)
    for number in range(len(times)):
        printer(replace(STEP, global_step=number + 1, total_steps=len(times)))
    printer.close()
    printer.close()
    return stream.getvalue()


def test_plain_lines_without_a_terminal():
    text = show(io.StringIO(), [0, 1, 2, 6, 7])
    assert [line.split("step ")[1].split()[0] for line in text.splitlines()] == ["1/5", "4/5", "5/5"]
    assert "\r" not in text and "\x1b" not in text


def test_one_line_in_place_on_a_terminal(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 20)))
    text = show(Terminal(), [0, 0.1, 0.5])
    assert text.count("\r\x1b[K") == 2 and text.count("\n") == 1 and text.endswith("\n")
    assert all(len(part) <= 39 for part in text.rstrip().split("\r\x1b[K"))


def test_the_line_says_what_is_asked_for():
    line = progress_line(replace(STEP, success=0.125))
    for part in (
        "50%",
        "step 64/128",
        "5,000 steps/s",
        "4,000 frames/s",
        "vlm reward 0.5000",
        "success 12%",
        "ETA 1:01",
    ):
        assert part in line
    assert "success" not in progress_line(STEP)
    assert [duration(s) for s in (0, 59.6, 3601, float("nan"), float("inf"), -1)] == [
        *("0:00", "1:00", "1:00:01", "--:--", "--:--", "--:--")
    ]
