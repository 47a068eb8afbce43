"""Does an encoder know these words? A check calibrated on the sentences that its training drew.

A small encoder maps any sentence to some unit vector, and a reward made of it looks like any other. Beside the
weights, `words.json` holds what training said: the words, which word followed which, some of its sentences, and
thresholds set on sentences that training left out (`python -m experiments.embedded.words` makes it). Encoders without
the file, such as large pretrained ones, are not checked.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlmrl.errors import UsageError, usage_error

WORDS_FILE = "words.json"
FORMAT = 1
MAX_BYTES = 1_000_000
"""A larger words.json is no words.json: it is not read."""
Verdict = Literal["known", "doubtful", "unknown"]
Embed = Callable[[list[str]], Any]
"""Sentences (K) -> unit vectors (K, D), NumPy or torch."""
SMALL_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "is",
        "are",
        "be",
        "being",
        "was",
        "were",
        "it",
        "its",
        "of",
        "in",
        "on",
        "at",
        "to",
        "by",
        "as",
        "with",
        "and",
        "which",
        "who",
        "has",
        "have",
        "now",
        "there",
        "then",
        "just",
        "please",
        "very",
        "really",
        "so",
        "here",
    ]
)
"""Words that say nothing on their own: they are never at fault, known or not."""
_START, _END = "^", "$"


class UnknownWordsWarning(UserWarning):
    """A prompt says something that the encoder's training never said: its reward may be noise."""


@dataclass(frozen=True)
class WordsVerdict:
    """What the check says of one sentence."""

    sentence: str
    """The sentence."""
    verdict: Verdict
    """known, doubtful (a word or the order is new) or unknown."""
    at_fault: tuple[str, ...]
    """Words that training never said, in the order of the sentence."""
    reason: str
    """Why, in a few words; empty where known."""


@dataclass(frozen=True)
class WordStatistics:
    """How far a sentence is from those of training."""

    unknown: tuple[str, ...]
    """Words that training never said, small ones aside."""
    unknown_share: float
    """Their share of the sentence's words that are not small, 0..1; 1 where it has no words at all."""
    order: float
    """Share of neighbouring words that were neighbours in training, 0..1: mean of all words and of those not small."""
    cosine: float
    """Cosine to the nearest of training's sentences, -1..1."""


@dataclass(frozen=True)
class Thresholds:
    """Where known ends; calibrated by `experiments.embedded.words`."""

    unknown_share: float = 0.34
    """From this share of unknown words on, a sentence is unknown; any unknown word makes it doubtful."""
    order: float = 0.5
    """Below this order a sentence is doubtful."""
    cosine: float = 0.5
    """Below this cosine a sentence is doubtful."""


@dataclass
class WordCheck:
    """What training said, and how to judge a sentence by it.

    Raises, when loaded: UsageError for a file that is none of ours.
    """

    counts: Mapping[str, int]
    """Word -> how often the samples said it."""
    follows: Mapping[str, frozenset[str]]
    """Word -> words that came right after it; "^" begins and "$" ends a sentence."""
    probes: Sequence[str]
    """Sentences of training whose vectors stand for it."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    about: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from: weights, command, rates measured."""
    _vectors: np.ndarray | None = field(default=None, repr=False)

    def statistics(self, sentences: Sequence[str], embed: Embed) -> list[WordStatistics]:
        """Return the statistics of sentences (K); `embed` is the encoder's own `embed_texts`."""
        if not sentences:
            return []
        if self._vectors is None:
            self._vectors = _array(embed(list(self.probes)))
        nearest = (_array(embed(list(sentences))) @ self._vectors.T).max(axis=1)
        found = []
        for sentence, cosine in zip(sentences, nearest, strict=True):
            words = split_words(sentence)
            telling = [word for word in words if word not in SMALL_WORDS]
            unknown = tuple(dict.fromkeys(word for word in telling if word not in self.counts))
            share = sum(word in unknown for word in telling) / len(telling) if telling else 1.0
            found.append(WordStatistics(unknown, share, self._order(words, telling), float(cosine)))
        return found

    def judge(self, sentences: Sequence[str], embed: Embed) -> list[WordsVerdict]:
        """Return a verdict for each of the sentences (K)."""
        found = self.statistics(sentences, embed)
        return [self._verdict(s, stats) for s, stats in zip(sentences, found, strict=True)]

    def _verdict(self, sentence: str, found: WordStatistics) -> WordsVerdict:
        limit = self.thresholds
        if found.unknown or found.unknown_share >= 1.0:
            verdict: Verdict = "unknown" if found.unknown_share >= limit.unknown_share else "doubtful"
            reason = f"words it never met: {', '.join(self._shown(w) for w in found.unknown)}"
            return WordsVerdict(sentence, verdict, found.unknown, reason if found.unknown else "no words")
        if found.order < limit.order:
            reason = (
                f"words it knows in an order it does not ({found.order:.2f}, known from {limit.order:.2f})"
            )
            return WordsVerdict(sentence, "doubtful", (), reason)
        if found.cosine < limit.cosine:
            reason = (
                f"unlike any sentence it knows (cosine {found.cosine:.2f}, known from {limit.cosine:.2f})"
            )
            return WordsVerdict(sentence, "doubtful", (), reason)
        return WordsVerdict(sentence, "known", (), "")

    def _shown(self, word: str) -> str:
        close = difflib.get_close_matches(word, self.counts, n=1, cutoff=0.8)
        return f"{word} (did you mean {close[0]}?)" if close else word

    def _order(self, words: list[str], telling: list[str]) -> float:
        """Return the mean share of known neighbours, among all words and among those that are not small."""
        if not telling:
            return 0.0
        known = [word for word in words if word in self.counts or word not in SMALL_WORDS]
        shares = []
        for listed in (known, [f"+{word}" for word in telling]):
            whole = [_START, *listed, _END]
            pairs = list(itertools.pairwise(whole))
            shares.append(np.mean([b in self.follows.get(a, ()) for a, b in pairs]))
        return float(np.mean(shares))

    def to_json(self) -> str:
        """Return the file's text."""
        limits = {name: round(float(value), 4) for name, value in vars(self.thresholds).items()}
        plain = {
            "format": FORMAT, **self.about, "thresholds": limits, "words": dict(sorted(self.counts.items())),
            "follows": {word: " ".join(sorted(after)) for word, after in sorted(self.follows.items())}, "probes": list(self.probes),
        }  # fmt: skip
        return json.dumps(plain, indent=0, ensure_ascii=False) + "\n"


def learn(sentences: Iterable[str], probes: Sequence[str]) -> WordCheck:
    """Count the words of sentences, and which follow which, with default thresholds.

    Neighbours among words that are not small are kept apart, marked by "+".
    """
    counts: dict[str, int] = {}
    follows: dict[str, set[str]] = {}
    for sentence in sentences:
        words = split_words(sentence)
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        for listed in (words, [f"+{word}" for word in words if word not in SMALL_WORDS]):
            whole = [_START, *listed, _END]
            for a, b in itertools.pairwise(whole):
                follows.setdefault(a, set()).add(b)
    return WordCheck(counts, {word: frozenset(after) for word, after in follows.items()}, list(probes))


def load_words(folder: Path, weights: Path) -> WordCheck | None:
    """Read words.json of an encoder's folder; None without one, or, with a warning, where it is of other weights.

    Raises: UsageError for a file that cannot be read or is none of ours.
    """
    path = folder / WORDS_FILE
    if not path.is_file():
        return None
    remedy = "delete it, or make it anew with python -m experiments.embedded.words"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"over {MAX_BYTES} bytes")
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}")
        check = WordCheck(
            {str(word): int(count) for word, count in found["words"].items()},
            {str(word): frozenset(after.split()) for word, after in found["follows"].items()},
            [str(text) for text in found["probes"]],
            Thresholds(**{name: float(value) for name, value in found["thresholds"].items()}),
            {key: value for key, value in found.items() if key not in ("format", "words", "follows", "probes", "thresholds")},
        )  # fmt: skip
        made_for = str(found["weights_sha256"])
        if not check.probes:
            raise ValueError("no probes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise usage_error(WORDS_FILE, f"{path} ({error})", "what vlmrl wrote", remedy) from error
    if made_for != file_hash(weights):
        text = f"{path} was made for other weights: sentences are not checked; {remedy}"
        warnings.warn(text, UnknownWordsWarning, stacklevel=2)
        return None
    return check


def fingerprint(weights: Path) -> str:
    """Return what tells weights from others in records: the first 12 digits of their `file_hash`."""
    return file_hash(weights)[:12]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, in any script; hyphens and apostrophes stay within a word."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


def judge_prompts(encoder: Any, prompts: Sequence[str]) -> list[WordsVerdict]:
    """Return the verdicts that are not "known" on prompts; none for an encoder without a word check."""
    check: WordCheck | None = getattr(encoder, "words", None)
    if check is None or not prompts:
        return []
    distinct = list(dict.fromkeys(prompts))
    return [found for found in check.judge(distinct, encoder.embed_texts) if found.verdict != "known"]


def complaint(found: WordsVerdict) -> str:
    """Return a verdict as one line for a warning."""
    text = found.sentence if len(found.sentence) <= 60 else found.sentence[:57] + "..."
    meaning = "its reward may be noise" if found.verdict == "unknown" else "its reward may mislead"
    return f'the encoder does not know "{text}" ({found.verdict}): {found.reason}; {meaning}'


def unknown_words_error(found: Sequence[WordsVerdict]) -> UsageError:
    """Return the error for prompts that are not known."""
    remedy = "reword them, take an encoder that knows them, or leave strict_words out"
    got = "; ".join(f"{v.sentence!r} ({v.reason})" for v in found)
    return usage_error("prompts", got, "sentences that the encoder knows", remedy)


def _array(vectors: Any) -> np.ndarray:
    return np.asarray(vectors.cpu() if hasattr(vectors, "cpu") else vectors, np.float32)
