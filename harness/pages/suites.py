"""The leaderboard of a suite: the ranked table, the heat map of tasks, pictures of quality against cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness import format
from harness.columns import TaskResults, competitors, hardware_of, pool
from harness.leaderboard import Board, Row
from harness.model_cards import licence_of, size_class
from harness.plots import BYTES, JOULES, SECONDS, Axis, Scale, Spot, score_axis
from harness.ranking import detectable
from harness.record import Cost, Record
from harness.spec import Json

if TYPE_CHECKING:
    from harness.pages.site import Site

WHISKER, RANKS = 120.0, 64.0  # widths of the pictures in tables
CELLS, HEAT_ROWS, PART = (
    1_500,
    25,
    50,
)  # cells of a heat map shown whole; rows shown of a larger one, and on a page
COMMANDS = 200  # results whose commands are listed
DETECT = 20  # methods whose differences tell what a suite can detect
SHADES = 8
DRAWN = 200  # rows whose intervals are drawn: thousands of small pictures make a page slow
MANY = 12  # tasks beyond which those without a result get no column


NAMES = {
    "family": "Family",
    "kind": "Kind",
    "size": "Size",
    "licence": "Licence",
    "hardware": "Hardware",
    "source": "Source",
}
SOURCES = {"measured": "measured here", "verified": "submitted, verified here"}
SCALES = {
    "latency": Scale(
        "Quality against latency", "median seconds of one query alone, log scale", SECONDS, format.latency
    ),
    "time": Scale("Quality against time", "time from nothing, log scale", SECONDS, format.duration),
    "memory": Scale("Quality against memory", "peak memory, log scale", BYTES, format.size),
    "energy": Scale("Quality against energy", "joules, log scale", JOULES, lambda joules: f"{joules:,.1f} J"),
}


def write(site: Site, number: int) -> dict[str, str]:
    """The pages of one board."""
    board = site.results.boards[number]
    held = [site.results.tasks[task.name] for task in board.suite.tasks if task.name in site.results.tasks]
    records = [r for column in held for r in (*column.current.values(), *column.failed.values())]
    inputs: Json = [
        site.digests(records),
        [board.suite.name, board.suite.title, board.suite.about, board.suite.aggregate, list(board.not_run)],
        [
            [task.name, task.title, task.main_measure, str(site.links.tasks.get(task.name))]
            for task in board.suite.tasks
        ],
        [[name, list(tasks)] for name, tasks in board.suite.combined.items()],
        [str(one) for task in board.suite.tasks for one in site.reported.get(task.name, ())],
        [[row.method.name, *_facets(site, row).values()] for row in rows_of(board)],
    ]
    path = site.links.suite(board.suite.name)
    return site.page("suite.html", path, inputs, lambda: _context(site, board))


def rows_of(board: Board) -> tuple[Row, ...]:
    """Every row of a board, ranked ones first, bounds last."""
    return (*board.ranked, *board.incomplete, *board.bounds)


def _context(site: Site, board: Board) -> dict[str, Any]:
    rows = rows_of(board)
    columns = [site.results.tasks.get(task.name) for task in board.suite.tasks]
    several = len(board.suite.tasks) > 1
    facets = {row.method.key: _facets(site, row) for row in rows}
    kept = [n for n, column in enumerate(columns) if column or len(columns) <= MANY]
    heat = [_cells(site, row, columns, kept) for row in rows] if several else []
    large = len(heat) * len(kept) > CELLS
    unmeasured = [task for task, column in zip(board.suite.tasks, columns, strict=True) if not column]
    commands = [record for row in rows for record in row.cells if record]
    reported = [one for task in board.suite.tasks for one in site.reported.get(task.name, ())]
    return {
        "board": board,
        "several": several,
        "axis": whisker_axis(board.ranked),
        "ranks": Axis(1.0, max(2.0, float(len(board.ranked))), 3.0, RANKS - 3.0),
        "whisker": WHISKER,
        "drawn": DRAWN,
        "rank_whisker": RANKS,
        "facets": facets,
        "filters": filters(facets.values()),
        "pictures": pictures(board.ranked),
        "heat_tasks": [board.suite.tasks[n] for n in kept],
        "measured": [task for task in board.suite.tasks if task not in unmeasured],
        "unmeasured": unmeasured,
        "scales": SCALES,
        "heat": heat[:HEAT_ROWS] if large else heat,
        "parts": _write_heat(site, board, kept, heat) if large else 0,
        "cells": len(heat) * len(kept),
        "commands": commands if len(commands) <= COMMANDS else [],
        "tier_one": [row for row in board.ranked[1:] if row.tier == 1],
        "shown": shown_costs([row.cost for row in (*board.ranked, *board.bounds) if row.cost]),
        "timed": any(row.latency for row in board.ranked),
        "detectable": _detectable(board, [column for column in columns if column]),
        "reported": reported,
    }


Cells = tuple[Row, list[Record | None], list[str]]


def _write_heat(site: Site, board: Board, kept: Sequence[int], heat: Sequence[Cells]) -> int:
    """The pages with all cells of a large suite; returns how many."""
    parts = [heat[start : start + PART] for start in range(0, len(heat), PART)]
    for number, part in enumerate(parts, 1):
        path = site.links.heat(board.suite.name, number)
        (site.folder / path).parent.mkdir(exist_ok=True)
        tasks = [board.suite.tasks[n] for n in kept]
        context = {
            "board": board,
            "tasks": tasks,
            "heat": part,
            "part": number,
            "parts": len(parts),
            "rows": len(heat),
        }
        (site.folder / path).write_bytes(site.renderer.page("heat.html", path, context))
    return len(parts)


def _facets(site: Site, row: Row) -> dict[str, str]:
    cells = [cell for cell in row.cells if cell]
    origins = {cell.origin for cell in cells}
    hardware = sorted({hardware_of(cell) for cell in cells})
    return {
        "family": row.method.family or "not installed",
        "kind": " ".join(sorted(kind.value for kind in row.method.kinds)) or "unknown",
        "size": size_class(row.method.models, site.cards),
        "licence": licence_of(row.method.models, site.cards),
        "hardware": hardware[0] if len(hardware) == 1 else "several machines",
        "source": SOURCES["verified" if "verified" in origins else "measured"],
    }


def filters(rows: Iterable[Mapping[str, str]]) -> dict[str, list[tuple[str, int]]]:
    """The choices of each filter with how many rows have them; filters with one choice are left out."""
    found: dict[str, list[tuple[str, int]]] = {}
    held = list(rows)
    for facet in NAMES:
        counts = Counter(
            word for row in held for word in ([row[facet]] if facet != "kind" else row[facet].split())
        )
        if len(counts) > 1:
            found[facet] = sorted(counts.items())
    return found


def _cells(site: Site, row: Row, columns: Sequence[TaskResults | None], kept: Sequence[int]) -> Cells:
    """A row with its cells of the columns *kept* and their shades: '0' for the lowest method of a column to
    '8', '' without a score.
    """
    cells = [row.cells[n] for n in kept]
    shades = []
    for n, cell in zip(kept, cells, strict=True):
        column = columns[n]
        score = cell.main if cell and cell.status == "done" else None
        if score is None or column is None:
            shades.append("")
            continue
        low, high = _range(column, site)
        share = (score.value - low) / (high - low) if high > low else 0.5
        shades.append(str(round(SHADES * min(1.0, max(0.0, share)))))
    return row, cells, shades


def _range(column: TaskResults, site: Site) -> tuple[float, float]:
    """The lowest and highest score of a task's competitors."""
    held = site.ranges.get(column.task.name)
    if held is None:
        keys = competitors(column, site.results.methods) or list(column.current)
        scores = [column.current[key].scores[column.task.main_measure].value for key in keys]
        held = site.ranges[column.task.name] = (min(scores), max(scores))
    return held


def _detectable(board: Board, columns: Sequence[TaskResults]) -> float | None:
    best = [row for row in board.ranked[:DETECT] if row.score]
    if len(best) < 2:
        return None
    return detectable(pool(columns, [row.method.key for row in best]))


def whisker_axis(rows: Sequence[Row]) -> Axis | None:
    """One axis for the intervals of all rows of a table, None without any."""
    summaries = [row.score for row in rows if row.score]
    return score_axis(summaries, 3.0, WHISKER - 3.0) if summaries else None


def shown_costs(costs: Sequence[Cost]) -> dict[str, bool]:
    """Which of the costs that a machine may not tell are told by any run."""
    return {
        "device": any(cost.peak_device_bytes is not None for cost in costs),
        "energy": any(cost.joules for cost in costs),
    }


def cost_spots(rows: Sequence[Row]) -> dict[str, list[Spot]]:
    """The points of each picture: of the rows that have a score and that cost."""
    found: dict[str, list[Spot]] = {name: [] for name in SCALES}
    for row in rows:
        if not (row.score and row.cost):
            continue
        costs = {
            "latency": row.latency.p50 if row.latency else None,
            "time": row.cost.cold_seconds,
            "memory": float(max(row.cost.peak_memory_bytes, row.cost.peak_device_bytes or 0)),
            "energy": sum(row.cost.joules.values()) if row.cost.joules else None,
        }
        for name, cost in costs.items():
            if cost:
                found[name].append(Spot(row.method.key, row.method.name, cost, row.score))
    return {name: spots for name, spots in found.items() if spots}


def pictures(rows: Sequence[Row]) -> dict[str, Markup]:
    """Quality against each cost that ranked methods have."""
    from harness.drawing import scatter

    return {name: scatter(spots, SCALES[name], name) for name, spots in cost_spots(rows).items()}
