"""Values of a header stay out of the logs and warnings of whoever uses this library with logging switched on."""

from __future__ import annotations

import logging
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from medmm import open_study
from medmm.deid.dataset import Deidentifier
from medmm.hush import hushed
from medmm.sources.inspection import inspect_path
from medmm.sources.privacy import check_phi, deidentify

READERS: dict[str, Callable[[Path], Any]] = {
    "open": open_study,
    "inspect": inspect_path,
    "check": check_phi,
    "deid": lambda path: deidentify(path, path.with_name("clean"), Deidentifier()),
}


@pytest.fixture
def spoilt(patient_zip: Path, tmp_path: Path, heard: list[str]) -> Path:
    """A series whose headers make pydicom speak of their values."""
    with zipfile.ZipFile(patient_zip) as archive:
        for name in archive.namelist()[:3]:
            archive.extract(name, tmp_path)
    for file in (f for f in tmp_path.rglob("*") if f.is_file()):
        dataset = pydicom.dcmread(file)
        dataset.private_block(0x11, "P", create=True).add_new(1, "UI", "1.2")  # too unusual for the walk of headers
        with warnings.catch_warnings(action="ignore"):
            dataset.StudyDate, dataset.FrameOfReferenceUID, dataset.AccessionNumber = "CANARY", "1.CANARY", "CANARY" * 4
            dataset.save_as(file, enforce_file_format=False)
    heard.clear()
    return tmp_path


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """All that is logged anywhere."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield said
    logging.getLogger().removeHandler(handler)


def test_the_files_would_be_spoken_of(spoilt: Path, heard: list[str]) -> None:
    file = next(f for f in spoilt.rglob("*") if f.is_file())
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        str(pydicom.dcmread(file))
    assert any("CANARY" in message for message in heard)


@pytest.mark.parametrize("way", list(READERS))
def test_no_reader_lets_it_be_heard(spoilt: Path, heard: list[str], way: str) -> None:
    READERS[way](spoilt)
    assert heard == []


def test_others_are_heard_meanwhile(heard: list[str]) -> None:
    def speak() -> None:
        logging.getLogger("pydicom").warning("elsewhere")

    with hushed():
        logging.getLogger("pydicom").warning("here")
        logging.getLogger("mine").warning("mine")
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
    logging.getLogger("pydicom").warning("later")
    assert heard == ["mine", "elsewhere", "later"]
