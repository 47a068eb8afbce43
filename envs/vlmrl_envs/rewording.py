"""Say the same in other words by rule: "with its knees bent", "whose knees are bent", "with bent knees".

What a grammar lists is a handful of wordings of each fact. Rules that change the words and not the meaning make many of few, for
every fact alike, so that a text tower meets each turn of phrase with many facts. A held-out wording is never made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vlmrl_envs import held_out
from vlmrl_envs.captions import DEGREE_WORDS, FULL_WORDS, SLIGHT, Fact, Grammar, Sentence, Split

PART = (
    r"(?:left |right |front |back )?"
    r"(?:knees?|legs?|arms?|hands?|feet|foot|elbows?|hips|shins?|head|torso|upper body|body|back|bottom|fingertip)"
)
REST = r"(?P<rest>[a-z -]+?)(?=,| and | with |$)"
"""What is said of a part, to the end of its phrase."""
ANY_RELATION = r"(?:higher than|lower than|above|below)"
RELATION = rf"(?P<how>{ANY_RELATION})"
ADJECTIVES = {"bent": "bending", "straight": "", "raised": "raising", "lowered": "lowering", "folded": "folding",
              "crossed": "crossing", "twisted": "twisting"}  # fmt: skip
"""What stands before a part's name as well as behind it, and what a body does that brings it there."""
VERBS = {verb: adjective for adjective, verb in ADJECTIVES.items() if verb}
SAME = {"higher than": "above", "lower than": "below", "above": "higher than", "below": "lower than"}
_HANDS_UP = re.compile(r"hands? (?:is |are )?above its head")
"""Said of raised arms, whichever way the body is turned; that hands are higher than the head is said of heights."""
OTHER_WAY = {"higher than": "lower than", "lower than": "higher than", "above": "below", "below": "above"}
NOT_BEFORE_WITH = tuple(
    f" {word} " for word in ("is", "to", *(word for word, _ in (*DEGREE_WORDS, *FULL_WORDS, SLIGHT)))
)
Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], list[str]]]


def _are(part: str) -> str:
    return "are" if part.endswith("s") or part == "feet" else "is"


def _placed(match: re.Match[str]) -> list[str]:
    part, rest = match["part"], match["rest"]
    said = [f"with its {part} {rest}", f"whose {part} {_are(part)} {rest}", f"holding its {part} {rest}"]
    if rest in ADJECTIVES:
        article = "" if _are(part) == "are" else "a "
        said += [f"with {article}{rest} {part}"] * (not part.startswith(("left", "right")))
        said += [f"{ADJECTIVES[rest]} its {part}"] * bool(ADJECTIVES[rest])
    return said


def _adjective(match: re.Match[str]) -> list[str]:
    part, rest = match["part"], match["adjective"]
    said = [f"with its {part} {rest}", f"whose {part} {_are(part)} {rest}"]
    return [*said, f"{ADJECTIVES[rest]} its {part}"] if ADJECTIVES[rest] else said


def _verb(match: re.Match[str]) -> list[str]:
    part, rest = match["part"], VERBS[match["verb"]]
    return [f"with its {part} {rest}", f"whose {part} {_are(part)} {rest}"]


def _relation(match: re.Match[str]) -> list[str]:
    first, how, second = match["first"], match["how"], match["second"]
    said = []
    for a, way, b in ((first, how, second), (second, OTHER_WAY[how], first)):
        for same in (way, SAME[way]):
            said += [f"with its {a} {same} its {b}", f"whose {a} {_are(a)} {same} its {b}"]
    return said


def _side(match: re.Match[str]) -> list[str]:
    whose, side = match["whose"] or "the", match["side"]
    forms = [
        f"{match['how']} {side}",
        f"{match['how']} to {whose} {side}",
        f"{match['how']} to {whose} {side} side",
    ]
    return forms[1:] if whose == "its" else forms[:2]


RULES: tuple[Rule, ...] = (
    (re.compile(rf"(?:with (?:its|both)|whose) (?P<first>{PART}) (?:is |are )?{RELATION} its (?P<second>{PART})"), _relation),
    (re.compile(rf"(?:with (?:its|both)|whose) (?P<part>{PART}) (?!(?:is |are )?{ANY_RELATION})(?:is |are )?{REST}"), _placed),
    (re.compile(rf"with (?:a )?(?P<adjective>{'|'.join(ADJECTIVES)}) (?P<part>{PART})\b"), _adjective),
    (re.compile(rf"\b(?P<verb>{'|'.join(VERBS)}) (?:its|both) (?P<part>{PART})(?=,| and | with |$)"), _verb),
    (re.compile(r"\b(?P<how>leaning|tilted|bent|falling|pointing) (?:to (?P<whose>the|its) )?(?P<side>left|right)(?: side)?(?=,| and | with |$)"), _side),
)  # fmt: skip
"""What a phrase may look like, and how else it can be said."""


def ways(text: str, subjects: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return texts that say the same with one phrase said otherwise by rule, each with the new phrase; none where no rule fits.

    "Whose" follows one of the subjects, a comma or "and", or begins the text; neither it nor "with" follows "is" or a word
    of degree.
    """
    found: dict[str, str] = {}
    for pattern, say in RULES:
        for match in pattern.finditer(text):
            before, after = text[: match.start()], text[match.end() :]
            if _HANDS_UP.search(match[0]):
                continue
            noun = before.rstrip() in ("", *subjects) or before.endswith((", ", " and "))
            bare = not before.endswith(NOT_BEFORE_WITH)
            for said in say(match):
                fits = {"whose": noun and bare, "with": bare}.get(said.split()[0], True)
                if fits and said != match[0] and not _HANDS_UP.search(said):
                    found.setdefault(f"{before}{said}{after}", said)
    return list(found.items())


@dataclass(frozen=True)
class Reworded:
    """A grammar, of whose sentences a share is said otherwise by rule: the truth of any state stays, and so does what is held out."""

    grammar: Grammar
    share: float
    """Of all sentences; those that no rule fits stay as they are."""
    never: frozenset[str] = frozenset()
    """Wordings that no rule may make, such as those that other grammars hold out; the grammar's own are never made."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The grammar's own."""
        return self.grammar.facts

    @property
    def subjects(self) -> tuple[str, ...]:
        """The grammar's own."""
        return self.grammar.subjects

    @property
    def held_wordings(self) -> frozenset[str]:
        """The grammar's own."""
        return self.grammar.held_wordings

    @property
    def held_pairs(self) -> np.ndarray:
        """The grammar's own, bool (F, F)."""
        return self.grammar.held_pairs

    @property
    def silent(self) -> frozenset[str]:
        """The grammar's own."""
        return self.grammar.silent

    @property
    def columns(self) -> dict[str, int]:
        """The grammar's own: what is left out is told by them."""
        return self.grammar.columns

    @cached_property
    def _listed(self) -> frozenset[str]:
        """What facts say by themselves: a rule that makes it could give one fact's words another's truth."""
        found = (
            (*fact.phrases, *fact.scenes, *fact.negations, *(text for text, _ in fact.graded))
            for fact in self.facts
        )
        return frozenset(text for texts in found for text in texts)

    @cached_property
    def _never(self) -> frozenset[str]:
        return self.never | self.grammar.held_wordings

    def vocabulary(self) -> frozenset[str]:
        """Return every word, in lower case, that its sentences can hold."""
        made = "with its whose is are holding a to the side " + " ".join((*ADJECTIVES, *VERBS, *SAME))
        return self.grammar.vocabulary() | frozenset(held_out.words_of(made))

    def draw(
        self, rng: np.random.Generator, degrees: np.ndarray | None = None, split: Split = "train"
    ) -> Sentence:
        """Draw a sentence as `Grammar.draw` does; what is drawn of a held-out split stays as it is."""
        sentence = self.grammar.draw(rng, degrees, split)
        if split != "train" or rng.random() >= self.share:
            return sentence
        others = ways(sentence.text, self.grammar.subjects)
        for i in rng.permutation(len(others)):
            text, said = others[i]
            if said not in self._listed and not held_out.holds(text, self._never):
                return replace(sentence, text=text)
        return sentence
