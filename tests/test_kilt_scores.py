"""KILT's scores: equal to its own unit tests, to the ``rouge`` package, and to cases worked by hand."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TouchstoneError
from harness.kilt_scores import (
    Evidence,
    answer_scores,
    exact_match,
    f1,
    item_scorer,
    normalised,
    page_measure,
    r_precision,
    recall,
    rouge_l,
)
from tests.needs import DATA, needs

FIXTURES = DATA / "kilt" / "scorer-fixtures"
NAMES = ("EM", "F1", "ROUGE-L", "KILT-EM", "KILT-F1", "KILT-RL", "KILT-Rprec", "KILT-R@5")


def _lines(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (FIXTURES / name).read_text().splitlines() if line.strip()]


def _ids(output: dict[str, list[dict[str, object]]], keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("+".join(str(page[key]) for key in keys) for page in output["provenance"])


def _means(gold: str, guess: str) -> dict[str, float]:
    score = item_scorer(NAMES)
    rows = []
    for wanted, given_ in zip(_lines(gold), _lines(guess), strict=True):
        outputs, answer = wanted["output"], given_["output"][0]  # type: ignore[index]
        evidence = tuple(_ids(output, ("wikipedia_id",)) for output in outputs)  # type: ignore[attr-defined]
        golds = {output["answer"] for output in outputs}  # type: ignore[attr-defined]
        rows.append(score(answer["answer"], _ids(answer, ("wikipedia_id",)), golds, evidence))
    return dict(zip(NAMES, np.mean(rows, axis=0).tolist(), strict=True))


@needs("data")
@pytest.mark.parametrize(
    ("gold", "guess", "expected"),
    [
        (
            "gold1.jsonl",
            "guess1_1.jsonl",
            {
                "KILT-EM": 1 / 3,
                "KILT-F1": 1 / 3,
                "KILT-RL": 0.3333333316666667,
                "EM": 2 / 3,
                "F1": 0.8333333333333334,
                "ROUGE-L": 0.7222222178240741,
                "KILT-Rprec": 1 / 3,
                "KILT-R@5": 1 / 3,
            },
        ),
        (
            "gold1.jsonl",
            "gold1.jsonl",
            {
                "KILT-EM": 1.0,
                "KILT-F1": 1.0,
                "KILT-RL": 0.999999995,
                "EM": 1.0,
                "F1": 1.0,
                "ROUGE-L": 0.999999995,
                "KILT-Rprec": 1.0,
                "KILT-R@5": 1.0,
            },
        ),
        (
            "gold3.jsonl",
            "guess3_1.jsonl",
            {
                "KILT-EM": 0.0,
                "KILT-F1": 0.25510204081632654,
                "KILT-RL": 0.22352940932318338,
                "EM": 0.0,
                "F1": 0.5102040816326531,
                "ROUGE-L": 0.44705881864636676,
            },
        ),
    ],
)
def test_answers_equal_kilts_own_unit_tests(gold: str, guess: str, expected: dict[str, float]) -> None:
    means = _means(gold, guess)
    for name, value in expected.items():
        assert means[name] == pytest.approx(value, rel=0, abs=1e-15), name


@needs("data")
@pytest.mark.parametrize(
    "keys",
    [
        ("wikipedia_id",),
        ("wikipedia_id", "section"),
        ("wikipedia_id", "start_paragraph_id", "end_paragraph_id"),
    ],
)
@pytest.mark.parametrize(
    ("guess", "expected"), [("guess2_1.jsonl", (1 / 2, 2 / 3)), ("guess2_2.jsonl", (1, 1 / 3))]
)
def test_pages_equal_kilts_own_unit_tests(
    keys: tuple[str, ...], guess: str, expected: tuple[float, float]
) -> None:
    gold = _lines("gold2.jsonl")[0]["output"]
    evidence = tuple(_ids(output, keys) for output in gold)  # type: ignore[attr-defined]
    pages = _ids(_lines(guess)[0]["output"][0], keys)  # type: ignore[index]
    assert (r_precision(pages, evidence), recall(pages, evidence, 5)) == expected


@pytest.mark.parametrize(
    ("pages", "evidence", "rprec", "recall_2"),
    [
        ("ab", ("ab",), 1.0, 1.0),  # both pages of a set share one place
        ("ba", ("ab",), 1.0, 1.0),
        ("axb", ("ab",), 0.5, 1.0),  # x is the first place, the set the second
        ("axyb", ("ab",), 0.5, 0.0),  # the set is complete at the third place only
        ("aaab", ("ab",), 1.0, 1.0),  # a page named again counts once
        ("a", ("ab",), 0.5, 0.0),  # an incomplete set is not found
        ("ab", ("a", "b"), 1.0, 1.0),  # two sets of one page
        ("a", ("a", "b"), 1.0, 0.5),
        ("xa", ("a", "a"), 0.0, 1.0),  # equal sets are one
        ("xa", ("a", "bc"), 0.0, 0.5),
        ("ab", ("ab", "a"), 1.0, 1.0),  # the shared page counts for both sets
        ("", ("a",), 0.0, 0.0),
        ("a", (), 0.0, 0.0),
        ("a", ("",), 0.0, 0.0),  # evidence without pages can never be found
        ("a", ("", "a"), 1.0, 0.5),
    ],
)
def test_pages_worked_by_hand(pages: str, evidence: tuple[str, ...], rprec: float, recall_2: float) -> None:
    sets: Evidence = tuple(map(tuple, evidence))
    assert (r_precision(list(pages), sets), recall(list(pages), sets, 2)) == (rprec, recall_2)


SETS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=4).map(tuple), max_size=4).map(tuple)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=10), SETS)
def test_page_measures_keep_their_bounds(pages: list[str], evidence: Evidence) -> None:
    values = [recall(pages, evidence, k) for k in range(1, 12)]
    assert all(0 <= value <= 1 for value in values)
    assert values == sorted(values)
    assert 0 <= r_precision(pages, evidence) <= 1
    complete = [wanted for wanted in set(map(frozenset, evidence)) if wanted and wanted <= set(pages)]
    distinct = set(map(frozenset, evidence))
    assert recall(pages, evidence, 99) == (len(complete) / len(distinct) if distinct else 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat, a dog!", "cat dog"),
        ("U.S.A.", "usa"),
        ("AN answer", "answer"),
        ("", ""),
        ("theatre", "theatre"),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_words_are_matched_as_often_as_they_come() -> None:
    assert exact_match("The Cat!", "cat") == 1
    assert f1("cat cat dog", "cat bird") == pytest.approx(2 * (1 / 3) * (1 / 2) / (5 / 6))
    assert f1("cat cat", "cat cat cat") == pytest.approx(0.8)
    assert f1("the", "a") == 0


def test_the_best_gold_answer_counts_for_each_measure() -> None:
    assert answer_scores("a cat", {"cat", "dog"})[:3] == (0.0, 1.0, 1.0)
    assert answer_scores(" cat ", {"cat", "dog"})[:3] == (1.0, 1.0, 1.0)
    assert answer_scores("cat dog", {"cat", "the dog barks"})[2] == pytest.approx(2 / 3)
    assert answer_scores(" ", {"cat"}) == answer_scores("cat", set()) == (0.0, 0.0, 0.0, 0.0)


def test_kilt_scores_ask_for_the_evidence() -> None:
    score = item_scorer(("EM", "KILT-EM", "KILT-AC", "KILT-Rprec"))
    evidence: Evidence = (("1", "2"), ("3",))
    assert score("x", ["2", "1"], {"x"}, evidence) == [1, 1, 1, 1]
    assert score("x", ["3", "9"], {"x"}, evidence) == [1, 1, 1, 1]
    assert score("x", ["1", "9", "2"], {"x"}, evidence) == [1, 0, 0, 0.5]
    assert score("x", [], {"x"}, evidence) == [1, 0, 0, 0]


def test_names_of_measures() -> None:
    found = [page_measure(name) for name in ("KILT-Rprec", "KILT-R@5", "KILT-R@0", "R@5", "KILT-EM")]
    assert [measure and measure.at for measure in found] == [None, 5, None, None, None]
    assert found[0] is not None and found[2] is None
    with pytest.raises(TouchstoneError, match="'nDCG@10' does not fit written answers"):
        item_scorer(("EM", "nDCG@10"))


@needs("rouge")
def test_rouge_l_equals_the_rouge_package() -> None:
    from rouge import Rouge

    theirs, rng = Rouge(metrics=["rouge-l"]), random.Random(7)
    words = ["a", "b", "c", "d", "The", "e.", "f", ".", "g h", "  ", "..", "\n", "U.S.", "x."]
    for _ in range(3000):
        answer, gold = (" ".join(rng.choices(words, k=rng.randint(0, 14))) for _ in range(2))
        try:
            wanted = theirs.get_scores(answer, gold, avg=True)["rouge-l"]["f"]
        except ValueError:  # the package refuses a text without a sentence; KILT's scorer then counts 0
            wanted = 0.0
        assert rouge_l(answer, gold) == wanted, (answer, gold)


def test_rouge_l_worked_by_hand() -> None:
    # "a c" and "b" of the gold sentences are found: 3 of its 5 distinct words, 3 of the answer's 4.
    assert rouge_l("a x c. b", "a b c. d b e") == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert rouge_l("...", "a") == rouge_l("a", "") == 0
