"""The word check: knows what training said, names what it never said, is off where it has no ground."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import FakeEncoder
from vlmrl.encoders import load_encoder
from vlmrl.encoders.sources import EMBEDDED
from vlmrl.encoders.words import (
    Thresholds,
    UnknownWordsWarning,
    WordCheck,
    file_hash,
    learn,
    load_words,
    split_words,
)
from vlmrl.errors import UsageError
from vlmrl.preflight import prompt_warnings
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import TASKS

WEIGHTS = EMBEDDED / "open_clip_model.safetensors"
KNOWN = [
    "the humanoid robot is kneeling down", "a humanoid robot that is kneeling on the floor", "the robot is kneeling",
    "the humanoid robot is standing up with both arms raised", "A robot standing on one leg.", "the pole is upright",
    "a robot sitting on the floor", "the car is at the top of the mountain", "the car on top of the hill next to the flag",
    "a humanoid robot doing the splits", "the humanoid is lying on its back", "a pole balanced on the cart",
]  # fmt: skip
UNKNOWN = [
    "a photo of a cat",
    "two dogs in the snow",
    "import numpy as np",
    "北京的天气",
    "???",
    "un robot à genoux",
]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("embedded", "cpu")


def verdicts(encoder, sentences: list[str]) -> dict[str, str]:
    return {found.sentence: found.verdict for found in encoder.words.judge(sentences, encoder.embed_texts)}


def test_goals_and_baselines_of_every_task_are_known(encoder) -> None:
    words = encoder.words
    told = [t for task in TASKS.values() for t in (*task.goal, *task.baseline)
            if any(name in task.name for name in ("cartpole", "mountain_car", "humanoid_"))]  # fmt: skip
    found = verdicts(encoder, told)
    assert set(found.values()) == {"known"}, [s for s, v in found.items() if v != "known"]
    assert words is encoder.words, "read once"


def test_sentences_in_other_small_words_are_known(encoder) -> None:
    found = verdicts(encoder, KNOWN)
    assert set(found.values()) == {"known"}, found


def test_what_training_never_said_is_caught_and_named(encoder) -> None:
    assert set(verdicts(encoder, UNKNOWN).values()) == {"unknown"}
    cat, typo = encoder.words.judge(
        ["a photo of a cat", "a humanoid robot kneling down"], encoder.embed_texts
    )
    assert cat.at_fault == ("photo", "cat") and "cat" in cat.reason
    assert typo.verdict == "doubtful" and "did you mean kneeling?" in typo.reason
    salad = ["flag knees the robot vertically seated yellow", "robot a its up kneeling hill"]
    assert "known" not in verdicts(encoder, salad).values()


def test_the_shipped_file_is_small_and_of_the_shipped_weights() -> None:
    path = EMBEDDED / "words.json"
    found = json.loads(path.read_text())
    assert path.stat().st_size < 120_000
    assert found["weights_sha256"] == file_hash(WEIGHTS), "make it anew: python -m experiments.embedded.words"
    rates = found["rates"]
    assert rates["left out of training"]["known"] >= 0.95
    assert rates["foreign"]["known"] <= 0.05 and rates["known words at random"]["known"] <= 0.05
    assert min(kind["sentences"] for kind in rates.values()) > 150
    assert not set(found["untrained_words"]) & set(found["words"])


def test_the_rates_hold_when_measured_again(encoder) -> None:
    from experiments.embedded import words as making

    check, rng = encoder.words, np.random.default_rng(99)
    fresh = making.draw(
        making.splits.grammars(*making.splits.read(EMBEDDED)),
        rng,
        200,
        "held_out",
        making.trained_word(encoder),
    )
    telling = [word for word in check.counts if word.isalpha()]
    kinds = {"left out of training": fresh, "foreign": making.FOREIGN.read_text().splitlines(),
             "known words at random": making.salad(telling, rng, 200)}  # fmt: skip
    assert all(making.met(making.rates(check, kinds, encoder.embed_texts)).values())


def test_the_reward_warns_once_or_refuses(encoder) -> None:
    with pytest.warns(UnknownWordsWarning, match="cat") as caught:
        GoalBaselineReward(encoder, "a photo of a cat", "a photo")
    assert len(caught) == 1
    with pytest.raises(UsageError, match="cat") as error:
        GoalBaselineReward(encoder, "a photo of a cat", "a robot", strict_words=True)
    assert "\n" not in str(error.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GoalBaselineReward(encoder, "a humanoid robot kneeling", "a humanoid robot", strict_words=True)


def test_preflight_says_so(encoder) -> None:
    found = prompt_warnings(["a humanoid robot juggling"], ["a humanoid robot"], encoder)
    assert any("juggling" in text for text in found)
    assert not prompt_warnings(["a humanoid robot kneeling"], ["a humanoid robot"], encoder)


def test_encoders_without_the_file_are_not_checked() -> None:
    assert load_encoder("random:1", "cpu").words is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GoalBaselineReward(FakeEncoder(), "red cat", "green dog", strict_words=True)


def test_of_other_weights_it_is_off_and_broken_it_is_refused(tmp_path: Path) -> None:
    shutil.copy(EMBEDDED / "words.json", tmp_path / "words.json")
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(b"other")
    with pytest.warns(UnknownWordsWarning, match="other weights"):
        assert load_words(tmp_path, weights) is None
    for text in ("{", "[]", '{"format": 7}', '{"format": 1, "words": 3}'):
        (tmp_path / "words.json").write_text(text)
        with pytest.raises(UsageError, match=r"words\.json") as error:
            load_words(tmp_path, weights)
        assert "\n" not in str(error.value) and "experiments.embedded.words" in str(error.value)
    (tmp_path / "words.json").unlink()
    assert load_words(tmp_path, weights) is None


def test_a_check_is_written_and_read_whole(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    check = learn(["a robot kneeling", "a robot standing up"], ["a robot kneeling"])
    check.about = {"weights_sha256": file_hash(weights)}
    check.thresholds = Thresholds(0.4, 0.6, 0.7)
    (tmp_path / "words.json").write_text(check.to_json())
    again = load_words(tmp_path, weights)
    assert isinstance(again, WordCheck)
    assert again.counts == check.counts and again.follows == check.follows
    assert again.thresholds == check.thresholds and again.probes == check.probes


def test_statistics_of_a_tiny_check() -> None:
    def embed(texts: list[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if "robot" in text else [0.0, 1.0] for text in texts])

    check = learn(["a robot kneeling", "the robot standing"], ["a robot kneeling"])
    known, order, word, nothing = check.statistics(
        ["The robot is KNEELING!", "kneeling robot", "a robot juggling", ""], embed
    )
    assert (
        known.unknown == () and known.cosine == 1.0 and known.order == 1.0 - 0.5 * 2 / 5
    ) or known.order > 0.7
    assert order.order < 0.5
    assert word.unknown == ("juggling",) and word.unknown_share == 0.5
    assert nothing.unknown_share == 1.0 and nothing.cosine == 0.0
    assert check.judge([], embed) == []
    assert split_words("T-pose, its knees' (half-way)") == ["t-pose", "its", "knees", "half-way"]


def test_tokens_that_training_never_moved_are_found() -> None:
    from experiments.embedded.words import moved

    rng = np.random.default_rng(0)
    table = rng.normal(0, 0.02, (400, 96))
    table[:10] += rng.normal(0, 0.1, (10, 96))
    table[10] *= 0.3 / np.linalg.norm(table[10])  # briefly
    assert np.flatnonzero(moved(table)).tolist() == list(range(11))
    assert not moved(rng.normal(0, 0.02, (50_000, 96))).any()
    assert moved(rng.normal(0, 0.05, (400, 96))) is None, "a table that was pretrained"


def test_the_script_writes_the_file_and_says_what_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from experiments.embedded import words as making

    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        shutil.copy(EMBEDDED / name, tmp_path / name)
    monkeypatch.setattr(making, "SAMPLES", 400)
    monkeypatch.setattr(making, "PROBES", 40)
    monkeypatch.setattr(making, "JUDGED", 40)
    monkeypatch.setattr(sys, "argv", ["words", "--dir", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        making.main()
    said = capsys.readouterr().out
    assert end.value.code == (1 if "MISSED" in said else 0)
    assert load_words(tmp_path, tmp_path / "open_clip_model.safetensors") is not None
