from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.joint import JointEncoder, _common, _cuts
from harness.models.prompts import Request
from harness.models.source import ModelFiles
from harness.models.tokenizer import FolderTokenizer, shared_prefix
from tests.models.tiny import write_byte_pairs
from tests.needs import needs

pytestmark = needs("torch")
HEAD = "The following are questions.\n\nthe cat sat on  a mat?\nA. big\nB. small\nAnswer: A\n\n" * 4
PIECES = st.sampled_from(["the cat", " sat", "\n\n", "  ", " ", "dog", "Answer:", "\n", "é", "?", "12", ""])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> FolderTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_byte_pairs(folder)
    return FolderTokenizer(ModelFiles("tiny", "", folder))


def whole(tokenizer: FolderTokenizer, request: Request) -> list[tuple[list[int], list[int]]]:
    """Every text tokenised by itself."""
    prompt, found = tokenizer.encode(request.prompt), []
    for text in request.continuations:
        ids = tokenizer.encode(request.prompt + text)
        shared = shared_prefix(prompt, ids)
        found.append((ids[:shared], ids[shared:]))
    return found


@given(
    st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=5), st.lists(PIECES, max_size=3)
)
@settings(max_examples=150, deadline=None)
def test_joined_tokens_equal_the_whole_texts(
    tokenizer: FolderTokenizer, questions: list[str], continuations: list[str]
) -> None:
    encoder = JointEncoder(tokenizer)
    requests = [Request(HEAD + question, tuple(continuations)) for question in questions]
    requests.append(Request(questions[0], tuple(continuations)))
    assert encoder.pairs(requests) == [whole(tokenizer, request) for request in requests]
    assert encoder._joins


def test_a_shared_beginning_is_tokenised_once(
    tokenizer: FolderTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    many = tokenizer.encode_many

    def counted(texts: list[str], start: bool) -> list[list[int]]:
        seen.extend(texts)
        return many(texts, start)

    monkeypatch.setattr(tokenizer, "encode_many", counted)
    requests = [Request(f"{HEAD}the dog {i} is\nAnswer:", (" A", " B")) for i in range(20)]
    JointEncoder(tokenizer).pairs(requests)
    assert sum(map(len, seen)) < 0.25 * sum(len(request.prompt) for request in requests)


def test_a_tokenizer_that_joins_words_is_given_whole_texts(tokenizer: FolderTokenizer) -> None:
    """A tokenizer that claims to split words and does not is found out by the comparison."""

    class Greedy:
        splits_words, start, stop = True, 0, frozenset({0})

        def encode(self, text: str) -> list[int]:
            return [1, *self.encode_many([text], False)[0]]

        def encode_many(self, texts: list[str], start: bool) -> list[list[int]]:
            """Seven letters a token, counted from the front."""
            return [[1] * start + [hash(text[i : i + 7]) for i in range(0, len(text), 7)] for text in texts]

    encoder = JointEncoder(Greedy())  # type: ignore[arg-type]
    requests = [Request(f"{HEAD} the {'x' * i} is\nAnswer:", (" A",)) for i in range(5)]
    found = encoder.pairs(requests)
    assert not encoder._joins
    assert found == [whole(Greedy(), request) for request in requests]  # type: ignore[arg-type]


def test_cuts_give_the_text_back() -> None:
    prompts = [f"{HEAD}the dog {i} is\nAnswer:" for i in range(3)] + ["short one", "", HEAD]
    cuts = _cuts(prompts)
    assert ["".join((cut.head, cut.middle, cut.end)) for cut in cuts] == prompts
    assert cuts[0].head == cuts[1].head != ""
    assert cuts[3].head == ""


@pytest.mark.parametrize(("a", "b", "n"), [("", "", 0), ("abc", "abd", 2), ("abc", "abc", 3), ("a", "b", 0)])
def test_common(a: str, b: str, n: int) -> None:
    assert _common(a, b) == n


def test_special_tokens_stay_in_front(tmp_path: Path) -> None:
    from tokenizers import processors

    write_byte_pairs(tmp_path)
    plain = FolderTokenizer(ModelFiles("tiny", "", tmp_path))
    plain._tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 0)]
    )
    requests = [Request(f"{HEAD}the dog {i} is\nAnswer:", (" A", " B")) for i in range(3)]
    pairs = JointEncoder(plain).pairs(requests)
    assert pairs == [whole(plain, request) for request in requests]
    assert all(context[0] == 0 and 0 not in context[1:] for row in pairs for context, _ in row)
