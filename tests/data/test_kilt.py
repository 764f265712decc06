"""KILT's files: tasks, the knowledge source as pages and as passages, answers made elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.data.dataset import Source
from harness.data.kilt import KiltReader, page_of, pages_of, passages, read_answers_file
from harness.errors import TouchstoneError
from tests.needs import DATA, needs
from tests.toys import write_quest


def _reader(folder: Path, passage_words: int = 0) -> KiltReader:
    paths = {"path": str(folder / "quest.jsonl"), "corpus": str(folder / "pages.json")}
    return KiltReader(Source("kilt", passage_words=passage_words, **paths))  # type: ignore[arg-type]


@pytest.fixture
def quest(tmp_path: Path) -> Path:
    write_quest(tmp_path / "quest")
    return tmp_path / "quest"


def test_items_pages_and_judgements(quest: Path) -> None:
    reader = _reader(quest)
    last = reader.items[5]
    assert (last.answers, last.evidence) == (("lunar", "the lunar"), (("5", "4"),))
    pages = list(reader.documents())
    assert (pages[0].id, pages[0].title) == ("0", "River Bank Water")
    assert pages[0].text == "River bank water is a topic. It is about river.\nRiver came first."
    assert reader.queries()["k1"] == "What is stock market bank about?"
    judged = reader.judgements()
    assert judged.query_ids == tuple(f"k{i}" for i in range(6))
    assert len(judged.qrels.docs) == 7
    assert judged.qrels.grades.tolist() == [1] * 7


def test_numbers_and_texts_are_the_same_id_and_evidence_may_be_missing(tmp_path: Path) -> None:
    lines = [
        {"id": 7, "input": "q", "output": [{"answer": " x "}, {"answer": ""}, {"provenance": []}]},
        {"id": "8", "input": "r", "output": [{"provenance": [{"wikipedia_id": 12}, {"wikipedia_id": None}]}]},
    ]
    (tmp_path / "quest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    reader = _reader(tmp_path)
    assert [(item.id, item.answers, item.evidence) for item in reader.items] == [
        ("7", ("x",), ((),)),
        ("8", (), (("12", ""),)),
    ]
    assert (reader.judgements().query_ids, reader.judgements().doc_ids.to_pylist()) == (("7", "8"), ["12"])
    assert not reader.has_corpus()
    with pytest.raises(TouchstoneError, match="the knowledge source is not here"):
        reader.corpus_key()


GOOD = {"id": "a", "input": "q", "output": [{"answer": "x", "provenance": [{"wikipedia_id": "1"}]}]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps({**GOOD, "id": None}), "'id' is missing"),
        (json.dumps({**GOOD, "id": "b", "input": 3}), "'input' is not text"),
        (json.dumps({**GOOD, "id": "b", "output": []}), "'output' is empty"),
        (json.dumps({**GOOD, "id": "b", "output": "x"}), "'output' is missing or not a list"),
        (json.dumps({**GOOD, "id": "b", "output": [{"answer": 3}]}), "an answer is not text"),
        (json.dumps({**GOOD, "id": "b", "output": [{"provenance": 3}]}), "'provenance' is not a list"),
        (json.dumps({**GOOD, "id": "b", "output": [{"provenance": [{}]}]}), "'wikipedia_id' is missing"),
        (json.dumps(GOOD), "id 'a' comes twice.*first at .*:1"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "quest.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(TouchstoneError) as caught:
        assert _reader(tmp_path).items
    assert re.search(rf"quest.jsonl:2: .*{message}", caught.value.line)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"wikipedia_id": "1"}, "'text' is missing"),
        ({"text": []}, "'wikipedia_id' is missing"),
        ({"wikipedia_id": "1", "text": [1]}, "'text' is missing or not a list of paragraphs"),
    ],
)
def test_a_malformed_page_is_named(quest: Path, page: dict[str, object], message: str) -> None:
    with (quest / "pages.json").open("a") as pages:
        pages.write(json.dumps(page) + "\n")
    with pytest.raises(TouchstoneError, match=message) as caught:
        list(_reader(quest).documents())
    assert "pages.json:7" in caught.value.line


def test_an_input_without_words_is_named(tmp_path: Path) -> None:
    (tmp_path / "quest.jsonl").write_text(json.dumps({**GOOD, "input": " "}) + "\n")
    with pytest.raises(TouchstoneError, match="query 'a' is empty"):
        _reader(tmp_path).queries()


def test_passages_end_between_sentences_and_at_sections() -> None:
    page = [
        "",
        "One two three. Four five.",
        "Six seven.",
        "Section::::Life.",
        "Eight nine. Ten eleven twelve. A b.",
    ]
    found = passages(page, 6)
    assert [(p.first, p.last, p.text) for p in found] == [
        (1, 1, "One two three. Four five."),
        (2, 2, "Six seven."),
        (4, 4, "Eight nine. Ten eleven twelve."),
        (4, 4, "A b."),
    ]
    assert [(p.first, p.last) for p in passages(page, 8)] == [(1, 2), (4, 4)]
    assert [p.text for p in passages(["A long sentence of six words."], 3)] == [
        "A long sentence of six words."
    ]
    assert passages(["", "Section::::X.", " "], 5) == []


def test_passages_keep_their_page(quest: Path) -> None:
    found = list(_reader(quest, passage_words=6).documents())
    assert [document.id for document in found[:3]] == ["0:1-1", "0:1-1.2", "0:3-3"]
    assert [page_of(document.id) for document in found[:3]] == ["0", "0", "0"]
    assert pages_of(["3:1-1", "2:1-2", "3:4-4.2"]) == ("3", "2")
    assert len({document.id for document in found}) == len(found)
    assert _reader(quest).corpus_key() != _reader(quest, passage_words=6).corpus_key()


def test_answers_made_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "guess.jsonl"
    answer = {
        "id": 2,
        "output": [{"answer": " x ", "provenance": [{"wikipedia_id": 5}, {"wikipedia_id": "6"}]}],
    }
    path.write_text(
        "".join(json.dumps(line) + "\n" for line in (answer, {"id": 1, "output": [{"answer": "y"}]}))
    )
    texts = read_answers_file(path, ("0", "1", "2"))
    assert (texts.items.tolist(), texts.texts, texts.pages) == ([1, 2], ("y", "x"), ((), ("5", "6")))
    for second, message in (
        (answer, "item '2' is answered twice"),
        ({**answer, "id": "9"}, "the task has no item '9'"),
        ({**answer, "id": "0", "output": answer["output"] * 2}, "2 outputs for item '0'"),  # type: ignore[operator]
    ):
        path.write_text(f"{json.dumps(answer)}\n{json.dumps(second)}\n")
        with pytest.raises(TouchstoneError, match=message) as caught:
            read_answers_file(path, ("0", "1", "2"))
        assert "guess.jsonl:2" in caught.value.line


@needs("data")
@pytest.mark.parametrize(
    ("name", "items", "pages", "judged"), [("hotpotqa", 5600, 10519, 11200), ("wow", 3054, 630, 3054)]
)
def test_the_real_tasks(name: str, items: int, pages: int, judged: int) -> None:
    reader = KiltReader(Source("kilt", path=str(DATA / "kilt" / f"{name}-dev-kilt.jsonl")))
    assert len(reader.queries()) == items
    judgements = reader.judgements()
    assert (len(judgements.doc_ids), len(judgements.qrels.docs)) == (pages, judged)
    assert {len(set(item.evidence[0])) for item in reader.items} == {judged // items}
