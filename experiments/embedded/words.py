"""Make an encoder's words.json: what its training said, and from where on a sentence counts as unknown.

    python -m experiments.embedded.words                                  # vlmrl/encoders/embedded; seconds
    python -m experiments.embedded.words --dir data/embedded/model

Thresholds are set on one half of the sentences that training left out (paraphrases, compositions); both rates are
measured on the other half, on foreign sentences (foreign.txt and its known words at random) that set nothing. Words whose
tokens the weights never moved from their initial values were not in the training of these weights, whatever today's
grammar says: they are left out. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.embedded import splits
from vlmrl.checkpoints import replace_file
from vlmrl.encoders import load_encoder
from vlmrl.encoders.sources import EMBEDDED
from vlmrl.encoders.words import (
    SMALL_WORDS,
    WORDS_FILE,
    Thresholds,
    WordCheck,
    file_hash,
    learn,
    split_words,
)
from vlmrl.tasks import COMPOSITIONS, TASKS
from vlmrl_envs.rewording import Reworded

FOREIGN = Path(__file__).with_name("foreign.txt")
TARGET = 0.95
"""Share of left-out sentences that must pass, and of foreign ones that must be caught."""
SAMPLES, PROBES, JUDGED = 14_000, 600, 600
SLACK = 0.01
"""Share of the calibration sentences that each of the two thresholds may turn away."""


def moved(embedding: np.ndarray, initial_std: float = 0.02) -> np.ndarray | None:
    """Tell which rows of a token table (V, W) training has moved, bool (V,); None where it was not begun afresh.

    open_clip draws rows of norm 0.02 sqrt(W), give or take 0.02 / sqrt(2); a token that no sentence holds gets no gradient
    and stays there. Five times what is given or taken is more than any of 50,000 that stayed is likely to have.
    """
    norms = np.linalg.norm(embedding, axis=1)
    expected = initial_std * np.sqrt(embedding.shape[1])
    if abs(np.median(norms) / expected - 1) > 0.1:
        return None
    return norms > expected + 5 * initial_std / np.sqrt(2)


def trained_word(encoder: Any) -> Callable[[str], bool]:
    """Return what tells whether training has moved all tokens of a word; always true of an encoder not begun afresh."""
    table = getattr(encoder.model, "token_embedding", None)
    rows = None if table is None else moved(table.weight.detach().float().cpu().numpy())
    if rows is None:
        return lambda word: True
    return lambda word: bool(rows[encoder.tokenizer.encode(word)].all())


def draw(
    grammars: Mapping[str, Reworded], rng: np.random.Generator, count: int, split: str, trained: Callable
) -> list[str]:
    """Draw sentences whose every word the weights were trained on: of all worlds in turn, oftener of those with much to say."""
    known: dict[str, bool] = {}
    found: list[str] = []
    names = [name for name, grammar in grammars.items() for _ in range(max(1, len(grammar.facts) // 5))]
    for turn in range(20 * count):
        text = grammars[names[turn % len(names)]].draw(rng, split=split).text
        if all(known.setdefault(word, trained(word)) for word in split_words(text)):
            found.append(text)
            if len(found) == count:
                break
    return found


def salad(words: Sequence[str], rng: np.random.Generator, count: int) -> list[str]:
    """Draw sentences of 3 to 9 known words at random."""
    return [" ".join(rng.choice(words, rng.integers(3, 10))) for _ in range(count)]


def shuffled(sentences: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return the sentences of six words or more with their words in another order."""
    lists = [split_words(s) for s in sentences]
    return [" ".join(rng.permutation(words)) for words in lists if len(words) >= 6]


def calibrate(check: WordCheck, sentences: Sequence[str], embed: Callable) -> Thresholds:
    """Return thresholds that turn away at most `SLACK` of the sentences each."""
    found = check.statistics(sentences, embed)
    order = np.quantile([f.order for f in found], SLACK, method="lower")
    cosine = np.quantile([f.cosine for f in found], SLACK, method="lower")
    return Thresholds(order=float(order) - 1e-4, cosine=float(cosine) - 1e-3)


def rates(check: WordCheck, kinds: dict[str, list[str]], embed: Callable) -> dict[str, dict[str, Any]]:
    """Return for each kind of sentences how many there are and the share of each verdict."""
    out: dict[str, dict[str, Any]] = {}
    for kind, sentences in kinds.items():
        counts = Counter(found.verdict for found in check.judge(sentences, embed))
        shares = {v: round(counts[v] / max(1, len(sentences)), 4) for v in ("known", "doubtful", "unknown")}
        out[kind] = {"sentences": len(sentences), **shares}
    return out


def make(folder: Path, seed: int = 0) -> WordCheck:
    """Return the check of an encoder's folder, its thresholds calibrated and its rates measured."""
    encoder = load_encoder(f"local-dir:{folder}", "cpu")
    weights = next(path for path in sorted(folder.glob("*.safetensors")) if "state" not in path.name)
    leave_out, without = splits.read(folder)
    grammars = {
        name: splits.reworded(grammar) for name, grammar in splits.grammars(leave_out, without).items()
    }
    if not splits.share_reworded(folder):
        grammars = {name: replace(grammar, share=0.0) for name, grammar in grammars.items()}
    trained, rng = trained_word(encoder), np.random.default_rng(seed)
    said = draw(grammars, rng, SAMPLES, "train", trained)
    said_of = [task for task in TASKS.values() if task.kwargs.get("pose") not in COMPOSITIONS]
    goals = [t for task in said_of for t in (*task.goal, *task.baseline)]
    goals = _said_goals(goals, said)
    probes = list(dict.fromkeys([*goals, *_each_fact(grammars, said), *said]))[:PROBES]
    check = learn([*said, *goals], probes)
    left_out = list(dict.fromkeys(draw(grammars, rng, 2 * JUDGED, "held_out", trained)))
    check = replace(check, thresholds=calibrate(check, left_out[0::2], encoder.embed_texts))
    words = [word for word in check.counts if word not in SMALL_WORDS]
    salads = salad(words, rng, JUDGED)
    fresh = [s for s in dict.fromkeys(draw(grammars, rng, JUDGED, "train", trained)) if s not in set(probes)]
    kinds = {
        "left out of training": left_out[1::2], "said in training": fresh, "foreign": FOREIGN.read_text().splitlines(),
        "known words at random": salads, "known sentences shuffled": shuffled(fresh, rng),
    }  # fmt: skip
    vocabulary = frozenset().union(*(grammar.vocabulary() for grammar in grammars.values()))
    about = {
        "made_by": f"python -m experiments.embedded.words --seed {seed}",
        "weights_sha256": file_hash(weights),
        "weights_file": weights.name,
        "note": "words are those of the grammars whose tokens these weights were trained on; "
                "untrained_words are in the grammars and not in the weights",
        "untrained_words": sorted(word for word in vocabulary if not trained(word)),
        "leave_out": leave_out, "without": without, "seed": seed,
        "rates": rates(check, kinds, encoder.embed_texts),
    }  # fmt: skip
    return replace(check, about=about)


def _said_goals(goals: Sequence[str], said: Sequence[str]) -> list[str]:
    """Return those of the goals that training can say: all of their words are among those said."""
    known = {word for text in said for word in split_words(text)}
    return [text for text in goals if set(split_words(text)) <= known]


def _each_fact(grammars: Mapping[str, Reworded], said: Sequence[str]) -> list[str]:
    """Return a sentence for each fact that training can say, so that whatever is said has one like it among the probes."""
    each = [
        f"{g.subjects[0]} {fact.phrases[0]}"
        for g in grammars.values()
        for fact in g.facts
        if fact.name not in g.silent
    ]
    return _said_goals(each, said)


def met(found: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Tell which targets the rates meet: left-out sentences pass, foreign ones and word salad are caught."""
    return {
        "left out of training pass": found["left out of training"]["known"] >= TARGET,
        "foreign are caught": found["foreign"]["known"] <= 1 - TARGET,
        "known words at random are caught": found["known words at random"]["known"] <= 1 - TARGET,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dir", type=Path, default=EMBEDDED, help="an encoder's folder; words.json is put there"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    check = make(args.dir, args.seed)
    replace_file(args.dir / WORDS_FILE, check.to_json().encode())
    print(json.dumps({"thresholds": vars(check.thresholds), **check.about}, indent=1))
    targets = met(check.about["rates"])
    for name, reached in targets.items():
        print(f"{'met   ' if reached else 'MISSED'} {name}")
    sys.exit(0 if all(targets.values()) else 1)


if __name__ == "__main__":
    main()
