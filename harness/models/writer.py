"""Writing texts token by token, many prompts at once, the keys of what was read kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.errors import TouchstoneError
from harness.models.batching import Longs, to_device
from harness.models.generation import Allowed, Doubles, Generated, Sampling, cut_at_stop, draw_keys, pick
from harness.models.network import Batch, Network, Places
from harness.models.tokenizer import Tokenizer


@dataclass
class _Text:
    """A text in the making. row: its number among the prompts."""

    row: int
    given: list[int]
    keys: Doubles
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    done: bool = False


def write_texts(
    network: Network,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    most: int,
    sampling: Sampling,
    allowed: Allowed | None,
) -> list[Generated]:
    """At most *most* tokens after each prompt, padded on the left; finished texts leave the batch.

    Keys are kept whole, also where the model looks back over a window only: the mask sees to that.
    """
    from transformers import DynamicCache

    if most < 1:
        raise TouchstoneError(f"max_new_tokens is {most}", fix="1 or more")
    texts = [_Text(row, given, draw_keys(sampling, given, most)) for row, given in enumerate(prompts)]
    width = max(len(given) for given in prompts)
    starts = np.array([width - len(given) for given in prompts])
    ids = np.stack([np.array([0] * (width - len(given)) + given, np.int64) for given in prompts])
    cache: Any = DynamicCache()
    live = np.arange(len(prompts))
    for step in range(most):
        columns = np.arange(width + step)
        mask = (columns >= starts[live, None]).astype(np.int64)
        positions = np.maximum(columns[-ids.shape[1] :] - starts[live, None], 0)
        batch = Batch(ids, mask, positions) if starts[live].any() else Batch(ids, None, positions)
        last = Places(np.arange(len(live)), np.full(len(live), ids.shape[1] - 1))
        logits = network.logits(batch, last, cache).double().cpu().numpy()
        for row, values in zip(live, logits, strict=True):
            _extend(texts[row], values, step, tokenizer, (sampling, allowed))
        going = np.array([not texts[row].done for row in live])
        if not going.any():
            break
        if not going.all():
            cache.batch_select_indices(_rows(np.flatnonzero(going), network.device))
            live = live[going]
        ids = np.array([[texts[row].ids[-1]] for row in live], np.int64)
    return [_finished(text, tokenizer, sampling) for text in texts]


def _rows(rows: Longs, device: str) -> Any:
    return to_device({"rows": rows}, device)["rows"]


def _extend(
    text: _Text, logits: Doubles, step: int, tokenizer: Tokenizer, how: tuple[Sampling, Allowed | None]
) -> None:
    """Add one token, or end the text."""
    sampling, allowed = how
    permitted = allowed(text.ids) if allowed is not None else None
    if permitted is not None and not len(permitted):
        text.done = True
        return
    token = pick(logits, sampling, float(text.keys[step]), permitted)
    text.logprob += float(logits[token] - np.logaddexp.reduce(logits))
    if token in tokenizer.stop:
        text.done = True
        return
    text.ids.append(token)
    if sampling.stop:
        text.done = cut_at_stop(_written(text, tokenizer), sampling.stop)[1]


def _written(text: _Text, tokenizer: Tokenizer) -> str:
    """What the new tokens add to the prompt's text: decoded with it, since tokens may share a space."""
    before, whole = tokenizer.decode(text.given), tokenizer.decode([*text.given, *text.ids])
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(text.ids)


def _finished(text: _Text, tokenizer: Tokenizer, sampling: Sampling) -> Generated:
    written, _ = cut_at_stop(_written(text, tokenizer), sampling.stop)
    return Generated(written, tuple(text.ids), text.logprob, "stop" if text.done else "length")
