"""A server on 127.0.0.1 that speaks OpenAI's interface over a real model, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.models.language import Chat, Message, Sampling

CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"


class ModelServer(ThreadingHTTPServer):
    """kind: ``vllm`` echoes prompts, ``llama.cpp`` lists the likeliest next tokens only. faults: what the
    next answers are instead; window: longer prompts are refused.
    """

    daemon_threads = True

    def __init__(self, model: Any, kind: str, window: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model, self.kind, self.window = model, kind, window
        self.faults: list[str] = []
        self.lock = threading.Lock()
        self.calls: list[str] = []
        self.open = self.most_open = 0
        self.pause = 0.0  # seconds that every request is kept open

    @property
    def name(self) -> str:
        """What to give as a model."""
        return f"http://127.0.0.1:{self.server_port}/v1?timeout=5&attempts=4#tiny"


@contextmanager
def serving(model: Any, kind: str = "vllm", window: int = 512) -> Iterator[ModelServer]:
    """A running server."""
    server = ModelServer(model, kind, window)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "tiny", "max_model_len": self.server.window}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.calls.append(self.path)
            server.open += 1
            server.most_open = max(server.most_open, server.open)
            fault = server.faults.pop(0) if server.faults else ""
        time.sleep(server.pause)
        with server.lock:  # one model, one thread
            found = {} if fault else self._found(body)
            server.open -= 1  # before the client hears of it and asks for more
        if fault:
            self._misbehave(fault)
        else:
            self._answer(found, body.get("stream", False))

    def _misbehave(self, fault: str) -> None:
        if fault == "hang up":
            self.connection.close()
        elif fault in ("429", "503", "401", "400"):
            self.send_response(int(fault))
            if fault == "429":
                self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "not now"}}')
        elif fault == "malformed":
            self._raw(b'{"choices": [{"te')
        elif fault == "short":  # fewer bytes than announced
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices"')
        elif fault == "cut stream":
            self._raw(b'data: {"choices": [{"text": "half of "}]}\n\n')
        elif fault == "no choices":
            self._raw(b"{}")

    def _raw(self, data: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, found: dict[str, Any], stream: bool = False) -> None:
        if "error" in found:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())
        elif stream:
            parts = [json.dumps({"choices": [choice]}) for choice in found["choices"]]
            self._raw("".join(f"data: {part}\n\n" for part in [*parts, "[DONE]"]).encode())
        else:
            self._raw(json.dumps(found).encode())

    def _found(self, body: dict[str, Any]) -> dict[str, Any]:
        model = self.server.model
        if self.path == "/tokenize":
            return {"tokens": model.encode(body["prompt"])}
        if self.path == "/detokenize":
            return {"prompt": model.decode(body["tokens"])}
        if self.path == "/v1/chat/completions":
            text = "".join(f"[{m['role']}] {m['content']}\n" for m in body["messages"]) + "[assistant]"
            chat = Chat(tuple(Message(m["role"], m["content"]) for m in body["messages"]))
            assert chat.plain() == body["messages"]
            words, end = self._words(text, body)
            return {"choices": [{"delta": {"content": word}} for word in words] + [{"delta": {}, **end}]}
        given = body["prompt"] if isinstance(body["prompt"], list) else model.encode(body["prompt"])
        if len(given) + body["max_tokens"] > self.server.window:
            return {"error": {"message": f"maximum context length is {self.server.window} tokens"}}
        if body.get("stream"):
            words, end = self._words(body["prompt"], body)
            return {"choices": [{"text": word} for word in words] + [{"text": "", **end}]}
        return {"choices": [{"text": "", "logprobs": self._logprobs(given, body)}]}

    def _words(self, prompt: Any, body: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The answer in pieces, as a stream has them."""
        sampling = Sampling(
            body["temperature"],
            body.get("top_k", 0),
            body["top_p"],
            body["seed"],
            tuple(body.get("stop", ())),
        )
        (found,) = self.server.model.generate_many([prompt], body["max_tokens"], sampling)
        return [found.text[i : i + 3] for i in range(0, len(found.text), 3)], {"finish_reason": found.end}

    def _logprobs(self, given: list[int], body: dict[str, Any]) -> dict[str, Any]:
        import torch

        model = self.server.model
        logits = torch.from_numpy(model.next_token_logits([given])[0])
        top = logits.log_softmax(-1).topk(body["logprobs"])
        listed = {
            model.decode([int(token)]): float(value)
            for token, value in zip(top.indices, top.values, strict=True)
        }
        if not (body.get("echo") and self.server.kind == "vllm"):
            return {"content": [{"top_logprobs": [{"token": t, "logprob": v} for t, v in listed.items()]}]}
        (values,) = model.token_logprobs([(given[:1], given[1:])])
        tokens = [model.decode([token]) for token in given] + ["x"]
        starts = [0, *(len(model.decode(given[: i + 1])) for i in range(len(given)))]
        return {"tokens": tokens, "token_logprobs": [None, *values.tolist(), -1.0], "text_offset": starts}
