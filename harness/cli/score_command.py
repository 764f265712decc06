"""``touchstone score``: a stored run again, or a TREC run file or KILT answers made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import results_option
from harness.errors import TouchstoneError

if TYPE_CHECKING:
    from harness.scores import Scores

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "AP", "R@1000")


@click.command("score")
@click.argument("what")
@click.option("--task", help="Score a run file against this task's judgements and measures.")
@click.option("--qrels", type=click.Path(path_type=Path), help="Score a run file against a judgement file.")
@click.option(
    "--measure", "measures", multiple=True, help="nDCG@10, 'RR(rel=2)@10', AP, R@100, ...; repeat for more."
)
@click.option(
    "--per-item", type=click.Path(path_type=Path), help="Also write per-query scores here (.csv or .parquet)."
)
@results_option
def command(
    what: str,
    task: str | None,
    qrels: Path | None,
    measures: tuple[str, ...],
    per_item: Path | None,
    results: Path,
) -> None:
    """Score WHAT: a TREC run file made elsewhere (with --task or --qrels), or a stored run by its id.

    For a task that asks for written answers, WHAT is a file in KILT's form: a JSON object a line, with id and
    output. The mean is over all judged queries; a query that the run misses counts 0 and is counted.
    """
    if task and qrels:
        raise TouchstoneError("--task and --qrels are both given", fix="give one of them")
    if task and _is_written(task):
        names, scores, published = _score_texts(Path(what), task, measures)
    elif task or qrels:
        names, scores, published = _score_file(Path(what), task, qrels, measures)
    else:
        names, scores, published = _rescore(what, results)
    _print(what, scores, published)
    if per_item:
        _write(per_item, names, scores)


def _is_written(task: str) -> bool:
    from harness.catalog import Catalog
    from harness.spec import Kind

    return Catalog().task(task).kind is Kind.GENERATE


def _score_texts(
    path: Path, name: str, measures: tuple[str, ...]
) -> tuple[list[str], Scores, dict[str, str]]:
    from dataclasses import replace

    from harness.catalog import Catalog
    from harness.data.kilt import read_answers_file
    from harness.tasks.load import load_written

    catalog = Catalog()
    spec = catalog.task(name)
    task = load_written(replace(spec, measures=measures or spec.measures), catalog.dataset(spec.dataset))
    published = {number.measure: f"{number.value:.4f} {number.method}" for number in spec.published}
    scores = task.score(read_answers_file(path, task.item_ids))
    return list(task.item_ids), scores, published


def _score_file(
    path: Path, task_name: str | None, qrels: Path | None, measures: tuple[str, ...]
) -> tuple[list[str], Scores, dict[str, str]]:
    from harness.catalog import Catalog
    from harness.exchange.trec import score_run
    from harness.kilt_scores import Evidence
    from harness.tasks.load import load_evidence, load_judgements
    from harness.trec import read_qrels, read_run

    published: dict[str, str] = {}
    evidence: tuple[Evidence, ...] | None = None
    if task_name:
        catalog = Catalog()
        task = catalog.task(task_name)
        judged = load_judgements(catalog.dataset(task.dataset))
        evidence, wanted = load_evidence(catalog.dataset(task.dataset)), measures or task.measures
        for number in task.published:
            published[number.measure] = f"{number.value:.4f} {number.method}"
    else:
        assert qrels is not None
        judged, wanted = read_qrels(qrels), measures or DEFAULT_MEASURES
    scored = score_run(read_run(path), judged, wanted, evidence)
    return list(scored.query_ids), scored.scores, published


def _rescore(run: str, results: Path) -> tuple[list[str], Scores, dict[str, str]]:
    from harness.cli.options import session_for
    from harness.registry import make_adapter
    from harness.store import limited

    session = session_for(results)
    record = session.store.get(run)
    if record.status != "done":
        raise TouchstoneError(f"the run {record.id} failed and has no answers", fix=record.run.command)
    task = limited(session.task(record.run.task), record.run.limit)
    scores = make_adapter(record.run.method).score(task, session.store.answers(record, task))
    stored = {name: f"{summary.value:.4f} stored" for name, summary in record.scores.items()}
    return [task.item_ids[item] for item in scores.items], scores, stored


def _print(what: str, scores: Scores, published: dict[str, str]) -> None:
    from harness.cli.tables import console, table
    from harness.format import score_text

    screen = console()
    summary = scores.summary()
    rows = [
        [name, score_text(summary[name]), f"{summary[name].n:,}", published.get(name, "")] for name in summary
    ]
    screen.print(table(Path(what).name, ["measure", "value [95 %]", ">items", "known value"], rows))
    if scores.counts.get("missing"):
        screen.print(f"{scores.counts['missing']} judged items have no answer and count 0")
    if scores.counts.get("tie_dependent"):
        screen.print(
            f"{scores.counts['tie_dependent']} rankings hold equal scores; ties go to the larger document id"
        )


def _write(path: Path, names: list[str], scores: Scores) -> None:
    import pandas as pd

    frame = pd.DataFrame({"item": names} | {name: scores.column(name) for name in scores.measures})
    try:
        if path.suffix == ".parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False)
    except OSError as error:
        raise TouchstoneError("cannot write the per-item scores", where=str(path), why=str(error)) from error
