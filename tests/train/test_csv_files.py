"""A file is read as it was meant, or refused with what settles the doubt: never guessed at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pilotage_server.train.config import Columns, ConfigError, File, read_config
from pilotage_server.train.data import Table, load
from pilotage_server.train.data.quality import check
from pilotage_server.train.data.split import split

PLAIN = "size,colour,kind\n" + "".join(f"{i * 37 % 101}.5,{'rgb'[i % 3]},{'ab'[i % 2]}\n" for i in range(60))


def loaded(path: Path, content: str | bytes, columns: Columns | None = None, **file: Any) -> Table:
    """Write a file and load it; `kind` is the target."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(File(path=path, target="kind", **file), columns)


SAME: dict[str, tuple[bytes, dict[str, Any]]] = {
    "byte order mark": (PLAIN.encode("utf-8-sig"), {}),
    "UTF-16": (PLAIN.encode("utf-16"), {}),
    "semicolons": (PLAIN.replace(",", ";").encode(), {}),
    "tabs": (PLAIN.replace(",", "\t").encode(), {}),
    "bars": (PLAIN.replace(",", "|").encode(), {}),
    "lines of Windows": (PLAIN.replace("\n", "\r\n").encode(), {}),
    "spaces around cells": (PLAIN.replace(",", " , ").encode(), {}),
    "quotes": (PLAIN.replace(",r,", ',"r",').encode(), {}),
    "empty lines at the end": (f"{PLAIN}\n\n".encode(), {}),
    "decimal commas": (PLAIN.replace(",", ";").replace(".5", ",5").encode(), {"decimal": ","}),
    "a separator of its own": (PLAIN.replace(",", "~").encode(), {"separator": "~"}),
}


@pytest.mark.parametrize("name", SAME)
def test_however_it_is_written_it_is_the_same_table(name: str, tmp_path: Path) -> None:
    content, file = SAME[name]
    plain = loaded(tmp_path / "plain.csv", PLAIN)

    found = loaded(tmp_path / "other.csv", content, **file)

    assert found.features == ("size", "colour")
    assert found.fingerprint() == plain.fingerprint()


def test_another_encoding_is_named(tmp_path: Path) -> None:
    written = PLAIN.replace(",r,", ",größer,").encode("cp1252")

    with pytest.raises(ConfigError, match=r"data\.csv\.encoding: .* is not UTF-8 .*such as cp1252"):
        loaded(tmp_path / "old.csv", written)

    assert loaded(tmp_path / "old.csv", written, encoding="cp1252").columns[1].categories == ("b", "g", "größer")


def a_column(tmp_path: Path, cells: list[str], **file: Any) -> tuple[tuple[str, ...], Any]:
    """Load a table whose feature `x` holds these cells, over and over; its categories and first values."""
    lines = [f'"{cells[i % len(cells)]}",{"ab"[i // 30]}' for i in range(60)]
    table = loaded(tmp_path / "one.csv", "\n".join(["x,kind", *lines]), **file)
    return table.columns[0].categories, table.rows[: len(cells), 0].tolist()


def test_every_usual_spelling_of_nothing_is_missing(tmp_path: Path) -> None:
    nothing = ["", "?", "NA", "n/a", "#N/A", "<NA>", "NaN", "NaT", "null", "None"]

    categories, values = a_column(tmp_path, ["1.5", *nothing])

    assert categories == ()
    assert values[0] == 1.5
    assert np.isnan(values[1:]).all()


def test_other_spellings_are_declared(tmp_path: Path) -> None:
    categories, values = a_column(tmp_path, ["1", "2", "-", "-999"], missing=("-", "-999"))

    assert categories == ()
    assert np.isnan(values).tolist() == [False, False, True, True]


def test_true_and_false_are_numbers(tmp_path: Path) -> None:
    assert a_column(tmp_path, ["true", "False", ""])[1][:2] == [1.0, 0.0]


def test_texts_are_categories_in_order(tmp_path: Path) -> None:
    assert a_column(tmp_path, ["né", "b", "", "欺"])[0] == ("b", "né", "欺")
    assert a_column(tmp_path, ["A12", "12a", "u1.5", "1.2.3"])[0] == ("1.2.3", "12a", "A12", "u1.5")


def test_numbers_that_are_names_stay_as_they_are_written(tmp_path: Path) -> None:
    content = "zip,kind\n" + "".join(f"0{i % 7}123,{'ab'[i % 2]}\n" for i in range(60))

    table = loaded(tmp_path / "zip.csv", content, Columns(categorical=("zip",)))

    assert table.columns[0].categories[:2] == ("00123", "01123")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1.5", "2", "high"], "row 4: x is 'high' among numbers; repair it, name it under data.csv.missing, or name"),
        (["1", "2", "3", "-", "low"], "row 5: x is '-' among numbers (so are 'low'); repair it"),
        (["1,234", "12,345"], "row 2: x is '1,234'; write numbers without grouping, units and signs, set data.csv."),
        (["0,5", "1,5"], "x is '0,5'; write numbers without grouping, units and signs, set data.csv.decimal"),
        (["12%", "7%"], "x is '12%'; write numbers without grouping, units and signs"),
        (["€5.20", "€1"], "x is '€5.20'; write numbers without grouping, units and signs"),
        (["1", "2", "1_000"], "x is '1_000' among numbers"),
        (["1", "inf"], "row 3: x is infinite; remove or bound it"),
        (["1", "1e300"], "row 3: x is 1e300, beyond ±1e+100; remove or bound it"),
    ],
)
def test_a_column_that_would_be_a_guess_is_refused(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        a_column(tmp_path, cells)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first row must name the columns"),
        ("size,kind\n", "has headings and no rows"),
        ("size,kind\n1,a\n", "every row is 'a'; a classifier needs at least 2 classes"),
        ("size,size,kind\n1,2,a\n", "columns occur twice (size); give every column its own heading"),
        ("size,,kind\n1,2,a\n", "column 2 has no name; give every column its own heading"),
        ("size,kind\n1,a\n2\n", "row 3: 1 cells under 2 headings; repair it"),
        ("size,kind\n1,a\n\n2,b\n", "row 3: is empty; remove it"),
        ('size,kind\n1,"a"x\n', "cannot be read as CSV"),
        ("size,kinds\n1,a\n", "data.csv.target: 'kind' is no column; did you mean 'kinds'?"),
        (f"{PLAIN}1.5,r,\n2.5,r,NA\n", "2 rows have no kind (row 62, 63); remove them, or find their labels"),
        (f"{PLAIN}1.5,r,c\n", "one row only of class 'c', which cannot both teach and test; collect more"),
        (f"{PLAIN}1.5,r,c\n2.5,g,c\n", "class 'c' has 1 training rows, fewer than 5; collect or keep more"),
        (
            "size,kind\n" + "".join(f"{i},{i / 7}\n" for i in range(60)),
            "data.csv.target: 'kind' has 60 different values in 60 rows: a quantity or a name, not a class",
        ),
    ],
)
def test_a_file_that_cannot_be_learned_from_says_why(content: str, message: str, tmp_path: Path) -> None:
    config = _config(tmp_path)

    with pytest.raises(ConfigError) as refused:
        split(loaded(tmp_path / "bad.csv", content), config.split, config.data)

    assert message in str(refused.value)


def test_a_row_without_a_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"20 rows have no colour \(row 2, …\); name each row's group"):
        loaded(tmp_path / "data.csv", PLAIN.replace(",r,", ",,"), Columns(group="colour"))


def test_classes_that_differ_in_case_only_are_a_finding(tmp_path: Path) -> None:
    table = loaded(tmp_path / "data.csv", PLAIN + "1.5,r,A\n" * 8)
    config = _config(tmp_path)

    found = check(table, split(table, config.split, config.data), config.data, seed=0)

    assert (
        "classes 'A' and 'a' differ only in case, spaces or dashes"
        in {f.check: f.detail for f in found.failures}["class-names"]
    )


def test_how_a_file_is_written_is_in_the_configuration(tmp_path: Path) -> None:
    written = {"separator": ";", "decimal": ",", "encoding": "latin-1", "missing": ["-"]}

    source = _config(tmp_path, **written).data.source

    assert isinstance(source, File)
    assert (source.separator, source.decimal, source.encoding, source.missing) == (";", ",", "iso8859-1", ("-",))
    with pytest.raises(ConfigError, match=r"data\.csv\.encoding: 'utf-88' is no encoding known here"):
        _config(tmp_path, encoding="utf-88")


def _config(folder: Path, **csv: Any) -> Any:
    document = {
        "name": "it",
        "data": {"csv": {"path": "data.csv", "target": "kind", **csv}},
        "model": {"estimator": "naive-bayes"},
    }
    (folder / "it.yaml").write_text(yaml.safe_dump(document))
    return read_config(folder / "it.yaml")


def test_parquets_own_types_are_read_as_their_texts_would_be(tmp_path: Path) -> None:
    from arro3.core import Array, DataType
    from arro3.core import Table as Arrow
    from arro3.io import write_parquet

    n = 60
    columns: dict[str, Any] = {
        "count": Array([i * 7 % 13 if i % 9 else None for i in range(n)], type=DataType.int64()),
        "share": Array([float("nan") if i % 7 == 0 else i * 37 % 101 / 8 for i in range(n)], type=DataType.float64()),
        "member": Array([bool(i % 3) for i in range(n)], type=DataType.bool()),
        "colour": Array(["rgb"[i % 3] for i in range(n)], type=DataType.string()),
        "seen": Array([i % 28 * 86_400_000_000 for i in range(n)], type=DataType.int64()).cast(
            DataType.timestamp("us")
        ),
        "kind": Array([i % 2 for i in range(n)], type=DataType.int64()),
    }
    write_parquet(Arrow.from_pydict(columns), str(tmp_path / "all.parquet"))
    source = File(path=tmp_path / "all.parquet", target="kind", format="parquet")

    table = load(source, Columns(time="seen"))

    assert [(one.name, one.categories) for one in table.columns] == [
        ("count", ()),
        ("share", ()),
        ("member", ()),
        ("colour", ("b", "g", "r")),
    ]
    assert table.classes == ("0", "1")
    assert np.isnan(table.rows[0, :2]).all()
    assert table.rows[1, 2] == 1.0
    assert table.times is not None
    assert np.diff(table.times[:28]).tolist() == [86_400.0] * 27


def test_a_parquet_column_that_is_no_value_is_refused(tmp_path: Path) -> None:
    from arro3.core import Array, DataType
    from arro3.core import Table as Arrow
    from arro3.io import write_parquet

    pictures = Array([b"GIF89a"] * 4, type=DataType.binary())
    kinds = Array(["a", "b"] * 2, type=DataType.string())
    write_parquet(Arrow.from_pydict({"picture": pictures, "kind": kinds}), str(tmp_path / "pictures.parquet"))

    with pytest.raises(ConfigError, match=r"column 'picture' holds b'GIF89a', which is no single value; flatten it"):
        load(File(path=tmp_path / "pictures.parquet", target="kind", format="parquet"))
