"""Collections in TREC's text format: tags in any case, open or closed, and the two real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.assets import Assets
from harness.catalog import Catalog, shipped
from harness.data.dataset import Source
from harness.data.trec_text import TrecTextReader
from harness.errors import TouchstoneError
from harness.tasks.load import load_task
from harness.tasks.rank import RankTask
from tests.needs import needs

DOCUMENTS = """\
<DOC>
<DOCNO>A-1</DOCNO>
two  lines
of text
</DOC>
<doc>
<docno> b </docno> <title>The
title</title><author>nobody</author>
<text>a < b and
</text><text>more</text></doc>
"""
TOPICS = """\
<top>
<num> Number: 301
<title> Topic: organised crime
<desc> Description:
Who?
</top>

<top><num>7</num><title>
plain words
</title></top>
"""


def _reader(folder: Path, documents: str = DOCUMENTS, topics: str = TOPICS) -> TrecTextReader:
    (folder / "docs").write_text(documents)
    (folder / "topics").write_text(topics)
    return TrecTextReader(Source("trec", corpus=str(folder / "docs"), queries=str(folder / "topics")))


def test_documents_with_and_without_a_text_tag(tmp_path: Path) -> None:
    first, second = _reader(tmp_path).documents()
    assert first == ("A-1", "", "two lines of text", f"{tmp_path / 'docs'}:1")
    assert second == ("b", "The title", "a < b and more", f"{tmp_path / 'docs'}:6")


def test_topics_by_number_or_by_position(tmp_path: Path) -> None:
    reader = _reader(tmp_path)
    assert reader.queries() == {"301": "organised crime", "7": "plain words"}
    by_position = TrecTextReader(replace(reader.source, topics="by_position"))
    assert by_position.queries() == {"1": "organised crime", "2": "plain words"}


@pytest.mark.parametrize(
    ("documents", "line", "what"),
    [
        ("<doc>\n<docno>1</docno>\n", 1, "not closed"),
        ("<doc>\n<docno>1</docno>\n<doc>\n</doc>\n", 1, "not closed"),
        ("\n<doc>\n<docno> </docno>x\n</doc>\n", 2, "missing or empty"),
        ("<doc>\nno number\n</doc>\n", 1, "missing or empty"),
    ],
)
def test_malformed_documents_are_errors(tmp_path: Path, documents: str, line: int, what: str) -> None:
    with pytest.raises(TouchstoneError, match=what) as caught:
        list(_reader(tmp_path, documents).documents())
    assert caught.value.where.endswith(f"docs:{line}")


@needs("data")
@pytest.mark.parametrize(
    ("name", "query", "text", "document"),
    [
        ("vaswani", ("1", "MEASUREMENT OF DIELECTRIC CONSTANT"), "compact memories have flexible", "1"),
        ("cranfield", ("225", "what design factors can be used"), "experimental investigation of", "1"),
    ],
)
def test_the_real_collections(
    tmp_path: Path, name: str, query: tuple[str, str], text: str, document: str
) -> None:
    catalog = Catalog([shipped("suites")])
    spec = catalog.task(f"classic/{name}")
    task = load_task(spec, catalog.dataset(spec.dataset), Assets(tmp_path))  # checks the counts
    assert isinstance(task, RankTask)
    assert dict(zip(task.item_ids, task.queries(), strict=True))[query[0]].startswith(query[1])
    (number,) = task.corpus.find([document])
    assert task.corpus.texts(number, number + 1)[0].startswith(text)
