"""KILT's scores of one item: retrieval of pages against evidence sets, and answers against gold answers.

The rules are those of KILT's published scorer (Petroni et al. 2021, NAACL, section 3). An evidence set is the
pages that together support one answer; a set is found only when all of its pages are.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import TouchstoneError

Evidence = tuple[tuple[str, ...], ...]
PAGE_FORM = re.compile(r"KILT-(?:Rprec|R@(?P<at>[1-9][0-9]*))")
ARTICLES = re.compile(r"\b(a|an|the)\b")
UNPUNCTUATED = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class PageMeasure:
    """``KILT-Rprec`` (at is None) or ``KILT-R@k`` of a ranking of pages."""

    at: int | None

    def of(self, pages: Sequence[str], evidence: Evidence) -> float:
        """Its value for one item."""
        return r_precision(pages, evidence) if self.at is None else recall(pages, evidence, self.at)


def page_measure(name: str) -> PageMeasure | None:
    """The page measure of a name, None when the name is of another kind."""
    found = PAGE_FORM.fullmatch(name)
    if found is None:
        return None
    return PageMeasure(int(found["at"]) if found["at"] else None)


def r_precision(pages: Sequence[str], evidence: Evidence) -> float:
    """The best evidence set's share of pages among the first R ranked, R being its number of distinct pages.

    Repeated pages of the ranking count once. 0 without evidence.
    """
    ranked = list(dict.fromkeys(pages))
    shares = [0.0]
    for wanted in map(set, evidence):
        if wanted:
            shares.append(sum(page in wanted for page in ranked[: len(wanted)]) / len(wanted))
    return max(shares)


def recall(pages: Sequence[str], evidence: Evidence, k: int) -> float:
    """The share of distinct evidence sets that are complete within the first *k* places.

    Not a page but a group is a place: the pages found of one set share a single place, that of the last of
    them; a page outside all sets is a place of its own. Repeated pages of the ranking count once.
    """
    sets = list(dict.fromkeys(map(frozenset, evidence)))
    if not sets:
        return 0.0
    left = [set(wanted) for wanted in sets]
    places: list[int | None] = []  # the evidence set of each place, None for a page outside all
    for page in dict.fromkeys(pages):
        of_sets = [number for number, rest in enumerate(left) if page in rest]
        for number in of_sets:
            left[number].discard(page)
            if number in places:
                places.remove(number)
            places.append(number)
        if not of_sets:
            places.append(None)
    return sum(number is not None and not left[number] for number in places[:k]) / len(sets)


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation, no articles (SQuAD's evaluation, Rajpurkar et al. 2016)."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(UNPUNCTUATED)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 when both are equal after normalisation."""
    return float(normalised(answer) == normalised(gold))


def f1(answer: str, gold: str) -> float:
    """The harmonic mean of precision and recall of normalised words, repeated words counted."""
    found, wanted = normalised(answer).split(), normalised(gold).split()
    common = (Counter(found) & Counter(wanted)).total()
    if not common:
        return 0.0
    precision, share = common / len(found), common / len(wanted)
    return 2 * precision * share / (precision + share)


def rouge_l(answer: str, gold: str) -> float:
    """Summary-level ROUGE-L F (Lin 2004, section 3.2), equal to the PyPI package ``rouge`` 1.0.1.

    Sentences end at full stops, words at spaces; case and other punctuation stay. Every word counts once:
    the distinct words of all longest common subsequences, of the answer and of the gold text. 1e-8 in the
    denominator keeps a perfect answer just below 1.
    """
    found, wanted = _sentences(answer), _sentences(gold)
    if not found or not wanted:
        return 0.0
    common = {word for a in wanted for b in found for word in _common_subsequence(a, b)}
    precision = len(common) / len({word for sentence in found for word in sentence})
    share = len(common) / len({word for sentence in wanted for word in sentence})
    return 2.0 * (precision * share / (precision + share + 1e-8))


def answer_scores(answer: str, golds: Collection[str]) -> tuple[float, float, float, float]:
    """(accuracy, exact match, F1, ROUGE-L) of an answer: each its best over the gold answers.

    Accuracy asks for the very text of a gold answer. An empty answer has 0 everywhere.
    """
    answer = answer.strip()
    if not answer or not golds:
        return 0.0, 0.0, 0.0, 0.0
    best = [max(rule(answer, gold) for gold in golds) for rule in (exact_match, f1, rouge_l)]
    return float(answer in golds), best[0], best[1], best[2]


ANSWER_MEASURES: dict[str, tuple[int, bool]] = {
    "Acc": (0, False),
    "EM": (1, False),
    "F1": (2, False),
    "ROUGE-L": (3, False),
    "KILT-AC": (0, True),
    "KILT-EM": (1, True),
    "KILT-F1": (2, True),
    "KILT-RL": (3, True),
}


def item_scorer(
    names: Sequence[str],
) -> Callable[[str, Sequence[str], Collection[str], Evidence], list[float]]:
    """A function from (answer, pages, gold answers, evidence) to the values of the named measures.

    KILT-AC, -EM, -F1 and -RL count an answer only when its R-precision is 1. An unknown name is an error.
    """
    for name in names:
        if name not in ANSWER_MEASURES and page_measure(name) is None:
            known = ", ".join([*ANSWER_MEASURES, "KILT-Rprec", "KILT-R@5"])
            raise TouchstoneError(f"'{name}' does not fit written answers", fix=f"use one of {known}")

    def score(answer: str, pages: Sequence[str], golds: Collection[str], evidence: Evidence) -> list[float]:
        plain = answer_scores(answer, golds)
        grounded = float(r_precision(pages, evidence) == 1)
        values = []
        for name in names:
            measure = page_measure(name)
            if measure is not None:
                values.append(measure.of(pages, evidence))
            else:
                column, gated = ANSWER_MEASURES[name]
                values.append(plain[column] * (grounded if gated else 1.0))
        return values

    return score


def _sentences(text: str) -> list[list[str]]:
    """Words of each piece between full stops; a piece of nothing but white space is one empty word."""
    return [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]


def _common_subsequence(a: list[str], b: list[str]) -> list[str]:
    """A longest common subsequence of words; of several, the one found backwards from the ends, *b* first."""
    lengths = _lengths(a, b)
    i, j, words = len(a), len(b), []
    while i and j:
        if a[i - 1] == b[j - 1]:
            words.append(a[i - 1])
            i, j = i - 1, j - 1
        elif lengths[i - 1, j] > lengths[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return words


def _lengths(a: list[str], b: list[str]) -> npt.NDArray[np.int32]:
    """int32[len(a)+1, len(b)+1]: lengths of the longest common subsequences of all pairs of beginnings."""
    numbers: dict[str, int] = {}
    left, right = (np.array([numbers.setdefault(word, len(numbers)) for word in text]) for text in (a, b))
    table = np.zeros((len(a) + 1, len(b) + 1), np.int32)
    for i in range(1, len(a) + 1):
        row = np.maximum(table[i - 1, 1:], table[i - 1, :-1] + (right == left[i - 1]))
        table[i, 1:] = np.maximum.accumulate(row)
    return table
