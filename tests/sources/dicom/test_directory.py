from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from medmm import open_study
from medmm.sources.inspection import inspect_path

Make = Callable[..., list[Dataset]]


@pytest.fixture
def tree(ct: Make, tmp_path: Path) -> Path:
    """A medium as pydicom writes it: DICOMDIR and files in folders below."""
    files = FileSet()
    for dataset in ct(5, StudyInstanceUID="1.2.826.0.7", PatientID="SECRET", StudyDate="20200101", StudyTime="10", StudyID="1",
                      AccessionNumber="", SeriesNumber=1):  # fmt: skip
        files.add(dataset)
    files.write(tmp_path / "disc")
    with warnings.catch_warnings():  # pydicom leaves its temporary folder to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        del files
        gc.collect()
    return tmp_path / "disc"


@pytest.mark.parametrize("name", ["", "DICOMDIR", "DIRFILE", "dirfile"])
def test_a_medium_is_read_by_its_folder_or_its_index(tree: Path, name: str) -> None:
    (tree / "DICOMDIR").rename(tree / (name or "DICOMDIR"))
    study = open_study(tree / name)
    assert study.volumes[0].grid.shape == (9, 7, 5)
    assert [n.code for n in study.notices] == ["W_OTHER_FILES"]  # the index itself


def test_the_inspection_of_an_index_is_that_of_its_folder(tree: Path) -> None:
    assert inspect_path(tree / "DICOMDIR") == inspect_path(tree)


def test_files_that_the_index_lists_in_vain_are_told(tree: Path) -> None:
    files = sorted(f for f in tree.rglob("*") if f.is_file() and f.name != "DICOMDIR")
    last = max(files, key=lambda f: float(pydicom.dcmread(f).ImagePositionPatient[2]))
    last.unlink()
    study = open_study(tree)
    assert study.volumes[0].grid.shape == (9, 7, 4)
    assert ("W_DICOMDIR", "The DICOMDIR lists 1 files that are not there; the series may be incomplete.") in [
        (n.code, n.message) for n in study.notices
    ]
    assert ("file that the DICOMDIR lists and that is not there", 1) in inspect_path(tree).left_out


@pytest.mark.parametrize("content", [b"", bytes(128) + b"DICM", np.random.default_rng(0).bytes(4000)])
def test_an_index_that_is_damaged_changes_nothing(tree: Path, content: bytes) -> None:
    (tree / "DICOMDIR").write_bytes(content)
    assert open_study(tree).volumes[0].grid.shape == (9, 7, 5)
