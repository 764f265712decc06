from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.dense.dense import Dense
from harness.answers import Rankings
from harness.dense import DenseSettings
from harness.execute import Session, read_answers
from harness.models.encoder import EncoderSpec, load_encoder
from harness.registry import parse_method
from harness.spec import RunSpec
from harness.tasks.rank import RankTask
from tests.models.tiny import write_encoder
from tests.needs import needs
from tests.test_execute import quiet

pytestmark = needs("torch")


def ranked(session: Session, method: str) -> tuple[Rankings, RankTask]:
    """The answers of a run on the toy task."""
    planned = session.plan(RunSpec(parse_method(method), session.catalog.task("toy")))
    answers = read_answers(session.answers(planned, quiet).path)
    assert isinstance(answers, Rankings)
    assert isinstance(planned.task, RankTask)
    return answers, planned.task


@pytest.mark.parametrize(
    "settings, spec",
    [
        ("", {}),
        (",similarity=cosine", {"normalise": "yes"}),
        (",query_prompt=the cat ,pooling=cls", {"query_prompt": "the cat", "pooling": "cls"}),
    ],
)
def test_all_documents_are_scored_by_their_vectors(
    session: Session, tmp_path: Path, settings: str, spec: dict[str, Any]
) -> None:
    folder = write_encoder(tmp_path / "encoder")
    answers, task = ranked(session, f"dense(model={folder}{settings})")
    encoder = load_encoder(EncoderSpec(str(folder), **spec))
    documents = encoder.encode(task.corpus.texts(0, len(task.corpus)), "document")
    every = encoder.encode(task.queries(), "query") @ documents.T
    np.testing.assert_allclose(answers.scores, -np.sort(-every, axis=1)[:, :10], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(every, answers.docs, 1), answers.scores, atol=1e-5)


@needs("minilm")
def test_minilm_finds_the_topic(session: Session) -> None:
    run = RunSpec(parse_method("dense"), session.catalog.task("toy"))
    record = session.execute(session.plan(run), quiet)
    assert record.scores["R@5"].value > 0.9
    assert {"index", "search"} <= set(record.cost.phases)


@needs("minilm")
def test_what_it_is_made_with_names_the_model_and_loads_no_torch() -> None:
    code = (
        "import sys, json; from adapters.dense.dense import Dense; "
        "print(json.dumps(Dense().made_with())); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["encoder"]["model"] == "all-MiniLM-L6-v2"
    cut = Dense(DenseSettings(max_length=128)).made_with()["encoder"]
    assert isinstance(cut, dict)
    assert cut["max_length"] == 128
    assert Dense(DenseSettings(max_length=128)).made_with() != Dense().made_with()


@needs("minilm")
def test_need_is_arithmetic(session: Session) -> None:
    task = session.task(session.catalog.task("toy"))
    need = Dense().need(task)
    assert need.bytes > need.device_bytes > 90_000_000
