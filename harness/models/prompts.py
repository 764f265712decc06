"""What a language model is asked: prompts as text, token ids or the messages of a chat, and continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Chat:
    """Messages in order; the model answers as the assistant. Its own template makes them a text."""

    messages: tuple[Message, ...]

    @classmethod
    def ask(cls, question: str, system: str = "") -> Chat:
        """One question of the user, after a system message when there is one."""
        head = (Message("system", system),) if system else ()
        return cls((*head, Message("user", question)))

    def plain(self) -> list[dict[str, str]]:
        """As JSON and as chat templates want it."""
        return [{"role": message.role, "content": message.content} for message in self.messages]


Prompt = str | Chat | Sequence[int]


@dataclass(frozen=True)
class Request:
    """A prompt and the continuations to compare.

    shorter: what to ask instead where the prompt does not fit the model's window, longest first (fewer
    examples). The first that fits is taken, and counted; where none does, the last one loses its beginning.
    """

    prompt: str
    continuations: tuple[str, ...]
    shorter: tuple[str, ...] = ()
