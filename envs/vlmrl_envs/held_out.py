"""What training never hears or sees of a grammar, the same in every run: wordings, compositions, facts left out.

Decided by hashes of names and words, not by a random state: adding a fact moves no other.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from vlmrl_envs.errors import world_error

if TYPE_CHECKING:
    from vlmrl_envs.captions import Fact, Grammar

PAIR_SHARE = 0.1
"""Share of the pairs of facts on two axes that are held out; of legs x arms x torso triples it takes about a quarter."""
SHOWN = 0.5
"""Degree from which a state shows a fact of a composition."""
TRACE = 0.35
"""Degree from which a state shows a fact that is left out."""


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; hyphens and apostrophes stay within a word."""
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower())


def holds(text: str, words: Iterable[str]) -> bool:
    """Tell whether a text holds any of the given words, or phrases of words."""
    padded = f" {' '.join(words_of(text))} "
    return any(f" {' '.join(words_of(word))} " in padded for word in words)


def wordings(grammar: Grammar) -> frozenset[str]:
    """Return the phrases and scenes held out: about one in five of each fact that has four or more ways to be said.

    Never a first one; never one that another wording contains, and never one with a word that no other wording has:
    a text tower trained from scratch cannot know a word that it never met.
    """
    texts = [text for fact in grammar.facts for text in (*fact.phrases, *fact.scenes)]
    others = [*grammar.subjects, *grammar.plain]
    others += [t for fact in grammar.facts for t in (*fact.negations, *(text for text, _ in fact.graded))]
    built = {f"{subject} {text}" for subject in grammar.subjects for text in texts}
    uses = Counter(word for text in (*texts, *others) for word in set(words_of(text)))
    found: set[str] = set()
    for fact in grammar.facts:
        limit = _limit(fact)
        for text in sorted((*fact.phrases[1:], *fact.scenes[1:]), key=lambda t: _hash(fact.name, t)):
            if limit == 0:
                break
            own = set(words_of(text))
            inside = sum(holds(other, [text]) for other in (*texts, *others))
            if inside > 1 or text in built or any(uses[word] < 2 for word in own):
                continue
            found.add(text)
            uses.subtract(own)
            limit -= 1
    return frozenset(found)


def pairs(grammar: Grammar) -> np.ndarray:
    """Return which two facts make a composition held out, bool (F, F), symmetric.

    A pair is held out where it says two facts of different axes whose names hash below `PAIR_SHARE`.
    """
    axis = {name: i for i, names in enumerate(grammar.axes) for name in names}
    kept = {frozenset(pair) for pair in grammar.kept}
    said = [[n for n in (fact.name, *fact.says) if n in axis] for fact in grammar.facts]
    out = np.zeros((len(said), len(said)), bool)
    for i, first in enumerate(said):
        for j, second in enumerate(said[:i]):
            out[i, j] = out[j, i] = any(
                axis[a] != axis[b]
                and frozenset((a, b)) not in kept
                and _hash(*sorted((a, b))) < PAIR_SHARE * 2**32
                for a in first
                for b in second
            )
    return out


def shows_held_out(grammar: Grammar, degrees: np.ndarray) -> np.ndarray:
    """Tell which states, whose facts hold to degrees (B, F), show both facts of a composition held out, bool (B,).

    Each to `SHOWN`, be they the truest of their axes or not: who sits in lotus also sits.
    """
    shown, out = degrees >= SHOWN, np.zeros(len(degrees), bool)
    for one, other in np.argwhere(np.triu(grammar.held_pairs)):
        out |= shown[:, one] & shown[:, other]
    return out


def shows_left_out(grammar: Grammar, degrees: np.ndarray) -> np.ndarray:
    """Tell which states, whose facts hold to degrees (B, F), show a fact that is left out to `TRACE`, bool (B,)."""
    columns = [grammar.columns[name] for name in grammar.silent]
    if not columns:
        return np.zeros(len(degrees), bool)
    return np.asarray((degrees[:, columns] >= TRACE).any(axis=1))


def training_states(grammar: Grammar, degrees: np.ndarray) -> np.ndarray:
    """Tell which states, whose facts hold to degrees (B, F), training may see, bool (B,)."""
    return ~(shows_held_out(grammar, degrees) | shows_left_out(grammar, degrees))


def triple_share(grammar: Grammar) -> float:
    """Return the share of all combinations of one fact of each axis that hold a pair held out."""
    columns = [[grammar.columns[name] for name in names] for names in grammar.axes]
    if len(columns) < 2:
        return 0.0
    grid = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(columns))
    held = np.zeros(len(grid), bool)
    for a in range(len(columns)):
        for b in range(a):
            held |= grammar.held_pairs[grid[:, a], grid[:, b]]
    return float(held.mean())


def closure(grammar: Grammar, names: Iterable[str]) -> frozenset[str]:
    """Return the named facts and all that say them. Raises: WorldError for a name that is no fact's."""
    wanted = set(names)
    unknown = sorted(wanted - set(grammar.columns))
    if unknown:
        raise world_error("leave out", unknown, f"names among {sorted(grammar.columns)}", "pick from these")
    return frozenset(f.name for f in grammar.facts if f.name in wanted or wanted & set(f.says))


def _limit(fact: Fact) -> int:
    count = len(fact.phrases) + len(fact.scenes)
    return 0 if count < 4 else max(1, round(count / 5))


def _hash(*names: str) -> int:
    return zlib.crc32("|".join(names).encode())
