"""Encoders of learned-sparse retrieval: texts to weights of the vocabulary's terms.

Two heads. ``mlm``: w_t = max over positions of log(1 + ReLU(logit_t)) of a masked language model (SPLADE,
Formal et al. 2021, equation 6 of v2). ``impact``: one weight a token, ReLU(w h + b), of which a term's
largest counts (uniCOIL, Lin and Ma 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.meter import package_version
from harness.models.batching import (
    TOKENISE_AT_ONCE,
    BatchLimits,
    Longs,
    Ragged,
    batch_limits,
    prepare_torch,
    run_batches,
    to_device,
    torch_device_type,
)
from harness.models.profile import Role, own_length, position_limit
from harness.models.source import (
    ModelFiles,
    Precision,
    find_model,
    from_folder,
    library_identity,
    read_weights,
    require_neural,
)
from harness.sparse import SparseRows
from harness.spec import Json

if TYPE_CHECKING:
    import torch

CODE_VERSION = 1  # raise when a change here can move a weight
WHO = "the sparse encoder"
MOST_TOKENS = 16_384  # of a batch: each has a logit for every term
START_TERMS = 200  # of a text, after a missing head was fitted


@dataclass(frozen=True)
class TermSpec:
    """precision: that of products; parameters are fp32 either way, for training's sake.

    max_length: tokens a text is cut at, 0 as the model says. logs: how often log(1 + x) is applied, 2 in
    models trained with an L0 mask. special_terms: whether [CLS] and its kind may have weights.
    """

    model: str
    head: Literal["mlm", "impact"] = "mlm"
    revision: str = ""
    precision: Precision = "fp32"
    max_length: int = 0
    logs: int = 1
    special_terms: bool = True
    device: str = "cpu"


def term_identity(spec: TermSpec) -> dict[str, Json]:
    """What the weights depend on besides the kind of device. Loads no torch and no weights."""
    files = find_model(spec.model, spec.revision, WHO)
    told = {name: value for name, value in asdict(spec).items() if name != "device"}
    versions = {**library_identity(), "tokenizers": package_version("tokenizers")}
    known = {"model": files.name, "revision": files.revision, "max_length": text_length(spec)}
    return {**told, **known, **versions, "code": CODE_VERSION}


def has_head(spec: TermSpec) -> bool:
    """Whether the checkpoint brings the head that *spec* asks for."""
    files = find_model(spec.model, spec.revision, WHO)
    if spec.head == "impact":
        return bool(read_weights(files.folder, "tok_proj."))
    listed = files.read_json("config.json").get("architectures")
    return any(str(name).endswith("ForMaskedLM") for name in (listed if isinstance(listed, list) else ()))


def text_length(spec: TermSpec) -> int:
    """Tokens a text is cut at."""
    files = find_model(spec.model, spec.revision, WHO)
    most = position_limit(files)
    return min(value for value in (spec.max_length or own_length(files), most or 512) if value)


class TermTokenizer:
    """Texts to the term numbers of a model; all that is needed of it where queries take no inference."""

    def __init__(self, spec: TermSpec) -> None:
        from transformers import AutoTokenizer

        files = find_model(spec.model, spec.revision, WHO)
        self._tokenizer: Any = from_folder(AutoTokenizer, files.folder)
        self._length = text_length(spec)
        self.special = frozenset(int(token) for token in self._tokenizer.all_special_ids)
        self.pad = int(self._tokenizer.pad_token_id or 0)

    def __len__(self) -> int:
        """Size of the vocabulary."""
        return len(self._tokenizer)

    def tokens(self, texts: Sequence[str], length: int = 0) -> list[list[int]]:
        """Term numbers with the special tokens, cut at *length*, 0 for the model's."""
        rows: list[list[int]] = []
        for start in range(0, len(texts), TOKENISE_AT_ONCE):
            encoded = self._tokenizer(
                [text.strip() for text in texts[start : start + TOKENISE_AT_ONCE]],
                truncation=True,
                max_length=min(length, self._length) if length else self._length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            rows += encoded["input_ids"]
        return rows

    def number(self, term: str) -> int | None:
        """The number of a term, None where it is none."""
        found: int | None = self._tokenizer.get_vocab().get(term)
        return found


class TermEncoder:
    """A model with its head. module: what has weights, for training; the encoder uses them as they are."""

    def __init__(self, spec: TermSpec) -> None:
        import torch

        require_neural(WHO)
        prepare_torch()
        files = find_model(spec.model, spec.revision, WHO)
        self.spec, self.tokenizer = spec, TermTokenizer(spec)
        self._bare = spec.head == "impact" or not has_head(spec)
        network: Any = _network(files, spec, self._bare)
        self.module = network.to(device=spec.device, dtype=torch.float32).eval()
        self.terms = int(self.module["model"].config.vocab_size)
        kept = torch.ones(self.terms)
        kept[[] if spec.special_terms else sorted(self.tokenizer.special)] = 0.0
        self._kept = kept.to(spec.device)
        limits = batch_limits(spec.device)
        self._limits = BatchLimits(min(limits.tokens, MOST_TOKENS), limits.rows)
        self._threads = torch.get_num_threads() if torch_device_type(spec.device) == "cpu" else 1

    def encode(self, texts: Sequence[str], role: Role = "document", top: int = 0) -> SparseRows:
        """The terms with a weight above 0 of each text; with *top* only that many, and those tied with the
        last of them.
        """
        import torch

        tokens = Ragged.of(self.tokenizer.tokens(texts))
        found = [SparseRows.of([])] * len(texts)

        def run(rows: Longs) -> None:
            with torch.inference_mode():
                weights = self.weights(*self.batch(tokens, rows), role)
                if 0 < top < self.terms:
                    least = weights.topk(top, dim=1).values[:, -1:]
                    weights = torch.where(weights >= least, weights, 0.0)
            block = weights.cpu().numpy()
            for place, row in enumerate(rows.tolist()):
                found[row] = SparseRows.from_dense(block[place : place + 1])

        run_batches(tokens.lengths, self._limits, run, None, max(1, min(self._threads, len(texts))))
        return SparseRows.concatenate(found) if found else SparseRows.of([])

    def batch(self, tokens: Ragged, rows: Longs) -> tuple[torch.Tensor, torch.Tensor]:
        """(term numbers, mask), both int64[len(rows), longest], on the encoder's device."""
        ids, mask = tokens.padded(rows, self.tokenizer.pad)
        inputs = to_device({"ids": ids, "mask": mask}, self.spec.device)
        return inputs["ids"], inputs["mask"]

    def weights(self, ids: torch.Tensor, mask: torch.Tensor, role: Role = "document") -> torch.Tensor:
        """float32[n, terms] >= 0, with a gradient. A token that a query repeats counts each time under the
        impact head; in a document, as under the other head, the largest of a term's weights counts.
        """
        import torch

        kind, bf16 = torch_device_type(self.spec.device), self.spec.precision == "bf16"
        if self.spec.head == "impact":
            with torch.autocast(kind, torch.bfloat16, enabled=bf16):
                values = torch.relu(self.module["impact"](self.states(ids, mask)))
            values = values.squeeze(-1).float() * mask
            empty = values.new_zeros(len(ids), self.terms)
            found = empty.scatter_reduce(1, ids, values, "sum" if role == "query" else "amax")
        else:
            with torch.autocast(kind, torch.bfloat16, enabled=bf16):
                logits = self.logits(ids, mask)
            largest = logits.masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1)
            found = torch.relu(largest.float())
            for _ in range(self.spec.logs):
                found = torch.log1p(found)
        return found * self._kept

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[n, length, dimensions]: the last layer of the bare encoder."""
        found: torch.Tensor = self.module["model"](input_ids=ids, attention_mask=mask).last_hidden_state
        return found

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[n, length, terms]: of the masked language model, or of states times word embeddings."""
        import torch

        if not self._bare:
            found: torch.Tensor = self.module["model"](input_ids=ids, attention_mask=mask).logits
            return found
        head: Any = self.module["head"]
        words = self.module["model"].get_input_embeddings().weight
        return torch.nn.functional.linear(head["dense"](self.states(ids, mask)), words, head["shift"]["bias"])


def _network(files: ModelFiles, spec: TermSpec, bare: bool) -> torch.nn.Module:
    """The model, and the head where the model is the encoder alone: neutral where the checkpoint has none.

    Without a masked-LM head: an identity, then word embeddings. Without an impact head: 1 for every token.
    """
    import torch
    from transformers import AutoModel, AutoModelForMaskedLM

    model = from_folder(AutoModel if bare else AutoModelForMaskedLM, files.folder)
    parts: dict[str, Any] = {"model": model}
    width = int(model.config.hidden_size)
    if spec.head == "impact":
        parts["impact"] = torch.nn.Linear(width, 1)
        neutral = {"weight": torch.zeros(1, width), "bias": torch.ones(1)}
        parts["impact"].load_state_dict(read_weights(files.folder, "tok_proj.") or neutral)
    elif bare:
        dense = torch.nn.Linear(width, width)
        dense.load_state_dict({"weight": torch.eye(width), "bias": torch.zeros(width)})
        shift = torch.nn.ParameterDict({"bias": torch.zeros(int(model.config.vocab_size))})
        parts["head"] = torch.nn.ModuleDict({"dense": dense, "shift": shift})
    return torch.nn.ModuleDict(parts)


def fit_head(encoder: TermEncoder, passages: Sequence[str], length: int) -> None:
    """Give a bare encoder a masked-LM head without training: the linear map of its states that comes nearest
    to the word embedding of the token read (ridge regression), and a shift that leaves START_TERMS terms a
    text above 0.
    """
    import torch

    tokens = Ragged.of(encoder.tokenizer.tokens(passages, length))
    words = encoder.module["model"].get_input_embeddings().weight.detach().float()
    width = words.shape[1]
    left = torch.zeros(width + 1, width + 1, dtype=torch.float64, device=words.device)
    right = torch.zeros(width + 1, width, dtype=torch.float64, device=words.device)
    batches = np.array_split(np.arange(len(passages)), max(1, len(passages) // 16))
    for rows in batches:
        ids, mask = encoder.batch(tokens, rows)
        with torch.inference_mode():
            states = encoder.states(ids, mask)[mask > 0].double()
            states = torch.cat([states, torch.ones_like(states[:, :1])], 1)
            left += states.T @ states
            right += states.T @ words[ids[mask > 0]].double()
    left += 1e-3 * left.diagonal().mean() * torch.eye(width + 1, dtype=torch.float64, device=left.device)
    solved = torch.linalg.solve(left, right).float()
    head = encoder.module["head"]
    with torch.no_grad():
        head["dense"].weight.copy_(solved[:-1].T)
        head["dense"].bias.copy_(solved[-1])
        found = []
        for rows in batches[:4]:
            ids, mask = encoder.batch(tokens, rows)
            logits = encoder.logits(ids, mask).float().masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1)
            found.append(logits.topk(min(START_TERMS, encoder.terms), dim=1).values[:, -1])
        head["shift"]["bias"].fill_(-float(torch.cat(found).mean()))


def rest_below(encoder: TermEncoder, layers: int) -> None:
    """Freeze all of the model but its last *layers* and the head."""
    import torch

    model = encoder.module["model"]
    count = int(model.config.num_hidden_layers)
    stack = next(
        part for part in model.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == count
    )
    learning = {id(value) for layer in stack[-layers:] for value in layer.parameters()}
    own = {id(value) for name, value in model.named_parameters() if name.startswith(("cls.", "vocab_"))}
    words = id(model.get_input_embeddings().weight)
    for value in model.parameters():
        value.requires_grad_(id(value) in learning or (id(value) in own and id(value) != words))
