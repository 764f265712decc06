"""Ranking measures: read by name in ir_measures' notation, and computed for all queries at once.

The numbers are trec_eval's (version 10): binary measures count a document as relevant from grade ``rel`` up,
nDCG uses the grade as the gain, and a negative grade means pooled but not judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from harness.answers import Rankings
from harness.errors import TouchstoneError, unknown
from harness.qrels import Qrels, find_hits
from harness.trec_measures import RULES, Doubles, Measure

__all__ = ["Doubles", "Measure", "Qrels", "parse_measure", "score_rankings"]

FORM = re.compile(r"(?P<base>[A-Za-z]+)(?:\((?P<options>[^()]*)\))?(?:@(?P<at>[0-9.]+))?")


def parse_measure(text: str) -> Measure:
    """The measure that *text* names, as in ``nDCG@10``, ``AP(rel=2)`` or ``RR(rel=2)@10``.

    RBP is binary here and asks for its ``rel``: ir_measures' RBP without one uses graded gains.
    An unknown name, option or value is a TouchstoneError.
    """
    found = FORM.fullmatch(text.strip())
    if not found:
        raise TouchstoneError(f"'{text}' is not a measure", fix="write it as in nDCG@10, AP or R(rel=2)@1000")
    base, at = found["base"], found["at"]
    if base not in RULES:
        raise unknown("measure", base, RULES)
    rule = RULES[base]
    options = _options(text, found["options"])
    allowed = {name for name in ("rel", "p") if getattr(rule, name)}
    if extra := options.keys() - allowed:
        raise TouchstoneError(f"'{text}': {base} has no option '{min(extra)}'")
    if at is None and rule.at_needed:
        example = f"{base}@10" if rule.at == "cutoff" else f"{base}@0.1"
        raise TouchstoneError(f"'{text}': {base} needs a {rule.at}", fix=f"write it as in {example}")
    if at is not None and not rule.at:
        raise TouchstoneError(f"'{text}': {base} takes no cutoff")
    if rule.p and "rel" not in options:
        raise TouchstoneError(f"'{text}': {base} is binary here and needs rel", fix="write RBP(rel=1,p=0.8)")
    rel = int(_number(text, options.get("rel", "1"), whole=True))
    p = _number(text, options.get("p", "0.8"), most=1.0)
    if rule.at == "recall":
        return Measure(base, None, rel, _number(text, str(at), least=0.0, most=1.0))
    return Measure(base, None if at is None else int(_number(text, at, whole=True)), rel, p=p)


def _options(text: str, inside: str | None) -> dict[str, str]:
    """``rel=2,p=0.8`` as a dict."""
    options: dict[str, str] = {}
    for part in inside.split(",") if inside else []:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in options:
            raise TouchstoneError(f"'{text}': cannot read option '{part.strip()}'", fix="write rel=2")
        options[name] = value
    return options


def _number(text: str, value: str, least: float = 1e-9, most: float = 1e9, whole: bool = False) -> float:
    """A number in [least, most]; whole: with digits only."""
    pattern = r"\d+" if whole else r"\d+(\.\d*)?|\.\d+"
    if not re.fullmatch(pattern, value) or not least <= float(value) <= most:
        wanted = "a whole number from 1 up" if whole else f"a number up to {most:g}"
        raise TouchstoneError(f"'{text}': '{value}' is not {wanted}")
    return float(value)


def score_rankings(measures: Sequence[Measure], qrels: Qrels, rankings: Rankings) -> Doubles:
    """float64[q, m]: every measure for every query of *qrels*; a query without a ranking scores 0.

    ``rankings.items`` are query numbers of *qrels*; rankings are in canonical order (score down, then
    document id down as text).
    """
    hits = find_hits(qrels, rankings)
    values = np.empty((len(qrels), len(measures)))
    for column, measure in enumerate(measures):
        values[:, column] = RULES[measure.base].compute(measure, hits)
    return values
