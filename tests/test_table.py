from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from medmm.errors import CohortError, PredictionsError
from medmm.table import read_rows, write_csv

ROWS = [{"id": "a", "p": "0.5", "note": "x, y"}, {"id": "b", "p": "", "note": ""}]


def write(path: Path) -> Path:
    if path.suffix == ".csv":
        path.write_bytes(b'\xef\xbb\xbfid,p,note\r\n a ,0.5,"x, y"\r\nb,,\r\n')
    elif path.suffix == ".jsonl":
        path.write_text('{"id": "a", "p": 0.5, "note": "x, y"}\n\n{"id": "b", "p": null}\n', encoding="utf-8")
    else:
        table = pa.Table.from_pylist([{"id": "a", "p": 0.5, "note": "x, y"}, {"id": "b", "p": None, "note": None}])
        pyarrow.parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.jsonl", "t.parquet"])
def test_every_format_gives_the_same_text_cells(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name.lower()).rename(tmp_path / name)
    assert read_rows(path, CohortError) == ROWS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"id,p\n"),
        ("t.csv", b"id,id\na,b\n"),
        ("t.csv", b"id\na,b\n"),
        ("t.csv", b'id\n"a\n'),
        ("t.csv", b"id\n\xff\n"),
        ("t.jsonl", b'{"id": \n'),
        ("t.jsonl", b"[1, 2]\n"),
        ("t.parquet", b"PAR1 and nothing"),
        ("t.xlsx", b"PK"),
    ],
)
def test_a_malformed_table_raises_the_leaf_that_was_asked_for(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PredictionsError) as caught:
        read_rows(tmp_path / name, PredictionsError)
    assert str(tmp_path) not in caught.value.message


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="existing table"):
        read_rows(tmp_path / "none.csv", CohortError)


def test_csv_cells_cannot_become_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    cells = ["=1+1", "+SUM(A1)", "-cmd", "@x", "\tx", "-1.5", "+2", -0.25, 1 / 3, None, "plain", 'quo"te, comma\nline']
    write_csv(tmp_path / "t.csv", ["=c"], [{"=c": cell} for cell in cells])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        header, *read = csv.reader(file)
    assert header == ["'=c"]
    assert [row[0] for row in read if row] == ["'=1+1", "'+SUM(A1)", "'-cmd", "'@x", "'\tx", "-1.5", "+2", "-0.25", repr(1 / 3), "",
                                                "plain", 'quo"te, comma\nline']  # fmt: skip


def test_cells_made_safe_are_read_back_as_they_were(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["p__+ve"], [{"p__+ve": "+ve"}, {"p__+ve": "-ve"}, {"p__+ve": "'quoted'"}])
    assert [row["p__+ve"] for row in read_rows(tmp_path / "t.csv", CohortError)] == ["+ve", "-ve", "'quoted'"]


def test_a_csv_is_replaced_in_one_step(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a"], [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_csv(tmp_path / "t.csv", ["a"], rows())
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "a\n1\n"
