"""PromptReps' representations: hand-worked weights, what a sparse vector may hold, batches, search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.answers import Ints
from harness.errors import TouchstoneError
from harness.models.language import Chat, LanguageModel, LanguageModelSpec, Message, load_language_model
from harness.prompt_reps import PromptEncoder, PromptSpec, sparse_row
from harness.sparse import SparseRows, build_sparse, search_sparse
from tests.models.tiny import write_language_model
from tests.needs import needs

pytestmark = needs("torch")
TEXTS = ["the cat sat on a mat", "dog", "The big RED house, far-off, is small", "sky blue tree was ran"]
VARIANTS = ("token", "first-word", "multi-token", "multi-token-reps", "multi-word-reps")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> LanguageModelSpec:
    folder = write_language_model(tmp_path_factory.mktemp("lm") / "llama", window=512, family="llama")
    return LanguageModelSpec(str(folder))


@pytest.fixture(scope="module")
def model(spec: LanguageModelSpec) -> LanguageModel:
    return load_language_model(spec)


def terms(*numbers: int) -> Ints:
    return np.array(numbers, np.int32)


def test_hand_worked_weights() -> None:
    logits = np.array([3.0, -1.0, 0.002, 0.5], np.float32)
    assert sparse_row(logits, terms(0, 1, 2)) == {0: 139.0}
    assert sparse_row(logits, terms(0, 3)) == {0: 139.0, 3: 41.0}


def test_without_a_term_the_vocabularys_best_ten() -> None:
    logits = np.linspace(-1, 5, 40).astype(np.float32)
    for own in (terms(), terms(0, 1)):  # none, and none with a weight
        found = sparse_row(logits, own)
        assert sorted(found) == list(range(30, 40))


def test_at_most_128_terms_the_largest() -> None:
    logits = np.random.default_rng(0).random(400).astype(np.float32) + 1
    found = sparse_row(logits, np.arange(400, dtype=np.int32))
    assert len(found) == 128
    assert min(found.values()) >= np.sort(np.round(100 * np.log1p(logits)))[-128]


def test_a_weighted_dot_is_what_repeating_gives(tmp_path: Path) -> None:
    index = build_sparse([SparseRows.of([{5: 139, 9: 50, 11: 7}])], tmp_path)
    _, scores = search_sparse(index, SparseRows.of([{5: 2, 9: 1}]), 1)
    assert scores[0, 0] == 328
    _, repeated = search_sparse(
        index, SparseRows(np.array([0, 3]), terms(5, 5, 9), np.ones(3, np.float32)), 1
    )
    assert repeated[0, 0] == 328


@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_norms_and_support(spec: LanguageModelSpec, model: LanguageModel, variant: str) -> None:
    encoder = PromptEncoder(PromptSpec(spec, variant), model)  # type: ignore[arg-type]
    found = encoder.encode(TEXTS, "document")
    counts = np.diff(found.vectors.starts)
    assert (counts == 1).all() or (variant.endswith("reps") and (counts >= 1).all())
    np.testing.assert_allclose(np.linalg.norm(found.vectors.values, axis=1), 1, rtol=1e-5)
    for number, text in enumerate(TEXTS):
        own, weights = found.sparse.row(number)
        assert set(own.tolist()) <= set(encoder.terms(text).tolist()) or len(own) == 10
        assert (weights == np.round(weights)).all() and (weights > 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_batch_changes_nothing(spec: LanguageModelSpec, model: LanguageModel, variant: str) -> None:
    encoder = PromptEncoder(PromptSpec(spec, variant), model)  # type: ignore[arg-type]
    together = encoder.encode(TEXTS, "query")
    for number, text in enumerate(TEXTS):
        alone = encoder.encode([text], "query")
        starts = together.vectors.starts
        np.testing.assert_allclose(
            together.vectors.values[starts[number] : starts[number + 1]], alone.vectors.values, atol=1e-4
        )
        assert together.sparse.row(number)[0].tolist() == alone.sparse.row(0)[0].tolist()


def test_stop_words_go_after_lower_casing(spec: LanguageModelSpec, model: LanguageModel) -> None:
    encoder = PromptEncoder(PromptSpec(spec), model)
    assert len(encoder.terms("The OF and")) == 0
    house = set(model.encode("house"))
    assert house <= set(encoder.terms("the HOUSE.").tolist())
    assert len(encoder.encode(["the of and"], "query").sparse.row(0)[0]) <= 10


def test_the_prompt_holds_the_cut_text_between_its_parts(
    spec: LanguageModelSpec, model: LanguageModel
) -> None:
    encoder = PromptEncoder(PromptSpec(spec, text_tokens=5), model)
    ids = encoder.prompt("the cat sat on a mat and ran far", "document")
    told = model.decode(ids)
    assert told.startswith("You are an AI assistant that can understand human language.")
    assert told.endswith('The word is: "')
    assert 'Passage: "' in told and "represent the passage in a retrieval task" in told
    own = model.encode("the cat sat on a mat and ran far")[:5]
    assert f'"{model.decode(own)}"' in told
    literal = PromptEncoder(PromptSpec(spec, literal_backslash_n=False), model).prompt("x", "query")
    assert "\\n" in told and "\\n" not in model.decode(literal)


def test_what_a_block_of_features_changes(spec: LanguageModelSpec, model: LanguageModel) -> None:
    encoder = PromptEncoder(PromptSpec(spec), model)
    plain, empty = encoder.prompt("the cat", "query"), encoder.prompt("the cat", "query", "")
    assert plain == empty
    told = model.decode(encoder.prompt("the cat", "query", "Related keywords from top documents: 1) dog"))
    assert told.endswith('The word is: "')
    assert told.index("the cat") < told.index("Related keywords") < told.index("Use one word")


def test_a_window_without_room_says_so(tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "short", window=32)
    spec = LanguageModelSpec(str(folder))
    encoder = PromptEncoder(PromptSpec(spec), load_language_model(spec))
    with pytest.raises(TouchstoneError, match="no room"):
        encoder.prompt("the cat", "query")


def test_states_and_logits_equal_both_alone(model: LanguageModel) -> None:
    prompts = [model.encode(text) for text in TEXTS]
    places = [[-1], [0, -1], [2], [-2, -1]]
    both = model.states_and_logits(prompts, places)
    for (states, logits), alone, prompt, at in zip(
        both, model.hidden_states(prompts, places), prompts, places, strict=True
    ):
        np.testing.assert_allclose(states, alone, atol=1e-5)
        for row, place in zip(logits, at, strict=True):
            cut = prompt[: place % len(prompt) + 1]
            np.testing.assert_allclose(row, model.next_token_logits([cut])[0], atol=1e-4)


def test_chats_are_used_where_there_is_a_template(spec: LanguageModelSpec, model: LanguageModel) -> None:
    asked: list[Chat] = []

    class Chatty:
        max_tokens = 512
        chats = True

        def encode(self, text: str) -> list[int]:
            return model.encode(text)

        def prompt_ids(self, prompt: object) -> list[int]:
            assert isinstance(prompt, Chat)
            asked.append(prompt)
            return model.encode("".join(f"<{m.role}>{m.content}" for m in prompt.messages) + "<assistant>")

    ids = PromptEncoder(PromptSpec(spec), Chatty()).prompt("dog", "query")  # type: ignore[arg-type]
    told = model.decode(ids)
    assert told.endswith('<assistant>The word is: "') and '<user>Query: "dog"' in told
    assert asked[0].messages[0] == Message(
        "system", "You are an AI assistant that can understand human language."
    )
