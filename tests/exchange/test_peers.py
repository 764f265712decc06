"""mteb, lm-eval and huggingface_hub read what we write, and we read what they write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.errors import TouchstoneError
from harness.exchange.cards import to_card
from harness.exchange.lm_eval import read_lm_eval, to_lm_eval
from harness.exchange.mteb import read_mteb, write_mteb
from harness.execute import Session
from harness.record import Record
from harness.spec import Kind, TaskSpec
from tests.boards import TOY, record
from tests.needs import needs
from tests.test_execute import run
from tests.test_leaderboard import HIGH

SCIFACT = replace(TOY, name="beir/scifact", measures=("nDCG@10", "AP", "R@100", "P-x"))


@needs("mteb")
def test_mteb_loads_what_we_write(tmp_path: Path) -> None:
    from mteb.cache import ResultCache
    from mteb.results import TaskResult

    records = [record("bm25", HIGH, replace(SCIFACT, name=name)) for name in ("beir/scifact", "msmarco/dev")]
    made_with = {"made_with": {"code": "abc"}}
    records = [replace(one, provenance={**one.provenance, **made_with}) for one in records]
    paths = write_mteb(records, tmp_path)
    loaded = TaskResult.from_disk(paths[0], load_historic_data=False)
    assert loaded.task_name == "SciFact" and loaded.get_score() == pytest.approx(HIGH.mean())
    assert set(TaskResult.from_disk(paths[1]).scores) == {"dev"}
    found = ResultCache(tmp_path).load_results(include_remote=False)
    (model,) = found.model_results
    assert model.model_name == "touchstone/bm25"
    assert {one.task_name for one in model.task_results} == {"SciFact", "MSMARCO"}
    rows = read_mteb(tmp_path)
    assert {(one.task, one.measure) for one in rows} == {
        (task, measure)
        for task in ("beir/scifact", "msmarco/dev")
        for measure in ("nDCG@10", "AP@1000", "R@100")
    }
    assert {one.value for one in rows} == {HIGH.mean()} and {one.method for one in rows} == {
        "touchstone/bm25"
    }


@needs("mteb")
def test_we_read_what_mteb_writes(tmp_path: Path) -> None:
    import mteb
    from mteb.results import TaskResult

    scores = {
        "test": {
            "default": {"ndcg_at_10": 0.5, "recall_at_100": 0.75, "main_score": 0.5, "hf_subset": "default"}
        }
    }
    made = TaskResult.from_task_results(mteb.get_task("SciFact"), scores, evaluation_time=1.0)
    folder = tmp_path / "some__model" / "abc"
    folder.mkdir(parents=True)
    made.to_disk(folder / "SciFact.json")
    rows = {one.measure: one for one in read_mteb(folder / "SciFact.json")}
    assert {name: one.value for name, one in rows.items()} == {"nDCG@10": 0.5, "R@100": 0.75}
    assert rows["nDCG@10"].method == "some/model" and rows["nDCG@10"].details["revision"] == "abc"
    assert rows["nDCG@10"].task == "beir/scifact"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (record("bm25", HIGH), "MTEB has no task for toy"),
        (record("bm25", HIGH, replace(SCIFACT, measures=("AP",))), "has no nDCG@10"),
        (record("bm25", HIGH, SCIFACT, limit=3), "is not a whole finished run"),
    ],
)
def test_what_mteb_has_no_place_for(made: Record, message: str, tmp_path: Path) -> None:
    with pytest.raises(TouchstoneError, match=message):
        write_mteb([made], tmp_path)


class Fixed:
    """Log-probabilities by the place of a request, for lm-eval's LM."""

    @staticmethod
    def model() -> Any:
        from lm_eval.api.model import LM

        class Model(LM):
            def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
                return [
                    (-1.0 - (len(one.args[0]) * 7 + place * 3) % 5 / 5, False)
                    for place, one in enumerate(requests)
                ]

            def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
                raise NotImplementedError

            def generate_until(self, requests: list[Any]) -> list[str]:
                raise NotImplementedError

        return Model()


@needs("lm_eval")
def test_we_read_what_lm_eval_writes_and_score_its_samples(session: Session, tmp_path: Path) -> None:
    """lm-eval itself evaluates the toy questions as the MMLU subject of their name, and writes its files."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    task = session.task(session.catalog.task("quiz/sums"))
    data = tmp_path / "sums.jsonl"
    data.write_text(
        "".join(
            json.dumps(
                {"question": q.text, "choices": list(q.choices), "answer": q.answer, "subject": q.group}
            )
            + "\n"
            for q in task.questions
        )
    )
    config = {
        "task": "mmlu_sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}],
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sums.yaml").write_text(yaml.safe_dump(config))
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    results = lm_eval.simple_evaluate(
        model=Fixed.model(), tasks=["mmlu_sums"], num_fewshot=0, task_manager=manager, log_samples=True,
        bootstrap_iters=0,
    )  # fmt: skip
    tracker = EvaluationTracker(output_path=str(tmp_path / "out"))
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    tracker.save_results_samples(task_name="mmlu_sums", samples=samples["mmlu_sums"])

    quiz = replace(session.catalog.task("quiz/sums"), name="mmlu-0shot/sums")
    session.catalog.tasks[quiz.name] = quiz
    (row,) = read_lm_eval(tmp_path / "out", session)
    assert (row.task, row.measure, row.items) == ("mmlu-0shot/sums", "Acc", len(task.items))
    assert row.value == results["results"]["mmlu_sums"]["acc,none"]
    (kept,) = session.store.reported.find()
    assert kept.id == row.run and kept.scores["Acc"].value == pytest.approx(row.value)


@needs("lm_eval")
def test_lm_eval_prints_what_we_write(session: Session, tmp_path: Path) -> None:
    from lm_eval.utils import make_table

    records = [run(session, "oracle", "quiz/sums"), run(session, "oracle", "quiz/words")]
    body = json.loads(json.dumps(to_lm_eval(records)))
    table = make_table(body)
    assert "quiz_sums" in table and table.count("|acc") == 2 and table.count("|    1|") == 2
    path = tmp_path / "results_x.json"
    path.write_text(json.dumps(body))
    rows = read_lm_eval(path, session)
    assert {one.value for one in rows} == {1.0} and {one.method for one in rows} == {"oracle"}
    with pytest.raises(TouchstoneError, match="one method's runs"):
        to_lm_eval([record("bm25", HIGH)])


def test_the_hub_reads_our_card(session: Session) -> None:
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results

    made = run(session, "oracle")
    card = ModelCard(to_card([made], "me/my-model", session.catalog))
    (first, *_) = card.data.eval_results
    assert (first.task_type, first.dataset_type, first.metric_name) == ("text-retrieval", "toy", "nDCG@10")
    assert first.metric_value == 1.0
    index = yaml.safe_load(to_card([made], "me/my-model", session.catalog).strip("-\n"))["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "me/my-model" and len(results) == len(made.scores)
    choose = TaskSpec("quiz", Kind.CHOOSE, "quiz", ("Acc",))
    assert "multiple-choice" in to_card([record("m", np.ones(3), choose)], "m", session.catalog)
    with pytest.raises(TouchstoneError, match="no finished whole run"):
        to_card([record("bm25", None)], "m", session.catalog)
