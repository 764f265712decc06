"""What tasks and measures are called elsewhere."""

from __future__ import annotations

import re

_BEIR = {
    "trec-covid": "TRECCOVID",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "hotpotqa": "HotpotQA",
    "fiqa": "FiQA2018",
    "arguana": "ArguAna",
    "webis-touche2020": "Touche2020",
    "quora": "QuoraRetrieval",
    "dbpedia-entity": "DBPedia",
    "scidocs": "SCIDOCS",
    "fever": "FEVER",
    "climate-fever": "ClimateFEVER",
    "scifact": "SciFact",
}
_CQADUPSTACK = (
    *("android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex"),
    *("unix", "webmasters", "wordpress"),
)
_BRIGHT = {
    "biology": "Biology",
    "earth-science": "EarthScience",
    "economics": "Economics",
    "psychology": "Psychology",
    "robotics": "Robotics",
    "stackoverflow": "Stackoverflow",
    "sustainable-living": "SustainableLiving",
    "leetcode": "Leetcode",
    "pony": "Pony",
    "aops": "Aops",
    "theoremqa-questions": "TheoremQAQuestions",
    "theoremqa-theorems": "TheoremQATheorems",
}
MTEB_TASKS = {
    **{f"beir/{ours}": theirs for ours, theirs in _BEIR.items()},
    **{f"beir/cqadupstack-{part}": f"CQADupstack{part.title()}Retrieval" for part in _CQADUPSTACK},
    **{f"bright/{ours}": f"Bright{theirs}Retrieval" for ours, theirs in _BRIGHT.items()},
    "msmarco/dev": "MSMARCO",
    "msmarco/trec-dl-2019": "TRECDL2019",
    "msmarco/trec-dl-2020": "TRECDL2020",
}
MTEB_SPLITS = {"msmarco/dev": "dev", **{f"bright/{part}": "standard" for part in _BRIGHT}}  # else: test
MSMARCO = {
    "msmarco-v1-passage.dev": "msmarco/dev",
    "dl19-passage": "msmarco/trec-dl-2019",
    "dl20-passage": "msmarco/trec-dl-2020",
    "dl20": "msmarco/trec-dl-2020",
}
_MTEB_MEASURES = {"ndcg": "nDCG", "recall": "R", "precision": "P", "mrr": "RR", "map": "AP"}


def mteb_task(name: str, split: str) -> str:
    """Our name of a split of one of MTEB's tasks; ``mteb/<name>/<split>`` when it is none of ours."""
    ours = {theirs: task for task, theirs in MTEB_TASKS.items()}.get(name, "")
    return ours if ours and MTEB_SPLITS.get(ours, "test") == split else f"mteb/{name}/{split}"


def mteb_measure(key: str) -> str:
    """``nDCG@10`` of ``ndcg_at_10``; '' for a key that is no measure of ours."""
    found = re.fullmatch(r"([a-z]+)_at_(\d+)", key)
    return f"{_MTEB_MEASURES[found[1]]}@{found[2]}" if found and found[1] in _MTEB_MEASURES else ""


def mteb_key(measure: str) -> str:
    """The reverse of mteb_measure; AP is MTEB's over 1,000 documents. '' for a measure that MTEB lacks."""
    name, at, depth = measure.partition("@")
    theirs = {ours: key for key, ours in _MTEB_MEASURES.items()}.get(name, "")
    if not theirs or not (depth.isdigit() or name == "AP"):
        return ""
    return f"{theirs}_at_{depth if at else 1000}"


def anserini_task(collection: str, dataset: str) -> str:
    """Our name of a data set of Pyserini's reproduction tables; theirs when it is none of ours."""
    if collection in ("beir", "bright"):
        return f"{collection}/{dataset}"
    return (
        MSMARCO.get(dataset, f"{collection}/{dataset}")
        if collection == "msmarco-v1-passage"
        else f"{collection}/{dataset}"
    )


def anserini_measure(name: str) -> str:
    """``R@1000`` of ``R@1K``, ``RR@10`` of ``MRR@10``, ``AP`` of ``MAP``."""
    name = name.replace("@1K", "@1000")
    return re.sub(r"^MRR", "RR", re.sub(r"^MAP", "AP", name))


def lm_eval_task(name: str, shots: int | None) -> str:
    """Our name of one of lm-eval's tasks: MMLU and its subjects; theirs below ``lm-eval/`` otherwise."""
    whole = {0: "mmlu-0shot", 5: "mmlu"}.get(shots if shots is not None else -1)
    if whole and name == "mmlu":
        return whole
    if whole and name.startswith("mmlu_"):
        return f"{whole}/{name.removeprefix('mmlu_')}"
    return f"lm-eval/{name}"
