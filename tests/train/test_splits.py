"""No row in two parts, no group in two parts, no future in the past; the test rows open once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pilotage_server.train.config import Columns, Data, File, SplitShares
from pilotage_server.train.data import Table, load
from pilotage_server.train.data.sealed import Sealed
from pilotage_server.train.data.split import split
from pilotage_server.train.models.folds import Rows, folds
from support.tables import a_credit_file


def a_table(tmp_path: Path, **meaning: str) -> Table:
    path = a_credit_file(
        tmp_path / "credit.csv",
        household=[i // 4 for i in range(240)],
        day=[f"2025-{1 + (i * 7) % 12:02d}-{1 + i % 28:02d}" for i in range(240)],
    )
    columns = Columns(group=meaning.get("group"), time=meaning.get("time"), ignore=tuple({"household", "day"}))
    return load(File(path=path, target="defaulted"), columns)


def test_a_group_is_in_one_part_only(tmp_path: Path) -> None:
    table = a_table(tmp_path, group="household")

    parts = split(table, SplitShares(seed=1, test=0.2, holdback=0.2, by="group"), Data(source="x"))

    assert table.groups is not None
    train, test, held = (set(table.groups[part.indices]) for part in (parts.train, parts.test, parts.holdback))
    assert not train & test
    assert not train & held
    assert not test & held
    assert len(parts.test) == pytest.approx(48, abs=16)


def test_the_latest_rows_test_and_the_very_latest_are_held_back(tmp_path: Path) -> None:
    table = a_table(tmp_path, time="day")

    parts = split(table, SplitShares(seed=1, test=0.2, holdback=0.1, by="time"), Data(source="x"))

    assert table.times is not None
    train, test, held = (table.times[part.indices] for part in (parts.train, parts.test, parts.holdback))
    assert train.max() <= test.min()
    assert test.max() <= held.min()


def test_folds_in_time_are_stretches_of_it() -> None:
    rows = Rows(values=np.zeros((30, 1)), labels=np.tile([0, 1], 15), in_time=True)

    for _, held in folds(rows, 3, seed=0):
        assert np.array_equal(held, np.arange(held[0], held[0] + 10))


def test_folds_keep_groups_together() -> None:
    groups = np.repeat(np.arange(12), 5)
    rows = Rows(values=np.zeros((60, 1)), labels=np.arange(60) % 2, groups=groups)

    for train, held in folds(rows, 3, seed=0):
        assert not set(groups[train]) & set(groups[held])


def test_the_test_rows_open_once(tmp_path: Path) -> None:
    parts = split(load("iris"), SplitShares(seed=1, test=0.2, holdback=0.0), Data(source="iris"))
    sealed = Sealed(parts.test)

    assert len(sealed.open()) == sealed.rows == 30
    with pytest.raises(RuntimeError, match="the test rows were opened before"):
        sealed.open()
