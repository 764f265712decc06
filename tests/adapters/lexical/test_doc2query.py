"""doc2query: drawn queries are repeatable, kept, resumed, and searched as part of their documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adapters.lexical import doc2query
from harness.errors import TouchstoneError
from harness.execute import Session
from harness.models.language import LanguageModelSpec
from harness.models.stepwise import SampleSpec, load_step_model
from harness.registry import make_adapter, parse_method
from tests.adapters.dense.test_dense import ranked
from tests.models.tiny import SENTENCES, write_language_model, write_seq2seq
from tests.needs import needs


@needs("torch")
@pytest.mark.parametrize("write", [write_seq2seq, write_language_model])
def test_samples_repeat_themselves(tmp_path: Path, write: object) -> None:
    folder = write(tmp_path / "model")  # type: ignore[operator]
    model = load_step_model(LanguageModelSpec(str(folder)))
    first = model.samples(SENTENCES, SampleSpec(3, 8))
    assert [len(texts) for texts in first] == [3] * len(SENTENCES)
    assert first == model.samples(SENTENCES, SampleSpec(3, 8))
    assert first != model.samples(SENTENCES, SampleSpec(3, 8, seed=7))
    assert len({text for texts in first for text in texts}) > 3


@needs("torch")
def test_a_window_too_small(tmp_path: Path) -> None:
    model = load_step_model(LanguageModelSpec(str(write_language_model(tmp_path / "model", 64))))
    with pytest.raises(TouchstoneError, match="cannot write 64 tokens"):
        model.samples(SENTENCES, SampleSpec(1, 64))


@needs("torch", "java")
def test_without_queries_it_is_bm25(session: Session, tmp_path: Path) -> None:
    folder = write_seq2seq(tmp_path / "model")
    plain, _ = ranked(session, "bm25-lucene")
    same, _ = ranked(session, f"doc2query(model={folder},queries=0)")
    assert np.array_equal(plain.docs, same.docs) and np.array_equal(plain.scores, same.scores)


@needs("torch", "java")
def test_expansions_are_searched_and_resumed(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_seq2seq(tmp_path / "model")
    monkeypatch.setattr(doc2query, "SHARD", 8)
    asked: list[int] = []

    class Stub:
        fail = True

        def samples(self, sources: list[str], spec: SampleSpec) -> list[list[str]]:
            asked.append(len(sources))
            if self.fail and len(asked) == 3:
                raise KeyboardInterrupt
            return [["zebra"] if "jungle" in source.lower() else [] for source in sources]

    monkeypatch.setattr(doc2query, "load_step_model", lambda _spec: Stub())
    method = f"doc2query(model={folder},queries=1)"
    with pytest.raises(KeyboardInterrupt):
        ranked(session, method)
    Stub.fail = False
    _, task = ranked(session, method)
    assert asked == [8, 8, 8, 8, 6]  # the third shard is asked for again, the first two are not
    (kept,) = (session.assets.root / "expansions").glob("*/asset.json")
    held = doc2query.ExpandedCorpus(task.corpus, kept.parent)
    texts = [text for text in held.texts(3, 30) if text.endswith(" zebra")]
    assert len(texts) == 5 and len(held.texts(3, 30)) == 27
    assert json.loads((kept.parent / "0000000000.json").read_text())[0] == []


@needs("torch", "java")
def test_mistakes() -> None:
    with pytest.raises(TouchstoneError, match="tokens=0"):
        make_adapter(parse_method("doc2query(tokens=0)")).check()
