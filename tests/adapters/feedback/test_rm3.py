"""RM3 through the task, on toy data."""

from __future__ import annotations

import pytest

from harness.answers import PAD
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.registry import make_adapter, parse_method
from tests.adapters.dense.test_dense import ranked
from tests.needs import needs


@needs("java")
def test_expansion_reaches_documents_without_the_query_terms(session: Session) -> None:
    plain, _ = ranked(session, "bm25-lucene")
    expanded, task = ranked(session, "rm3(documents=5)")
    # The toy documents of "river bank water" share "bank" with those of "stock market bank": 10 of 30 match.
    assert (plain.docs[0] != PAD).sum() <= (expanded.docs[0] != PAD).sum()
    assert (plain.scores[0] != expanded.scores[0]).any()
    assert set(expanded.docs[0, :5].tolist()) == set(task.relevant(0)[0].tolist())


@needs("java")
def test_all_weight_on_the_query_ranks_as_bm25(session: Session) -> None:
    plain, _ = ranked(session, "bm25-lucene")
    same, _ = ranked(session, "rm3(original_weight=1.0)")
    assert (plain.docs == same.docs).all()


@needs("java")
@pytest.mark.parametrize("setting", ["documents=0", "terms=0", "original_weight=1.5"])
def test_mistakes(setting: str) -> None:
    with pytest.raises(TouchstoneError, match=setting):
        make_adapter(parse_method(f"rm3({setting})")).check()
