"""SEAL's search with a model whose wishes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from adapters.generative.seal import Seal, Search, Settings
from harness.fm_index import build_fm_index

WORDS = ["</s>", "@@", "cats", "purr", "at", "night", "dogs", "bark", "loudly", "birds", "sing", "Cats"]
IDS = {word: number for number, word in enumerate(WORDS)}
PASSAGES = ["pets @@ cats purr at night", "dogs bark loudly at night", "birds sing at night", "cats bark"]


def ids(text: str) -> list[int]:
    return [IDS[word] for word in text.split() if word in IDS]


@dataclass
class Wishful:
    """Writes one text: each of its tokens has probability *sure* after the right beginning."""

    wish: list[int]
    sure: float = 0.9
    end: int = 0

    def tokens(self, text: str) -> list[int]:
        return ids(text)

    def next_logprobs(self, source: str, beginnings: Sequence[Sequence[int]]) -> np.ndarray:
        rows = np.full((len(beginnings), len(WORDS)), (1 - self.sure) / (len(WORDS) - 1), np.float32)
        for row, beginning in zip(rows, beginnings, strict=True):
            place = len(beginning)
            if place < len(self.wish) and list(beginning) == self.wish[:place]:
                row[self.wish[place]] = self.sure
            else:
                row[:] = 1 / len(WORDS)
        return np.log(rows)

    def sequence_logprobs(self, source: str, sequences: Sequence[Sequence[int]]) -> np.ndarray:
        return np.array(
            [
                sum(float(self.next_logprobs(source, [s[:i]])[0, token]) for i, token in enumerate(s))
                for s in sequences
            ]
        )


INDEX = build_fm_index([ids(text) for text in PASSAGES], 0)
PLAIN = Settings(beam=4, body_tokens=4, title_tokens=0, smoothing=0.1)


@pytest.mark.parametrize("scoring", ["intersective", "best-key", "lm"])
def test_the_passage_that_the_model_has_in_mind_comes_first(scoring: str) -> None:
    search = Search(INDEX, Wishful(ids("dogs bark loudly")), replace(PLAIN, scoring=scoring))
    docs, scores = search.ranked("who is loud", 4)
    assert docs[0] == 1
    assert (np.diff(scores) <= 0).all()


def test_everything_written_occurs_unless_unconstrained() -> None:
    wish = ids("dogs purr")  # occurs nowhere
    constrained = Search(INDEX, Wishful(wish), PLAIN)._written("q", 4, [])
    assert constrained
    assert all(INDEX.find([t for t in tokens if t]).count for tokens in constrained)
    free = Search(INDEX, Wishful(wish), replace(PLAIN, constrained=False))._written("q", 4, [])
    assert tuple(wish) in free
    assert not INDEX.find(wish).count


def test_scores_are_not_renormalised_over_what_is_allowed() -> None:
    model = Wishful(ids("dogs bark loudly"))
    search = Search(INDEX, model, PLAIN)
    steps = search._best_steps(model.next_logprobs("q", [[IDS["dogs"]]])[0], -1.0, INDEX.find([6]), 0)
    assert steps == [(pytest.approx(-1.0 + np.log(0.9)), 0, IDS["bark"])]  # the one token that follows


def test_partial_hypotheses_are_kept() -> None:
    written = Search(INDEX, Wishful(ids("birds sing at night")), PLAIN)._written("q", 4, [])
    wish = tuple(ids("birds sing at night"))
    assert {wish[:n] for n in range(1, 5)} <= written


def test_titles_begin_where_passages_begin_and_end_with_the_mark() -> None:
    titled = build_fm_index([ids("cats @@ purr at night"), ids("dogs @@ bark"), ids("cats purr")], 0)
    search = Search(titled, Wishful(ids("cats @@")), replace(PLAIN, title_tokens=4))
    assert tuple(ids("cats @@")) in search._titles("q")
    docs, _ = search.ranked("felines", 3)
    assert docs[0] == 0


def test_ngrams_of_the_query_are_keys_as_they_are_and_capitalised() -> None:
    found = Search(INDEX, Wishful([]), PLAIN)._query_ngrams("cats purr at dawn")
    assert {tuple(ids("cats purr at")), (IDS["purr"],)} <= found
    assert (IDS["Cats"],) not in found  # the corpus does not hold it


def test_a_model_with_nothing_to_say_finds_nothing() -> None:
    docs, _ = Search(INDEX, Wishful([], sure=1 / len(WORDS)), replace(PLAIN, smoothing=5.0)).ranked("x", 4)
    assert len(docs) == 0


def test_the_page_says_what_it_ran_with() -> None:
    notes = Seal(Settings(model="stories260K")).notes(None)  # type: ignore[arg-type]
    assert "stories260K" in notes[0]
    assert any("(adapted)" in note for note in notes)
