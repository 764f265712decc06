"""Which questions two runs answer differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.compare import pair_items
from harness.errors import TouchstoneError
from harness.record import Record
from harness.spec import Kind
from harness.stats import mcnemar
from harness.store import ANSWERS_FILE, Store
from harness.tasks.choose import LETTERS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Flips:
    """Questions that both runs answered. both, only_a, only_b, neither: how many were right by whom.

    mcnemar_p: the exact two-sided test of only_a against only_b. changed: a row for each question with
    another choice, columns ``item``, ``group``, ``a``, ``b`` (letters) and ``flip`` (``lost``: only A was
    right; ``won``: only B; ``wrong``: neither). groups: a row a group: ``questions``, ``won``, ``lost``,
    ``wrong``.
    """

    a: Record
    b: Record
    both: int
    only_a: int
    only_b: int
    neither: int
    mcnemar_p: float
    changed: pd.DataFrame
    groups: pd.DataFrame


def find_flips(store: Store, first: str, second: str) -> Flips:
    """Compare the choices of two stored runs of one multiple-choice task.

    Runs that cannot be paired (see ``pair_items``) and other kinds of task are TouchstoneErrors.
    """
    a, b = store.get(first), store.get(second)
    for record in (a, b):
        if record.run.task.kind is not Kind.CHOOSE:
            raise TouchstoneError(
                "only answers to multiple choice flip",
                where=f"run {record.id}",
                why=f"{record.run.task.name} is of the kind '{record.run.task.kind}'",
                fix=f"touchstone compare {first} {second}",
            )
    frame = pair_items((store, a), (store, b), "Acc").items.rename(columns={"a": "right_a", "b": "right_b"})
    groups = store.items(a)[["item", "group"]]
    frame = frame[["item", "right_a", "right_b"]].merge(groups, on="item", sort=False)
    frame = frame.merge(_letters(store, a, "a"), on="item").merge(_letters(store, b, "b"), on="item")
    left, right = frame["right_a"].to_numpy() > 0.5, frame["right_b"].to_numpy() > 0.5
    frame["flip"] = np.select([left & ~right, right & ~left], ["lost", "won"], "wrong")
    changed = frame[frame["a"] != frame["b"]][["item", "group", "a", "b", "flip"]].reset_index(drop=True)
    counts = changed.groupby(["group", "flip"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=["won", "lost", "wrong"], fill_value=0)
    table = frame.groupby("group").size().to_frame("questions").join(counts).fillna(0).astype(int)
    return Flips(
        a,
        b,
        int((left & right).sum()),
        int((left & ~right).sum()),
        int((right & ~left).sum()),
        int((~left & ~right).sum()),
        mcnemar(left, right),
        changed,
        table.reset_index(),
    )


def _letters(store: Store, record: Record, name: str) -> pd.DataFrame:
    """The letter that a run chose for each item."""
    import pandas as pd

    answers = pd.read_parquet(store.folder(record) / ANSWERS_FILE)
    values = answers[[column for column in answers if str(column).startswith("logprob_")]].to_numpy()
    letters = np.array(list(LETTERS))[values.argmax(axis=1)]
    return pd.DataFrame({"item": answers["item"], name: letters})
