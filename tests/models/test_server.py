"""The back end over HTTP against a local server that speaks the protocol, and misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from harness.errors import TouchstoneError
from harness.models import http_client
from harness.models.http_client import Client
from harness.models.language import (
    Chat,
    LanguageModelSpec,
    Request,
    Sampling,
    TokenTrie,
    language_model_identity,
    load_language_model,
)
from harness.models.server import ServerSpec
from tests.models.model_server import ModelServer, serving
from tests.models.tiny import write_language_model
from tests.needs import needs

pytestmark = needs("torch")
PROMPTS = ["the cat sat on", "the big red house is far", "dog"]
LETTERS = (" A", " B", " C", " D")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_language_model(
        LanguageModelSpec(str(write_language_model(tmp_path_factory.mktemp("tiny") / "lm", 512)))
    )


@pytest.fixture
def server(local: Any) -> Iterator[ModelServer]:
    with serving(local) as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients would have slept."""
    slept: list[float] = []
    real = Client.__init__

    def patient(self: Client, *args: Any, **options: Any) -> None:
        real(self, *args, **{**options, "sleep": slept.append})

    monkeypatch.setattr(Client, "__init__", patient)
    return slept


def remote(server: ModelServer) -> Any:
    return load_language_model(LanguageModelSpec(server.name))


def test_echoed_logprobs_equal_the_local_model(server: ModelServer, local: Any) -> None:
    requests = [Request(prompt, (*LETTERS, " big cat", "s")) for prompt in PROMPTS]
    model = remote(server)
    for a, b in zip(model.continuation_logprobs(requests), local.plain_logprobs(requests), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    pairs = [(local.encode(prompt)[:3], local.encode(prompt)[3:]) for prompt in PROMPTS[:2]]
    for a, b in zip(model.token_logprobs(pairs), local.token_logprobs(pairs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert model.max_tokens == 512
    assert model.work.unlisted == 0


def test_a_server_that_does_not_echo_lists_the_likeliest_tokens(local: Any) -> None:
    logits = local.next_token_logits(["dog"])[0]
    best = [token for token in np.argsort(-logits) if local.decode([int(token)]).isascii()]
    listed, absent = (local.decode([int(best[place])]) for place in (0, -1))
    with serving(local, "llama.cpp") as server:
        model = remote(server)
        (found,) = model.continuation_logprobs([Request("dog", (listed, absent))])
        logprobs = logits - np.logaddexp.reduce(logits.astype(np.float64))
        assert found[0] == pytest.approx(logprobs[best[0]], abs=1e-5)
        assert found[1] == -np.inf and model.work.unlisted == 1
        with pytest.raises(TouchstoneError, match=r"no continuation is among .*; use a server that echoes"):
            model.continuation_logprobs([Request("dog", (absent,))])
        with pytest.raises(TouchstoneError, match="does not echo"):
            model.token_logprobs([([1], [2])])


def test_generation_of_texts_chats_and_ids(server: ModelServer, local: Any) -> None:
    model = remote(server)
    warm = Sampling(0.8, top_k=9, seed=3, stop=("zz",))
    assert [one.text for one in model.generate_many(PROMPTS, 8)] == [
        local.generate(prompt, 8) for prompt in PROMPTS
    ]
    assert model.generate("dog", 8, warm) == local.generate("dog", 8, warm)
    assert model.generate(Chat.ask("dog?"), 8) == local.generate("[user] dog?\n[assistant]", 8)
    assert model.generate(local.encode("dog"), 8) == local.generate("dog", 8)
    assert model.encode("the cat") == local.encode("the cat")
    assert model.decode(local.encode("the cat")) == "the cat"


@pytest.mark.parametrize("fault", ["429", "503", "hang up", "malformed", "short"])
def test_what_passes_is_tried_again(server: ModelServer, local: Any, fault: str, waits: list[float]) -> None:
    model = remote(server)
    server.faults = [fault, fault]
    (found,) = model.continuation_logprobs([Request("dog", (" A",))])
    np.testing.assert_allclose(found, local.plain_logprobs([Request("dog", (" A",))])[0], atol=1e-4)
    assert len(waits) == 2
    if fault == "429":
        assert waits == [7.0, 7.0]
    else:
        assert 0.5 <= waits[0] <= 0.75 and 1 <= waits[1] <= 1.5


def test_a_cut_stream_is_asked_for_again(server: ModelServer, local: Any) -> None:
    server.faults = ["cut stream"]
    assert remote(server).generate("dog", 8) == local.generate("dog", 8)
    assert server.calls == ["/v1/completions"] * 2


def test_what_does_not_pass_is_one_clear_error(
    server: ModelServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = remote(server)
    server.faults = ["503"] * 4
    with pytest.raises(TouchstoneError, match=r"failed 4 times .at last: 503 not now"):
        model.generate("dog", 8)
    assert len(waits) == 3
    server.faults = ["401"]
    with pytest.raises(TouchstoneError, match=r"answers 401 .not now.; set OPENAI_API_KEY"):
        model.generate("dog", 8)
    server.faults = ["no choices"]
    with pytest.raises(TouchstoneError, match="holds no choices"):
        model.continuation_logprobs([Request("dog", (" A",))])
    for ability in (
        lambda: model.hidden_states(["dog"]),
        lambda: model.next_token_logits(["dog"]),
        lambda: model.generate("dog", 4, allowed=TokenTrie.of([[1]], 0)),
        lambda: model.prompt_ids(Chat.ask("dog")),
    ):
        with pytest.raises(TouchstoneError, match="the server gives no"):
            ability()
    with pytest.raises(TouchstoneError, match=r"has no model 'huge'.*it has tiny"):
        load_language_model(LanguageModelSpec(server.name.replace("#tiny", "#huge")))


def test_a_server_that_is_not_there_or_never_answers(waits: list[float]) -> None:
    with pytest.raises(TouchstoneError, match="failed 2 times"):
        load_language_model(LanguageModelSpec("http://127.0.0.1:9/v1?attempts=2#x"))
    assert len(waits) == 1


def test_too_long_a_prompt_gives_way_to_a_shorter_one(local: Any) -> None:
    with serving(local, window=20) as server:
        model = remote(server)
        request = Request("dog " * 40, LETTERS, shorter=("dog " * 30, "dog"))
        (found,) = model.continuation_logprobs([request])
        np.testing.assert_allclose(found, local.plain_logprobs([Request("dog", LETTERS)])[0], atol=1e-4)
        assert model.shortened == 1
        with pytest.raises(TouchstoneError, match=r"answers 400 .maximum context length"):
            model.continuation_logprobs([Request("dog " * 40, LETTERS)])


def test_no_more_requests_at_once_than_agreed(server: ModelServer) -> None:
    model = load_language_model(LanguageModelSpec(server.name.replace("?", "?concurrency=3&")))
    server.pause = 0.2
    model.generate_many(PROMPTS * 5, 2)
    assert 1 < server.most_open <= 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://h/v1", "not a server"),
        ("http://h/v1?speed=2#m", "no option 'speed'"),
        ("http://h/v1?timeout=x#m", "timeout is 'x'"),
        ("http://h/v1?attempts=0#m", "not a server"),
    ],
)
def test_malformed_names(text: str, message: str) -> None:
    with pytest.raises(TouchstoneError, match=message):
        ServerSpec.parse(text)


def test_identity_and_retry_after() -> None:
    spec = LanguageModelSpec("https://h:1/v1/?concurrency=2#org/m", revision="r1")
    assert ServerSpec.parse(spec.model) == ServerSpec("https://h:1/v1", "org/m", concurrency=2)
    identity = language_model_identity(spec)
    assert (identity["model"], identity["server"], identity["revision"]) == ("org/m", "https://h:1/v1", "r1")
    assert http_client._seconds("3") == 3
    assert http_client._seconds("soon") is None
    assert http_client._seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
