"""Log-probabilities of tokens: shared beginnings once, the rest in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.models.batching import BatchLimits, Longs, Progress, Ragged, batch_limits, run_batches, to_device
from harness.models.kept_keys import Past, lending_cache, taken
from harness.models.memory import fitting_limits
from harness.models.network import Batch, Network, Places
from harness.models.trie import Node, Questions, plan_alone, plan_shared
from harness.modes import mode

Doubles = npt.NDArray[np.float64]
Pair = tuple[Sequence[int], Sequence[int]]


@dataclass
class Work:
    """What scoring took. computed: tokens that went through the model; given: tokens of all pairs together;
    halved: how often a batch was too large for memory; unlisted: continuations that a server that does not
    echo prompts did not name among the likeliest.
    """

    computed: int = 0
    given: int = 0
    halved: int = 0
    unlisted: int = 0


def plain_logprobs(network: Network, pairs: Sequence[Pair]) -> list[Doubles]:
    """float64[targets] of each (context, targets), each text whole and alone: the fast path must equal it."""
    found = []
    for context, targets in pairs:
        ids = np.array([[*context, *targets[:-1]]], np.int64)
        columns = np.arange(len(context) - 1, ids.shape[1])
        places = Places(np.zeros(len(columns), np.int64), columns)
        tokens = np.asarray(targets, np.int64)
        found.append(_values(network, Batch(ids), places, tokens) if len(tokens) else np.empty(0))
    return found


def score_pairs(
    network: Network, pairs: Sequence[Pair], work: Work, progress: Progress | None = None
) -> list[Doubles]:
    """The same as ``plain_logprobs``, equal inputs and shared beginnings computed once."""
    rows: dict[tuple[int, ...], int] = {}
    asked: list[tuple[int, int, int]] = []  # (input row, position of the prediction, predicted token)
    ends: list[int] = []  # where each pair's tokens end in asked
    for context, targets in pairs:
        ids = (*context, *targets[:-1])
        row = rows.setdefault(ids, len(rows)) if targets else -1
        asked += [(row, len(context) - 1 + i, token) for i, token in enumerate(targets)]
        ends.append(len(asked))
        work.given += len(ids) if targets else 0
    inputs = Ragged.of(rows)
    questions = Questions.of(np.array(asked, np.int64).reshape(-1, 3), len(rows))
    sharing = network.reuses_keys and not mode().single_rows
    nodes = plan_shared(inputs) if sharing else plan_alone(inputs)
    walk = _Walk(network, inputs, questions, np.empty(len(asked)), work, progress)
    walk.total = sum(node.tokens for node in nodes)
    walk.run(nodes, Past())
    return np.split(walk.found, ends)[:-1]


@dataclass
class _Walk:
    """One pass over a tree: parents before children, batches over all children of a batch."""

    network: Network
    inputs: Ragged
    questions: Questions
    found: Doubles
    work: Work
    progress: Progress | None
    total: int = 0
    done: int = field(default=0, init=False)

    def run(self, nodes: Sequence[Node], past: Past) -> None:
        """Answer what is asked in *nodes* and below them; ``past`` has a row for each node."""
        lengths = np.array([node.stop - node.start for node in nodes], np.int64)
        scored = sum(len(node.asked(self.questions)) for node in nodes)
        limits = fitting_limits(
            batch_limits(self.network.device), self.network, past.width, scored / max(1, int(lengths.sum()))
        )
        for part in self._parts(nodes, lengths):
            self._batches(nodes, part, lengths, past, limits)

    def _batches(
        self, nodes: Sequence[Node], part: Longs, lengths: Longs, past: Past, limits: BatchLimits
    ) -> None:
        def batch(rows: Longs) -> None:
            chosen = part[rows]
            self._batch([nodes[node] for node in chosen], past.select(chosen))

        halved = run_batches(lengths[part], limits, batch, None)
        self.work.halved += halved  # after the call, which adds those of the children

    def _parts(self, nodes: Sequence[Node], lengths: Longs) -> list[Longs]:
        """Nodes that may share a batch. A model that looks back over a window counts padding as tokens: where
        the window is shorter than the texts, nodes with children are put together by equal length.
        """
        window = self.network.window
        every = np.arange(len(nodes))
        if not window or int(self.inputs.lengths.max(initial=0)) <= window:
            return [every]
        inner = np.array([bool(node.children) for node in nodes])
        groups = [every[inner & (lengths == length)] for length in np.unique(lengths[inner])]
        return [group for group in (*groups, every[~inner]) if len(group)]

    def _batch(self, nodes: Sequence[Node], past: Past) -> None:
        starts = np.array([self.inputs.starts[node.row] + node.start for node in nodes])
        widths = np.array([node.stop - node.start for node in nodes])
        columns = np.arange(int(widths.max()))
        own = (columns < widths[:, None]).astype(np.int64)
        ids = np.where(
            own, self.inputs.values[np.minimum(starts[:, None] + columns, len(self.inputs.values) - 1)], 0
        )
        children = [child for node in nodes for child in node.children]
        cache = None
        if children or past.stretches:
            cache = lending_cache(past, self.network.layers, self.network.device)
        mask = np.concatenate([past.mask(len(nodes)), own], axis=1)
        positions = np.array([node.start for node in nodes])[:, None] + columns
        batch = Batch(
            ids.astype(np.int64), None if mask.all() else mask, positions if cache is not None else None
        )
        self._answer(nodes, batch, cache)
        self.work.computed += int(widths.sum())
        self.done += int(widths.sum())
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)
        if children:
            parents = np.repeat(np.arange(len(nodes)), [len(node.children) for node in nodes])
            self.run(children, past.extended(taken(cache, own), parents))

    def _answer(self, nodes: Sequence[Node], batch: Batch, cache: object) -> None:
        numbers = [node.asked(self.questions) for node in nodes]
        owner = np.repeat(np.arange(len(nodes)), [len(part) for part in numbers])
        picked = np.concatenate(numbers)
        starts = np.array([node.start for node in nodes])
        # Several tokens asked at one place (the letters of a choice) share its logits.
        at = np.stack([owner, self.questions.position[picked] - starts[owner]], axis=1)
        places, which = np.unique(at, axis=0, return_inverse=True)
        read = Places(places[:, 0].copy(), places[:, 1].copy())
        values = _values(self.network, batch, read, self.questions.token[picked], cache, which.reshape(-1))
        self.found[self.questions.slot[picked]] = values


def _values(
    network: Network,
    batch: Batch,
    places: Places,
    tokens: Longs,
    cache: object = None,
    which: Longs | None = None,
) -> Doubles:
    """float64[n]: the log-probability of ``tokens[i]`` after place ``which[i]`` (by default, place i)."""
    which = np.arange(len(tokens)) if which is None else which
    logits = network.logits(batch, places, cache)
    picks = to_device({"which": which, "tokens": tokens.copy()}, str(logits.device))
    normaliser = logits.logsumexp(dim=-1)
    values: Doubles = (
        (logits[picks["which"], picks["tokens"]] - normaliser[picks["which"]]).double().cpu().numpy()
    )
    return values
