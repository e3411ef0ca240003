from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from medmm.errors import InputError, MedmmError, NoImageError, RemoteError, StoreError, TooLargeError
from medmm.settings import LIMITS
from medmm.sources.pacs.pull import FoundStudy, Inbox, Pulled, Query, found_study, is_uid, pull

STUDY = "1.2.826.0.1.77"
CT = "1.2.840.10008.5.1.4.1.1.2"


def _file(instance: str, study: str = STUDY) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = CT, instance, study
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


class Shelf:
    """An archive of files in memory that lists some and sends others."""

    def __init__(self, listed: list[str], sent: list[bytes], failure: MedmmError | None = None) -> None:
        self.listed, self.sent, self.failure = dict.fromkeys(listed, CT), sent, failure

    def find(self, query: Query, limit: int) -> list[FoundStudy]:
        return []

    def list_instances(self, study: str) -> Mapping[str, str]:
        return self.listed

    def receive(self, study: str, listed: Mapping[str, str], take: Callable[[bytes], bool]) -> None:
        for content in self.sent:
            if not take(content):
                break
        if self.failure:
            raise self.failure


def test_all_that_is_listed_comes_and_nothing_else_is_kept(tmp_path: Path) -> None:
    a, b = _file("1.2.1"), _file("1.2.2")
    archive = Shelf(["1.2.1", "1.2.2"], [a, _file("1.2.9"), b, _file("1.2.1", "1.2.3"), b"not DICOM", a])
    assert pull(archive, STUDY, tmp_path / "out") == Pulled(2, len(a) * 2 + len(b), 3)
    assert {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()} == {"000001.dcm": a, "000002.dcm": b}


@pytest.mark.parametrize(
    "study", ["", "1", "1.2.", "1..2", "01.2", "../etc", "1.2.3/4", "1.2\n", "1." * 40 + "1", "1.2.3\\1.2.4", "*"]
)
def test_what_is_no_uid_is_never_asked_for(tmp_path: Path, study: str) -> None:
    assert not is_uid(study)
    with pytest.raises(InputError, match="Expected a StudyInstanceUID"):
        pull(Shelf(["1.2.1"], []), study, tmp_path / "out")


@pytest.mark.parametrize(
    ("archive", "leaf", "saying"),
    [
        (Shelf([], []), NoImageError, "lists nothing"),
        (Shelf(["1.2.1", "1.2.2"], [_file("1.2.1")]), RemoteError, "1 did not come"),
        (Shelf(["1.2.1"], [_file("1.2.1")], RemoteError("broke off")), RemoteError, "broke off"),
        (Shelf([f"1.2.{i}" for i in range(LIMITS.files + 1)], []), TooLargeError, "at most 5,000 instances"),
    ],
)
def test_what_is_not_whole_leaves_nothing(tmp_path: Path, archive: Shelf, leaf: type[MedmmError], saying: str) -> None:
    with pytest.raises(leaf, match=saying):
        pull(archive, STUDY, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_time_runs_out_even_if_the_archive_says_something_else(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="within the time limit"):
        pull(Shelf(["1.2.1"], [_file("1.2.1")], RemoteError("refused")), STUDY, tmp_path / "out", seconds=-1)


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(StoreError):
        pull(Shelf(["1.2.1"], [_file("1.2.1")]), STUDY, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["a"]


def test_bytes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medmm.sources.pacs.pull.LIMITS", type(LIMITS)(total_bytes=100))
    inbox = Inbox(tmp_path, STUDY, {"1.2.1": CT}, time.monotonic() + 10)
    assert not inbox.take(_file("1.2.1"))
    assert not inbox.take(_file("1.2.1"))
    with pytest.raises(TooLargeError):
        inbox.close()
    assert list(tmp_path.iterdir()) == []


def test_an_answer_in_our_words() -> None:
    answer = Dataset()
    answer.StudyInstanceUID, answer.PatientName, answer.PatientID = "1.2", "DOE^JANE", "17"
    assert found_study(answer) == FoundStudy("1.2", "", (), "", None)
    answer.ModalitiesInStudy, answer.NumberOfStudyRelatedInstances = ["CT", "SR"], "3"
    assert found_study(answer).to_dict() == {
        "uid": "1.2", "date": "", "modalities": ("CT", "SR"), "description": "", "instances": 3,
    }  # fmt: skip
    answer.ModalitiesInStudy = "CT"
    assert found_study(answer).modalities == ("CT",)
    assert Query(patient="17", date="20200101-").attributes() == {"PatientID": "17", "StudyDate": "20200101-"}
