"""Foreign cohorts made harmless: only what a row names is taken, under numbers, and nothing from elsewhere."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import ArchiveError, CohortError, PhiError, TooLargeError
from medmm.settings import LIMITS, PageLimits
from medmm.sources.cohort import read_cohort
from medmm.ui import cohort_tasks
from medmm.ui.cohort_tasks import TABLE, unpack

HEAD = "study_id,patient_id,image,note,label\n"


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Write a table as an upload is stored: without an ending."""

    def write(text: str) -> str:
        file = tmp_path / "upload0"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


@pytest.fixture
def archive(tmp_path: Path) -> Any:
    """Pack a zip."""

    def pack(**members: bytes) -> str:
        file = tmp_path / "upload1"
        with zipfile.ZipFile(file, "w") as out:
            for name, content in members.items():
                out.writestr(name, content)
        return str(file)

    return pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "private"
    made.mkdir()
    return made


def stored(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != TABLE}


def test_what_rows_name_is_taken_once_and_under_numbers(table: Any, archive: Any, folder: Path) -> None:
    rows = "A,A,DOE^JOHN/ct|b.zip,note.txt,yes\nB,B,b.zip,plain words,no\nC,C,,,\n"
    packed = archive(**{"DOE^JOHN/ct/1": b"one", "DOE^JOHN/ct/2": b"two", "b.zip": b"three", "note.txt": b"said", "else": b"no"})
    assert unpack(table(HEAD + rows), packed, str(folder)) == {"rows": 3, "labelled": 2}
    assert stored(folder) == {"00000/00000": b"one", "00000/00001": b"two", "00001": b"three", "00002.txt": b"said"}
    first, second, third = read_cohort(folder / TABLE).cases
    assert first.images == (folder / "00000", folder / "00001")
    assert (first.note, second.note, third.note) == (folder / "00002.txt", "plain words", None)
    assert second.images == (folder / "00001",)
    assert "DOE" not in (folder / TABLE).read_text()


@pytest.mark.parametrize("place", ["/etc/passwd", "../secret", "..", ".", "", "C:\\secret", "a/../../secret", "~/x", "nowhere.zip"])
def test_a_row_that_leads_elsewhere_finds_nothing(place: str, table: Any, archive: Any, folder: Path) -> None:
    (folder.parent / "secret").write_text("of another visitor")
    unpack(table(f"{HEAD}A,A,{place},../secret.txt,yes\nB,B,fine,,no\n"), archive(fine=b"x"), str(folder))
    case = read_cohort(folder / TABLE).cases[0]
    assert all(folder in image.parents and not image.exists() for image in case.images)
    assert isinstance(case.note, Path)
    assert not case.note.exists()
    assert list(stored(folder).values()) == [b"x"]


def test_the_table_may_be_in_the_zip_but_only_one(archive: Any, folder: Path) -> None:
    text = f"{HEAD}A,A,a,,\n".encode()
    assert unpack(None, archive(**{"all/cohort.csv": text, "a": b"x"}), str(folder))["rows"] == 1
    with pytest.raises(CohortError, match="got 2"):
        unpack(None, archive(**{"one.csv": text, "two.csv": text}), str(folder))
    with pytest.raises(CohortError, match="got 0"):
        unpack(None, archive(a=b"x"), str(folder))


def test_more_than_the_limits_is_refused(table: Any, archive: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_tasks, "LIMITS", replace(LIMITS, total_bytes=5))
    monkeypatch.setattr(cohort_tasks, "PAGE_LIMITS", PageLimits(cohort_rows=1, cohort_bytes=200))
    with pytest.raises(TooLargeError, match="1 rows"):
        unpack(table(f"{HEAD}A,A,,a,\nB,B,,b,\n"), None, str(folder))
    with pytest.raises(TooLargeError, match="table of at most"):
        unpack(table(HEAD + "A" * 200), None, str(folder))
    with pytest.raises(TooLargeError, match="MB of studies"):
        unpack(table(f"{HEAD}A,A,a,,\n"), archive(a=b"123456"), str(folder))


def test_a_zip_that_is_none_and_a_table_that_is_none_are_refused(table: Any, archive: Any, folder: Path) -> None:
    with pytest.raises(CohortError):
        unpack(table("\0\0\0"), None, str(folder))
    broken = Path(archive(a=b"x"))
    broken.write_bytes(broken.read_bytes()[:-10])
    with pytest.raises(ArchiveError):
        unpack(table(f"{HEAD}A,A,a,,\n"), str(broken), str(folder))


def test_names_are_refused_where_others_use_the_page(table: Any, folder: Path) -> None:
    named = table(f"{HEAD}A,A,,Patient: John Doe. MRN: 12345678. DOB: 01/02/1950.,\n")
    assert unpack(named, None, str(folder), public=False)["rows"] == 1
    with pytest.raises(PhiError, match="names a patient") as refused:
        unpack(named, None, str(folder), public=True)
    assert "Doe" not in refused.value.message
