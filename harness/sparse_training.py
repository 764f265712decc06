"""Training of learned-sparse encoders on a corpus alone: no query or judgement of a task is read.

Queries are documents' titles, first sentences or first words; passages are the rest of their texts.
Losses, sparsity and schedule are those of Geng et al. 2024 (arXiv 2411.04403) and of their code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from harness.adapter import Context
from harness.answers import Floats, Ints
from harness.data.corpus import Corpus
from harness.models.batching import Longs, Ragged
from harness.models.encoder import EncoderSpec, encoder_identity
from harness.models.term_encoder import (
    TermEncoder,
    TermSpec,
    TermTokenizer,
    fit_head,
    has_head,
    rest_below,
    term_identity,
)
from harness.spec import Json, digest
from harness.training import TrainSpec

if TYPE_CHECKING:
    import torch

CODE_VERSION = 1  # raise when a change here can move a trained weight
POOL = 10_000  # passages that negatives are mined from at most
EPSILON = 1e-6  # of the min-max normalisation of teachers
K1, B = 0.9, 0.4  # of the lexical teacher
START_TEXTS = 512  # passages that a missing head is fitted on


@dataclass(frozen=True)
class SparseTraining:
    """How an encoder is trained, when it is; defaults are those of the authors' code for distillation."""

    train: Annotated[
        Literal["none", "corpus"], "use the checkpoint as it is, or train it on the task's documents alone"
    ] = "none"
    pairs: Annotated[int, "documents to train on at most; 0: all"] = 0
    epochs: Annotated[int, "passes over the pairs"] = 1
    batch: Annotated[int, "queries a step"] = 12
    rate: Annotated[float, "learning rate"] = 2e-5
    negatives: Annotated[int, "hard negatives of a query, mined by BM25 over word-pieces"] = 3
    train_length: Annotated[int, "tokens a passage is cut at in training"] = 256
    layers: Annotated[int, "last layers that learn, with the head; 0: everything"] = 0
    loss: Annotated[Literal["kd", "infonce"], "distillation from teachers, or the own document first"] = "kd"
    teachers: Annotated[
        Literal["ensemble", "dense", "sparse"], "MiniLM, BM25 over word-pieces, or the mean of both"
    ] = "ensemble"
    sharpness: Annotated[float, "S: what normalised teacher scores are multiplied by"] = 30.0
    flops: Annotated[float, "lambda of the FLOPS penalty of documents, and of queries where encoded"] = 0.002
    rise: Annotated[int, "T: steps over which lambda rises quadratically"] = 200

    def train_spec(self) -> TrainSpec:
        """Of the training loop."""
        return TrainSpec(self.epochs, self.batch, self.rate, clip=1.0)


@dataclass(frozen=True)
class Pairs:
    """Query i was cut out of document docs[i] of the corpus, of which passages[i] is left."""

    docs: Ints
    queries: tuple[str, ...]
    passages: tuple[str, ...]


def corpus_pairs(corpus: Corpus, most: int = 0, seed: int = 0) -> Pairs:
    """Title and text, or first sentence and rest, of documents that have both; *most* of them, drawn.

    In a corpus that has neither titles nor ends of sentences, the first words of a text and the rest.
    """
    numbers = np.arange(len(corpus))
    limit = min(most or POOL, POOL)
    if limit < len(corpus):
        numbers = np.sort(np.random.default_rng(seed).permutation(len(corpus))[:limit])
    texts = [(number, *corpus.titles_and_texts(number, number + 1)[0]) for number in numbers.tolist()]
    found = [(number, *cut) for number, title, text in texts if (cut := cut_query(title, text))]
    if not found:
        found = [(number, *cut) for number, _, text in texts if (cut := cut_words(text))]
    docs, queries, passages = zip(*found, strict=True) if found else ((), (), ())
    return Pairs(np.array(docs, np.int32), queries, passages)


def cut_query(title: str, text: str) -> tuple[str, str] | None:
    """(query, passage): three words and eight at least, the query not the beginning of the passage.

    A sentence ends at a full stop, a question or exclamation mark, or where two spaces are.
    """
    query = " ".join(title.split())
    if not query:
        parts = re.split(r"(?<=[.!?])\s+|(?<=\S) {2,}(?=\S)", text.strip(), maxsplit=1)
        query, text = " ".join(parts[0].split()), parts[1] if len(parts) > 1 else ""
    passage = " ".join(text.split())
    if passage.lower().startswith(query.lower()):
        passage = passage[len(query) :].lstrip()
    return (query, passage) if len(query.split()) >= 3 and len(passage.split()) >= 8 else None


def cut_words(text: str) -> tuple[str, str] | None:
    """(query, passage): the first quarter of the words, three to twelve, and the rest, eight at least."""
    words = text.split()
    first = min(12, max(3, len(words) // 4))
    return (" ".join(words[:first]), " ".join(words[first:])) if len(words) >= first + 8 else None


def idf_table(rows: Sequence[Sequence[int]], terms: int) -> Floats:
    """float32[terms]: ln(1 + (N - n + 0.5) / (n + 0.5)) of N texts of which n have the term."""
    found = np.zeros(terms)
    for row in rows:
        found[list(set(row))] += 1
    return idf(found, len(rows)).astype(np.float32)


def idf(holders: npt.NDArray[np.float64], texts: int) -> npt.NDArray[np.float64]:
    """ln(1 + (N - n + 0.5) / (n + 0.5)); positive and falling in n."""
    return np.log1p((texts - holders + 0.5) / (holders + 0.5))


def normalised(scores: Floats) -> Floats:
    """Each row of float32[..., m] mapped to 0..1; a row of equal scores becomes 0."""
    low, high = scores.min(-1, keepdims=True), scores.max(-1, keepdims=True)
    found: Floats = (scores - low) / np.maximum(high - low, EPSILON)
    return found


def targets(teachers: Floats, sharpness: float) -> Floats:
    """float32[n, m]: S times the mean of the teachers' [t, n, m] normalised scores; softmax not yet taken."""
    found: Floats = (sharpness * normalised(teachers).mean(axis=0)).astype(np.float32)
    return found


def flops(weights: torch.Tensor) -> torch.Tensor:
    """sum_t (mean over texts of w_t)^2 of [texts, slots, terms], each slot by itself, then their mean."""
    return weights.mean(0).square().sum(-1).mean()


def risen(penalty: float, step: int, rise: int) -> float:
    """lambda x ((step + 1) / T)^2 up to step T, then lambda."""
    return penalty * min(1.0, (step + 1) / rise) ** 2 if rise else penalty


class SparseLearner:
    """Trains the encoder of *spec*. idf: static query weights float32[terms], None: queries are encoded."""

    def __init__(
        self, spec: TermSpec, corpus: Corpus, options: SparseTraining, table: Floats | None, context: Context
    ) -> None:
        self.spec, self.corpus, self.options, self.idf, self.context = spec, corpus, options, table, context
        self.encoder: TermEncoder | None = None

    @property
    def identity(self) -> dict[str, Json]:
        """Encoder, data, options; the TrainSpec holds the rest."""
        return learner_identity(self.spec, self.corpus, self.options, self.idf)

    @cached_property
    def pairs(self) -> Pairs:
        """What it trains on."""
        return corpus_pairs(self.corpus, self.options.pairs)

    def __len__(self) -> int:
        return len(self.pairs.docs)

    def start(self) -> torch.nn.Module:
        """The checkpoint; a masked-LM head that it lacks is fitted to give tokens back; lower layers rest."""
        import torch

        self.encoder = TermEncoder(self.spec)
        module: torch.nn.Module = self.encoder.module
        if self.spec.head == "mlm" and not has_head(self.spec):
            fit_head(self.encoder, self.pairs.passages[:START_TEXTS], self.options.train_length)
        if self.options.layers:
            rest_below(self.encoder, self.options.layers)
        module.register_buffer("step", torch.zeros((), dtype=torch.int64, device=self.spec.device))
        return module

    def loss(self, module: Any, rows: Longs) -> torch.Tensor:
        """KL(teachers, student) over a query's passages, or InfoNCE with the own one first; plus FLOPS."""
        import torch
        from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

        encoder = self.encoder
        assert encoder is not None
        held = self.candidates[rows]
        weights = encoder.weights(*encoder.batch(self._passages, held.ravel().astype(np.int64)))
        documents = weights.view(*held.shape, -1)
        step = int(module.step)
        module.step += 1
        penalty = risen(self.options.flops, step, self.options.rise)
        if self.idf is None:
            queries = encoder.weights(*encoder.batch(self._queries, rows), "query")
            sparsity = flops(documents) + flops(queries[:, None])
        else:
            queries = self._static(rows)
            sparsity = flops(documents)
        scores = torch.einsum("bt,bmt->bm", queries, documents)
        if self.options.loss == "infonce":
            own = torch.zeros(len(rows), dtype=torch.int64, device=scores.device)
            return cross_entropy(scores, own) + penalty * sparsity
        wanted = torch.from_numpy(self._targets[rows]).to(scores.device)
        taught = kl_div(log_softmax(scores, 1), softmax(wanted, 1), reduction="batchmean")
        return taught + penalty * sparsity

    def quality(self, module: Any) -> float:
        """Not used: the last epoch's weights are kept."""
        raise NotImplementedError

    def _static(self, rows: Longs) -> torch.Tensor:
        """float32[n, terms]: each distinct term of a query at its table's weight."""
        import torch

        assert self.idf is not None
        found = np.zeros((len(rows), len(self.idf)), np.float32)
        for place, row in enumerate(rows.tolist()):
            held = self._queries.values[self._queries.starts[row] : self._queries.starts[row + 1]]
            found[place, held] = self.idf[held]
        return torch.from_numpy(found).to(self.spec.device)

    @cached_property
    def _tokenizer(self) -> TermTokenizer:
        return TermTokenizer(self.spec)

    @cached_property
    def _queries(self) -> Ragged:
        return Ragged.of(self._tokenizer.tokens(self.pairs.queries, self.options.train_length))

    @cached_property
    def _passages(self) -> Ragged:
        return Ragged.of(self._tokenizer.tokens(self.pairs.passages, self.options.train_length))

    @cached_property
    def candidates(self) -> npt.NDArray[np.int32]:
        """int32[n, 1 + negatives]: passage numbers, a query's own one first."""
        return self._taught[0]

    @cached_property
    def _targets(self) -> Floats:
        chosen = {"ensemble": slice(None), "sparse": slice(0, 1), "dense": slice(1, 2)}[self.options.teachers]
        return targets(self._taught[1][chosen], self.options.sharpness)

    @cached_property
    def _taught(self) -> tuple[npt.NDArray[np.int32], Floats]:
        """(candidates, scores float32[2, n, m] of the lexical and the dense teacher), kept as an asset."""
        o = self.options
        data: dict[str, Json] = {"corpus": self.corpus.digest, "pairs": o.pairs, "length": o.train_length}
        teacher = encoder_identity(EncoderSpec(max_length=o.train_length))
        tokenizer: dict[str, Json] = {"model": self.spec.model, "revision": self.spec.revision}
        key: dict[str, Json] = {
            **data,
            "negatives": o.negatives,
            "dense": teacher,
            "terms": tokenizer,
            "code": CODE_VERSION,
        }
        asset = self.context.asset("teachers", key, self._teach)
        with np.load(asset.path / "teachers.npz") as held:
            return held["candidates"], held["scores"]

    def _teach(self, folder: Path) -> None:
        lexical = bm25_scores(self._queries, self._passages, len(self._tokenizer))
        n = len(self)
        lexical_own = lexical[np.arange(n), np.arange(n)].copy()
        lexical[np.arange(n), np.arange(n)] = -np.inf
        count = min(self.options.negatives, n - 1)
        mined = np.argsort(-lexical, axis=1, kind="stable")[:, :count]
        lexical[np.arange(n), np.arange(n)] = lexical_own
        held = np.concatenate([np.arange(n)[:, None], mined], axis=1).astype(np.int32)
        dense = self.context.encoder(
            EncoderSpec(max_length=self.options.train_length, device=self.spec.device)
        )
        told = partial(self.context.progress, "teach")
        passages = dense.encode(self.pairs.passages, "document", told)
        queries = dense.encode(self.pairs.queries, "query")
        similar = np.einsum("nd,nmd->nm", queries, passages[held])
        scores = np.stack([np.take_along_axis(lexical, held, 1), similar]).astype(np.float32)
        np.savez(folder / "teachers.npz", candidates=held, scores=scores)


def learner_identity(
    spec: TermSpec, corpus: Corpus, options: SparseTraining, table: Floats | None
) -> dict[str, Json]:
    """All that trained weights depend on besides the TrainSpec. Loads no model."""
    return {
        "encoder": term_identity(spec),
        "corpus": corpus.digest,
        "options": asdict(options),
        "idf": None if table is None else digest(table.tobytes().hex()),
        "code": CODE_VERSION,
    }


def bm25_scores(queries: Ragged, passages: Ragged, terms: int) -> Floats:
    """float32[queries, passages]: BM25 over word-pieces, special tokens and all (they are in every text)."""
    from scipy.sparse import csr_array

    def counts(rows: Ragged) -> Any:
        shape = (len(rows.lengths), terms)
        found = csr_array((np.ones(len(rows.values), np.float32), rows.values, rows.starts), shape=shape)
        found.sum_duplicates()
        return found

    held = counts(passages)
    lengths = passages.lengths
    norm = K1 * (1 - B + B * lengths / lengths.mean())
    held.data /= held.data + np.repeat(norm, np.diff(held.indptr)).astype(np.float32)
    weights = idf(np.bincount(held.indices, minlength=terms).astype(float), len(lengths))
    asked = counts(queries)
    asked.data *= weights[asked.indices].astype(np.float32)
    found: Floats = (asked @ held.T).toarray()
    return found
