"""A small grammar of graded, compositional captions.

A world states *facts*: names with a degree of truth, 0..1, on every state. A *sentence* says one to three facts of
one subject, each plainly, negated, or with a degree word; its truth of any state is the product of its terms' truths.
So one sentence can be judged against every state, which is what the encoder is trained on: words, not classes.
What training never hears, `vlmrl_envs.held_out` decides; by default a grammar speaks as in training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from vlmrl_envs import held_out
from vlmrl_envs.errors import world_error
from vlmrl_envs.rules import Caption

Split = Literal["train", "held_out", "all"]
MAX_LENGTH = 26
"""Words and marks in a sentence: within the 32 tokens that the embedded encoder reads."""


@dataclass(frozen=True)
class Fact:
    """Something that can be said of a state."""

    name: str
    phrases: tuple[str, ...]
    """Ways to say it after the subject, e.g. "kneeling" after "a humanoid robot"; the first is never held out."""
    negations: tuple[str, ...] = ()
    """Ways to deny it; empty where denying it would be odd."""
    group: str = ""
    """Facts of one group exclude each other in a sentence; "" stands alone."""
    scenes: tuple[str, ...] = ()
    """Whole sentences that say it, subject included; the first is never held out."""
    graded: tuple[tuple[str, float], ...] = ()
    """Phrases that say it by degree, with the degree each asks for, e.g. ("with slightly bent knees", 0.3)."""
    says: tuple[str, ...] = ()
    """Other facts that this one says as well; it is left out with any of them."""
    telling: tuple[str, ...] = ()
    """Words that give it away: with the fact left out, no wording of any other fact may hold one."""


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
    """The subjects and facts of one world, and which of their sentences training hears."""

    subjects: tuple[str, ...]
    """Those that end in "is" go before phrases that can follow it only."""
    plain: tuple[str, ...]
    """Sentences true of every frame of this world, such as baselines."""
    facts: tuple[Fact, ...]
    axes: tuple[tuple[str, ...], ...] = ()
    """Names of facts whose combinations are compositions, e.g. legs, arms, torso; special facts before general ones."""
    kept: tuple[tuple[str, str], ...] = ()
    """Pairs of facts on two axes that are never held out, such as those that goals say."""
    silent: frozenset[str] = frozenset()
    """Names of the facts that `leave_out` took away: they keep their columns, and are never said."""

    @cached_property
    def columns(self) -> dict[str, int]:
        """The column of each fact's name."""
        return {fact.name: i for i, fact in enumerate(self.facts)}

    @cached_property
    def held_wordings(self) -> frozenset[str]:
        """Phrases and scenes that training never hears; all their words are in others that it does hear."""
        return held_out.wordings(self)

    @cached_property
    def held_pairs(self) -> np.ndarray:
        """Which two facts make a composition that training never hears or sees, bool (F, F)."""
        return held_out.pairs(self)

    @cached_property
    def _banned(self) -> tuple[str, ...]:
        return tuple(word for fact in self.facts if fact.name in self.silent for word in fact.telling)

    @cached_property
    def _wordings(self) -> tuple[dict[Split, list[tuple[str, ...]]], ...]:
        """Phrases, then scenes: by split, those of each fact."""
        found = []
        for field in ("phrases", "scenes"):
            by_split: dict[Split, list[tuple[str, ...]]] = {"train": [], "held_out": [], "all": []}
            for fact in self.facts:
                texts = () if fact.name in self.silent else getattr(fact, field)
                texts = tuple(t for t in texts if not held_out.holds(t, self._banned))
                by_split["all"].append(texts)
                by_split["train"].append(tuple(t for t in texts if t not in self.held_wordings))
                by_split["held_out"].append(tuple(t for t in texts if t in self.held_wordings))
            found.append(by_split)
        return tuple(found)

    @cached_property
    def _excluded(self) -> np.ndarray:
        """Which two facts no sentence says together: those of one group, and each with itself, bool (F, F)."""
        groups = np.array([fact.group or f" {i}" for i, fact in enumerate(self.facts)])
        return groups[:, None] == groups[None]

    @cached_property
    def _sayable(self) -> np.ndarray:
        return np.array([bool(texts) for texts in self._wordings[0]["train"]], float)

    def leave_out(self, names: Iterable[str]) -> Grammar:
        """Return this grammar without the named facts, those that say them, and every wording that gives them away.

        Columns stay. Raises: ValueError for a name that is no fact's.
        """
        return replace(self, silent=held_out.closure(self, names) | self.silent)

    def wordings(self, column: int, split: Split = "train", scenes: bool = False) -> tuple[str, ...]:
        """Return the phrases (or scenes) of a fact in a split; none of a fact that is left out."""
        return self._wordings[scenes][split][column]

    def vocabulary(self, split: Split = "train") -> frozenset[str]:
        """Return every word, in lower case, that sentences of a split can hold."""
        texts = [
            *self.subjects,
            *self.plain,
            *(w for w, _ in (*DEGREE_WORDS, *FULL_WORDS, SLIGHT)),
            "and with",
        ]
        for column, fact in enumerate(self.facts):
            texts += [*self.wordings(column, split), *self.wordings(column, split, scenes=True)]
            if fact.name not in self.silent:
                told = [*fact.negations, *(text for text, _ in fact.graded)]
                texts += [t for t in told if not held_out.holds(t, self._banned)]
        return frozenset(word for text in texts for word in held_out.words_of(text))

    def say_plain(self, rng: np.random.Generator) -> Sentence:
        """Draw a sentence that is true of every state."""
        return Sentence(str(rng.choice(self.plain)), ())

    def say(
        self,
        rng: np.random.Generator,
        facts: Sequence[int],
        degree_words: bool = True,
        split: Split = "train",
    ) -> Sentence:
        """Draw a sentence that says the given facts (columns), the first perhaps by degree or denied.

        With split "held_out" each fact that has held-out wordings is said in one of them. Facts that would make
        the sentence too long to read are not said.
        """
        scenes = self.wordings(facts[0], split, scenes=True)
        if len(facts) == 1 and scenes and rng.random() < 0.4:
            return Sentence(str(rng.choice(scenes)), (Term(facts[0]),))
        joined, terms = "", []
        for place, column in enumerate(facts):
            phrase, term = self._phrase(rng, column, degree_words and place == 0, split)
            if place:
                follows = phrase.startswith(("its", "both"))
                phrase = str(rng.choice([", ", " and ", " with "] if follows else [", ", " and "])) + phrase
                if _length(joined + phrase) > MAX_LENGTH - 4:
                    continue
            joined += phrase
            terms.append(term)
        return Sentence(f"{self._subject(rng, joined)} {joined}", tuple(terms))

    def draw(
        self, rng: np.random.Generator, degrees: np.ndarray | None = None, split: Split = "train"
    ) -> Sentence:
        """Draw a sentence; with degrees (F,) of a state, mostly of facts that hold in it.

        "train" says no composition and no wording that is held out; "held_out" says one of either.
        """
        if split == "held_out":
            return self._draw_held_out(rng, degrees)
        kind = rng.random()
        if kind < 0.08:
            return self.say_plain(rng)
        weight = self._weights(degrees)
        count = 1 if kind < 0.65 else (2 if kind < 0.9 else 3)
        chosen: list[int] = []
        for _ in range(count):
            free = weight.copy()
            for i in chosen:
                free[self._excluded[i]] = 0
                if split == "train":
                    free[self.held_pairs[i]] = 0
            if free.sum() <= 0:
                break
            chosen.append(int(rng.choice(len(free), p=free / free.sum())))
        return self.say(rng, chosen, split=split) if chosen else self.say_plain(rng)

    def describe(
        self,
        degrees: np.ndarray,
        rng: np.random.Generator | None = None,
        count: int = 8,
        split: Split = "train",
    ) -> list[Caption]:
        """Write captions of one state whose facts hold to degrees (F,), the truest facts first, with degree words.

        Last come up to two longer ones, of two and of three facts, and one that says the world alone.
        """
        rng = rng or np.random.default_rng(0)
        captions = []
        for column in np.argsort(-degrees, kind="stable")[:count]:
            wordings = self.wordings(int(column), split)
            if not wordings:
                continue
            phrase, degree = str(rng.choice(wordings)), float(degrees[column])
            word, term = "", Term(int(column))
            if degree < 0.85:
                words = [(w, d) for w, d in _degree_words(phrase) if abs(d - degree) <= 0.2]
                if not words:
                    continue
                word, term = words[0][0] + " ", Term(int(column), words[0][1])
            sentence = Sentence(f"{self._subject(rng, phrase)} {word}{phrase}", (term,))
            captions.append(Caption(sentence.text, float(sentence.truth(degrees[None])[0])))
        for _ in range(2):
            long = self.draw(rng, np.where(degrees > 0.85, degrees, 0.0), split)
            truth = float(long.truth(degrees[None])[0])
            if len(long.terms) > 1 and truth >= 0.7:
                captions.append(Caption(long.text, truth))
        return [*captions, Caption(self.say_plain(rng).text, 1.0)]

    def _weights(self, degrees: np.ndarray | None) -> np.ndarray:
        """Return how often each fact is to be said, (F,)."""
        weight = np.ones(len(self.facts)) if degrees is None else 0.03 + np.asarray(degrees, float) ** 2
        return weight * self._sayable

    def _draw_held_out(self, rng: np.random.Generator, degrees: np.ndarray | None) -> Sentence:
        weight = self._weights(degrees)
        pairs = np.argwhere(np.triu(self.held_pairs))
        by_pair = weight[pairs].prod(axis=1) if len(pairs) else np.zeros(0)
        worded = np.array([bool(self.wordings(i, "held_out")) for i in range(len(self.facts))])
        by_word = weight * worded
        if by_pair.sum() > 0 and (rng.random() < 0.5 or by_word.sum() <= 0):
            pair = pairs[rng.choice(len(pairs), p=by_pair / by_pair.sum())]
            return self.say(rng, [int(i) for i in pair], degree_words=False)
        if by_word.sum() <= 0:
            raise world_error("split", "held_out", "a grammar that holds something out", 'use "train"')
        column = int(rng.choice(len(by_word), p=by_word / by_word.sum()))
        return self.say(rng, [column], degree_words=False, split="held_out")

    def _subject(self, rng: np.random.Generator, phrase: str) -> str:
        bare = phrase.startswith(("with", "whose", "that", "as ", "hands"))
        return str(rng.choice([s for s in self.subjects if not (bare and s.endswith(" is"))]))

    def _phrase(
        self, rng: np.random.Generator, column: int, degree_words: bool, split: Split
    ) -> tuple[str, Term]:
        fact = self.facts[column]
        wordings = self.wordings(column, split) or self.wordings(column)
        phrase, kind = str(rng.choice(wordings)), rng.random()
        words = (*_degree_words(phrase),) if degree_words else ()
        if degree_words and kind < 0.12:
            graded = [(text, d) for text, d in fact.graded if not held_out.holds(text, self._banned)]
            ways = [(f"{word} {phrase}", wanted) for word, wanted in words] + graded
            if ways:
                text, wanted = ways[rng.integers(len(ways))]
                return text, Term(column, wanted)
        denials = [text for text in fact.negations if not held_out.holds(text, self._banned)]
        if denials and kind > 0.93 and split != "held_out":
            return str(rng.choice(denials)), Term(column, 0.0)
        return phrase, Term(column)


DEGREE_WORDS = (("almost", 0.8), ("nearly", 0.8), ("half way to", 0.5), ("beginning", 0.3))
FULL_WORDS = (("fully", 1.0), ("completely", 1.0))
SLIGHT = ("slightly", 0.3)


def _degree_words(phrase: str) -> tuple[tuple[str, float], ...]:
    """Return the degree words that read well before a phrase, with the degree each asks for."""
    first = phrase.split()[0]
    if first in ("with", "that", "as", "whose", "hands"):
        return ()
    if first in ("leaning", "bent", "twisted", "tilted"):
        return (*DEGREE_WORDS[:2], SLIGHT)
    return (*DEGREE_WORDS, *FULL_WORDS) if first.endswith("ing") else DEGREE_WORDS[:2]


def _length(text: str) -> int:
    """Return the number of words and marks of a text, about its number of tokens."""
    return len(re.findall(r"[A-Za-z]+|[^\sA-Za-z]", text))


def ramp(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    """Return degrees (B,) that rise from 0 at `zero` to 1 at `one`, straight between."""
    return np.clip((value - zero) / (one - zero), 0.0, 1.0)
