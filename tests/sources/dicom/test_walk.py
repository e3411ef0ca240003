"""The plain walk finds what pydicom finds, on every file at hand and on damaged ones, or gives up."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from medmm.sources.archive import Entry
from medmm.sources.dicom.header import parse
from medmm.sources.dicom.walk import walk

Make = Callable[..., list[Dataset]]
HEAD = 1 << 16


def entry_of(content: bytes) -> Entry:
    return Entry("file", len(content), lambda: io.BytesIO(content))


def walks_like_pydicom(content: bytes) -> bool:
    """Whether the walk did not give up; fails when it found something else than pydicom."""
    found = walk(content[:HEAD], len(content))
    if found is None:
        return False
    expected, _, _ = parse(entry_of(content))
    assert dict(found.values) == dict(expected.values)
    assert (found.syntax, found.pixels, found.big_endian) == (expected.syntax, expected.pixels, expected.big_endian)
    if found.pixels:
        offset, length = found.pixels
        assert content[offset : offset + length] == pydicom.dcmread(io.BytesIO(content)).PixelData
    return True


def own_files() -> Iterator[Path]:
    """What pydicom brings for its own tests: every odd header of twenty years."""
    for file in sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")):
        if file.is_file() and file.stat().st_size < 1 << 22 and file.read_bytes()[128:132] == b"DICM":
            yield file


@pytest.mark.filterwarnings("ignore")
def test_on_all_files_of_pydicom_it_agrees_or_gives_up() -> None:
    walked = [walks_like_pydicom(file.read_bytes()) for file in own_files()]
    assert sum(walked) > 50
    assert len(walked) > 100


@pytest.mark.filterwarnings("ignore")
def test_on_all_shared_files_it_agrees_or_gives_up(shared_data: Path) -> None:
    files = [f for f in (shared_data / "dicom").rglob("*") if f.is_file() and f.open("rb").read(132)[128:] == b"DICM"]
    walked = [walks_like_pydicom(file.read_bytes()) for file in files]
    assert sum(walked) > 80


def test_the_plain_case_is_never_given_up(patient_zip: Path, ct: Make) -> None:
    with zipfile.ZipFile(patient_zip) as archive:
        contents = [archive.read(name) for name in archive.namelist() if archive.read(name)[128:132] == b"DICM"]
    assert len(contents) > 40
    assert all(map(walks_like_pydicom, contents))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_nested_sequences_are_stepped_over(ct: Make, implicit: bool, undefined: bool) -> None:
    (dataset,) = ct(1)
    inner = Dataset()
    inner.Rows, inner.PixelSpacing = 99, ["9", "9"]  # the same elements further down must not be taken
    outer = Dataset()
    outer.ReferencedImageSequence = Sequence([inner, inner])
    dataset.SourceImageSequence = Sequence([outer])
    for sequence in (dataset["SourceImageSequence"], outer["ReferencedImageSequence"]):
        sequence.is_undefined_length = undefined
        for item in sequence.value:
            item.is_undefined_length_sequence_item = undefined
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    assert walks_like_pydicom(buffer.getvalue())


@pytest.mark.filterwarnings("ignore")
def test_on_damaged_headers_it_agrees_or_gives_up(ct: Make) -> None:
    """Where it accepts what pydicom cannot read at all, the wanted values are still those that stand in the file."""
    rng = np.random.default_rng(3)
    (dataset,) = ct(1)
    contents = []
    for syntax in (dataset.file_meta.TransferSyntaxUID, ImplicitVRLittleEndian):
        dataset.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        contents.append(buffer.getvalue())
    contents += [file.read_bytes() for file in own_files() if file.name in {"CT_small.dcm", "MR_small.dcm", "rtplan.dcm"}]
    walked = 0
    for content in contents:
        for _ in range(700):
            mutant = bytearray(content)
            for at in rng.integers(132, min(len(mutant), 2600), size=int(rng.integers(1, 4))):
                mutant[at] = rng.integers(256)
            walked += walks_like_pydicom(bytes(mutant))
    assert walked > 500
