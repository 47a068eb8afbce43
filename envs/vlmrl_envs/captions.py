"""A small grammar of graded, compositional captions.

A world states *facts*: names with a degree of truth, 0..1, on every state. A *sentence* says one to three facts of
one subject, each plainly, negated, or with a degree word; its truth of any state is the product of its terms' truths.
So one sentence can be judged against every state, which is what the encoder is trained on: words, not classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmrl_envs.rules import Caption


@dataclass(frozen=True)
class Fact:
    """Something that can be said of a state."""

    name: str
    phrases: tuple[str, ...]
    """Ways to say it after the subject, e.g. "kneeling" after "a humanoid robot"."""
    negations: tuple[str, ...] = ()
    """Ways to deny it; empty where denying it would be odd."""
    group: str = ""
    """Facts of one group exclude each other in a sentence; "" stands alone."""
    scenes: tuple[str, ...] = ()
    """Whole sentences that say it, subject included."""


@dataclass(frozen=True)
class Term:
    """One fact within a sentence: its column and the degree that the words ask for."""

    fact: int
    wanted: float = 1.0
    """1 says the fact, 0 denies it, between says it by degree ("half way")."""


@dataclass(frozen=True)
class Sentence:
    """A text and the terms it says."""

    text: str
    terms: tuple[Term, ...]

    def truth(self, degrees: np.ndarray) -> np.ndarray:
        """Return the sentence's truth (B,) of states whose facts hold to degrees (B, F)."""
        out = np.ones(len(degrees))
        for term in self.terms:
            degree = degrees[:, term.fact]
            if term.wanted >= 1.0:
                out *= degree
            elif term.wanted <= 0.0:
                out *= 1.0 - degree
            else:
                out *= np.clip(1.0 - np.abs(degree - term.wanted) / 0.5, 0.0, 1.0)
        return out


@dataclass(frozen=True)
class Grammar:
    """The subjects and facts of one world."""

    subjects: tuple[str, ...]
    plain: tuple[str, ...]
    """Sentences true of every frame of this world, such as baselines."""
    facts: tuple[Fact, ...]

    def say_plain(self, rng: np.random.Generator) -> Sentence:
        """Draw a sentence that is true of every state."""
        return Sentence(str(rng.choice(self.plain)), ())

    def say(self, rng: np.random.Generator, facts: Sequence[int], degree_words: bool = True) -> Sentence:
        """Draw a sentence that says the given facts (columns), the first perhaps by degree or denied."""
        first = self.facts[facts[0]]
        if len(facts) == 1 and first.scenes and rng.random() < 0.4:
            return Sentence(str(rng.choice(first.scenes)), (Term(facts[0]),))
        phrases, terms = [], []
        for place, column in enumerate(facts):
            phrase, term = self._phrase(rng, column, degree_words and place == 0)
            phrases.append(phrase)
            terms.append(term)
        joined = phrases[0]
        for phrase in phrases[1:]:
            joined += str(
                rng.choice(
                    [", ", " and ", " with "] if phrase.startswith(("its", "both")) else [", ", " and "]
                )
            )
            joined += phrase
        return Sentence(f"{rng.choice(self.subjects)} {joined}", tuple(terms))

    def draw(self, rng: np.random.Generator, degrees: np.ndarray | None = None) -> Sentence:
        """Draw a sentence; with degrees (F,) of a state, mostly of facts that hold in it."""
        kind = rng.random()
        if kind < 0.08:
            return self.say_plain(rng)
        weight = np.ones(len(self.facts)) if degrees is None else 0.03 + degrees**2
        count = 1 if kind < 0.65 else (2 if kind < 0.9 else 3)
        chosen: list[int] = []
        groups: set[str] = set()
        for _ in range(count):
            free = np.array([0.0 if i in chosen or (f.group and f.group in groups) else weight[i]
                             for i, f in enumerate(self.facts)])  # fmt: skip
            if free.sum() <= 0:
                break
            chosen.append(int(rng.choice(len(free), p=free / free.sum())))
            groups.add(self.facts[chosen[-1]].group)
        return self.say(rng, chosen)

    def describe(
        self, degrees: np.ndarray, rng: np.random.Generator | None = None, count: int = 8
    ) -> list[Caption]:
        """Write captions of one state whose facts hold to degrees (F,), the truest facts first, with degree words."""
        rng = rng or np.random.default_rng(0)
        captions = []
        for column in np.argsort(-degrees, kind="stable")[:count]:
            phrase, degree = str(rng.choice(self.facts[column].phrases)), float(degrees[column])
            word, term = "", Term(int(column))
            if degree < 0.85:
                words = [(w, d) for w, d in _degree_words(phrase) if abs(d - degree) <= 0.2]
                if not words:
                    continue
                word, term = words[0][0] + " ", Term(int(column), words[0][1])
            sentence = Sentence(f"{rng.choice(self.subjects)} {word}{phrase}", (term,))
            captions.append(Caption(sentence.text, float(sentence.truth(degrees[None])[0])))
        return [*captions, Caption(self.say_plain(rng).text, 1.0)]

    def _phrase(self, rng: np.random.Generator, column: int, degree_words: bool) -> tuple[str, Term]:
        fact = self.facts[column]
        phrase = str(rng.choice(fact.phrases))
        kind = rng.random()
        words = _degree_words(phrase) if degree_words else ()
        if words and kind < 0.12:
            word, wanted = words[rng.integers(len(words))]
            return f"{word} {phrase}", Term(column, wanted)
        if fact.negations and kind > 0.93:
            return str(rng.choice(fact.negations)), Term(column, 0.0)
        return phrase, Term(column)


def _degree_words(phrase: str) -> tuple[tuple[str, float], ...]:
    """Return the degree words that read well before a phrase, with the degree each asks for."""
    first = phrase.split()[0]
    if first in ("with", "that", "as"):
        return ()
    half = (("half way to", 0.5), ("beginning", 0.3)) if first.endswith("ing") else ()
    return (("almost", 0.8), ("nearly", 0.8), *half)


def ramp(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    """Return degrees (B,) that rise from 0 at `zero` to 1 at `one`, straight between."""
    return np.clip((value - zero) / (one - zero), 0.0, 1.0)
