"""Cosine Adapter: values of the families, monotone maps, and that only the set changes, never the order."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.dense.cosine_adapter import START, CosineAdapter, Settings, mapped
from harness.answers import PAD
from harness.execute import Session
from tests.adapters.dense.test_dense import ranked
from tests.needs import needs

FAMILIES = ("linear", "square-root", "quadratic", "power")


@needs("torch")
def test_values_of_the_families() -> None:
    import torch

    cosine = torch.tensor([[0.8]], dtype=torch.float64)
    unscaled = torch.tensor([[np.log(np.expm1(1.0)), 0.0, np.log(np.expm1(3.9))]])  # a 1, b 0, p 4
    values = [float(mapped(cosine, unscaled, family)) for family in FAMILIES]  # type: ignore[arg-type]
    assert values == pytest.approx([0.8, 0.8944, 0.64, 0.4096], abs=1e-4)
    start = torch.tensor([START], dtype=torch.float64)
    assert float(mapped(cosine, start, "power")) == pytest.approx(10 * 0.8 - 5)


@needs("torch")
@pytest.mark.parametrize("family", FAMILIES)
def test_any_parameters_give_an_increasing_map(family: str) -> None:
    import torch

    cosines = torch.linspace(-1, 1, 201, dtype=torch.float64)[None]
    theta = torch.randn((50, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    values = mapped(cosines.expand(50, -1), theta, family)  # type: ignore[arg-type]
    assert (values.diff(dim=1) >= 0).all()


@needs("minilm")
def test_only_the_set_changes(session: Session) -> None:
    base, task = ranked(session, "dense(similarity=cosine)")
    few = "epochs=2,batch=2,folds=3,hard=5,random=5"
    for mapping in ("power", "linear", "raw", "rank", "z-score", "min-max", "platt"):
        answers, _ = ranked(session, f"cosine-adapter({few},mapping={mapping})")
        scores = CosineAdapter(Settings(folds=3)).score(task, answers)
        assert np.array_equal(scores.values[:, : len(task.spec.measures)], task.score(base).values)
        assert {"SetP", "SetR", "SetF", "Kept", "Null", "PR-AUC", "P@R95"} <= set(scores.measures)
        assert 0 < scores.column("Kept").mean() <= 1
    whole, _ = ranked(session, f"cosine-adapter({few},mapping=raw)")
    cut, _ = ranked(session, f"cosine-adapter({few},mapping=raw,filtered=true)")
    assert ((whole.docs != PAD) & (whole.scores >= 0)).sum() == (cut.docs != PAD).sum()
    assert (cut.scores[cut.docs != PAD] >= 0).all()


@needs("minilm")
def test_no_threshold_keeps_all_and_an_endless_one_none(session: Session) -> None:
    answers, task = ranked(session, "cosine-adapter(mapping=raw,folds=3)")
    adapter = CosineAdapter(Settings(folds=3))
    shares = []
    for shift in (9.0, 0.1, 0.0, -0.1, -9.0):
        moved = type(answers)(answers.items, answers.docs, answers.scores + np.float32(shift))
        scores = adapter.score(task, moved)
        shares.append(scores.column("Kept").mean())
    assert shares[0] == 1.0 and shares[-1] == 0.0 and shares == sorted(shares, reverse=True)
    assert scores.column("Null").mean() == 1.0 and scores.column("SetP").mean() == 0.0


@needs("minilm")
def test_one_map_for_all_queries_has_the_raw_pr_auc(session: Session) -> None:
    few = "epochs=3,batch=2,folds=3,hard=5,random=5"
    found = {}
    for mapping in ("platt", "raw"):
        answers, task = ranked(session, f"cosine-adapter({few},mapping={mapping})")
        found[mapping] = CosineAdapter(Settings(folds=3)).score(task, answers).column("PR-AUC").mean()
    assert found["platt"] == pytest.approx(found["raw"], abs=1e-6)
