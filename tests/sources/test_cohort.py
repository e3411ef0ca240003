from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
from pydicom.dataset import Dataset

from medmm import read_cohort
from medmm.errors import AudioError, CohortError, LeakageError, MedmmError, MissingSlicesError, NoImageError, TextError, ValuesError
from medmm.sources.dicom.inventory import RULE
from medmm.sources.jail import Jail
from medmm.study import Note, Quantity, Values

Table = Callable[..., Path]
Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Write cohort.csv from its lines."""

    def write(*lines: str) -> Path:
        path = tmp_path / "cohort.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def image(path: Path, value: int = -500) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full((3, 4, 5), value, np.int16), np.eye(4)), path)


def test_every_column_of_the_contract_is_read(table: Table, tmp_path: Path) -> None:
    path = table(
        "study_id,patient_id,image,note,split,label,age,site",
        's1,p1,a.nii,"Cough, 3 weeks",train,yes,61,A',
        "s2,p2,,,val,no,,B",
        "s3,p2,sub/b.nii | c.nii,n.txt,val,,70,",
    )
    cohort = read_cohort(path)
    first, second, third = cohort.cases
    assert (cohort.kind, cohort.labels) == ("binary", ("no", "yes"))
    assert (first.images, first.note, first.split) == ((tmp_path / "a.nii",), "Cough, 3 weeks", "train")
    assert first.columns == {"age": "61", "site": "A"}
    assert (second.images, second.note, second.columns["age"]) == ((), None, "")
    assert third.images == (tmp_path / "sub/b.nii", tmp_path / "c.nii")
    assert third.note == tmp_path / "n.txt"
    assert [None if c.target is None else c.target.tolist() for c in cohort.cases] == [[0, 1], [1, 0], None]
    assert cohort.with_split("val") == (second, third)


def test_a_row_without_image_and_note_opens_as_an_empty_study(table: Table) -> None:
    assert read_cohort(table("study_id,patient_id,image,note", "s,p,,")).cases[0].open().modalities == frozenset()


def test_several_images_and_a_note_file_make_one_study(table: Table, tmp_path: Path) -> None:
    image(tmp_path / "a.nii", -500)
    image(tmp_path / "b.nii", -400)
    (tmp_path / "n.txt").write_bytes(b"\xef\xbb\xbfWeight loss.\r\nNo fever.\n")
    study = read_cohort(table("study_id,patient_id,image,note", "s,p,a.nii|b.nii,n.txt")).cases[0].open()
    assert [int(v.array.max()) for v in study.volumes] == [-500, -400]
    assert study.note == Note("Weight loss.\nNo fever.", encoding="utf-8")


def test_paths_are_relative_to_the_table_not_to_the_current_folder(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "a.nii")
    inner = tmp_path / "tables"
    inner.mkdir()
    moved = table("study_id,patient_id,image", "s,p,../a.nii").rename(inner / "cohort.csv")
    monkeypatch.chdir("/")
    assert read_cohort(moved).cases[0].open().modalities == {"image"}
    monkeypatch.chdir(inner)
    assert read_cohort("cohort.csv").cases[0].open().modalities == {"image"}


@pytest.mark.parametrize(
    ("image_cell", "note_cell", "leaf"),
    [
        ("SECRET.nii", "", NoImageError),
        ("Cough for weeks. " * 300, "", NoImageError),  # columns swapped
        ("", "SECRET.txt", TextError),
        ("", "binary.txt", TextError),
        ("", "giant.txt", TextError),
        ("", "folder.txt", TextError),
        ("", "Weight loss. " * 400 + "See report.txt", TextError),  # ends like a path
    ],
)
def test_what_cannot_be_read_is_refused_when_opened_without_naming_it(
    table: Table, tmp_path: Path, image_cell: str, note_cell: str, leaf: type[MedmmError]
) -> None:
    (tmp_path / "binary.txt").write_bytes(np.random.default_rng(0).bytes(1000))
    (tmp_path / "giant.txt").write_text("x" * ((1 << 20) + 1))
    (tmp_path / "folder.txt").mkdir()
    case = read_cohort(table("study_id,patient_id,image,note", f"SECRET,SECRET,{image_cell},{note_cell}")).cases[0]
    with pytest.raises(leaf) as caught:
        case.open()
    assert not [word for word in ("SECRET", ".txt", ".nii", str(tmp_path), "Weight", "Cough") if word in caught.value.message]


def test_what_is_odd_about_a_note_is_told_with_the_study(table: Table, tmp_path: Path) -> None:
    (tmp_path / "cp1252.txt").write_bytes(("Ödem. " * 10_000).encode("cp1252"))
    study = read_cohort(table("study_id,patient_id,image,note", "s,p,,cp1252.txt")).cases[0].open()
    assert [n.code for n in study.notices] == ["W_NOTE_ENCODING", "W_NOTE_LONG"]
    assert study.note is not None
    assert study.note.text.startswith("Ödem. Ödem.")


AGE = Quantity("age", "years", 0, 120)
CRP = Quantity("crp", "mg/L", 0, 600)


def test_tabular_values_come_from_the_columns_a_task_names(table: Table) -> None:
    path = table("study_id,patient_id,note,age,crp,site", "s,p,x,61,3.5,A", "t,q,x,,,B")
    first, second = read_cohort(path, fields=(AGE, CRP)).cases
    assert first.open().values == Values((AGE, CRP), (61.0, 3.5))
    assert second.open().values == Values((AGE, CRP), (None, None))
    assert read_cohort(path).cases[0].open().values is None


@pytest.mark.parametrize("cell", ["SECRET", "121", "-1", "nan", "inf", "1e400"])
def test_a_value_that_cannot_be_is_an_error_of_its_study_alone(table: Table, cell: str) -> None:
    bad, good = read_cohort(table("study_id,patient_id,note,age", f"s,p,x,{cell}", "t,q,x,50"), fields=(AGE,)).cases
    with pytest.raises(ValuesError, match="age") as caught:
        bad.open()
    assert cell not in caught.value.message
    assert good.open().values == Values((AGE,), (50.0,))


def test_a_tabular_value_without_a_column_is_refused(table: Table) -> None:
    with pytest.raises(CohortError, match="missing: crp"):
        read_cohort(table("study_id,patient_id,note,age", "s,p,x,1"), fields=(AGE, CRP))


def test_a_recording_is_read_from_beside_the_table(table: Table, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "dictation.wav", np.zeros(1600), 16_000)
    path = table("study_id,patient_id,note,audio", "s,p,x,dictation.wav", "t,q,x,", "u,r,x,SECRET.wav")
    first, second, third = read_cohort(path).cases
    recording = first.open().recording
    assert recording is not None
    assert recording.seconds == 0.1
    assert second.open().recording is None
    with pytest.raises(AudioError) as caught:
        third.open()
    assert "SECRET" not in caught.value.message


def test_a_note_of_the_longest_length_is_read_from_a_file(table: Table, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("ä" * 32_768, encoding="utf-8")
    assert len(read_cohort(table("study_id,patient_id,note", "s,p,n.txt")).cases[0].read_note().text) == 32_768


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        (["positive", "negative"], "binary", ("negative", "positive")),
        (["mets", "no_mets"], "binary", ("no_mets", "mets")),
        (["Not-seen", "Seen"], "binary", ("Not-seen", "Seen")),
        (["1", "0"], "binary", ("0", "1")),
        (["malignant", "benign"], "binary", ("benign", "malignant")),
        (["b", "a"], "binary", ("a", "b")),
        (["nodule", "clear"], "binary", ("clear", "nodule")),  # a word that only begins like one
        (["c", "a", "b"], "multiclass", ("a", "b", "c")),
    ],
)
def test_label_order_puts_the_positive_class_last(table: Table, values: list[str], kind: str, labels: tuple[str, ...]) -> None:
    cohort = read_cohort(table("study_id,patient_id,note,label", *(f"s{i},p{i},x,{v}" for i, v in enumerate(values))))
    assert (cohort.kind, cohort.labels) == (kind, labels)


def test_stated_labels_override_the_order_of_the_table(table: Table) -> None:
    cohort = read_cohort(table("study_id,patient_id,note,label", "s1,p1,x,b", "s2,p2,x,a"), labels=("b", "a"))
    assert cohort.cases[0].target.tolist() == [1, 0]


def test_multilabel_columns_may_be_unknown_one_by_one(table: Table) -> None:
    path = table("study_id,patient_id,note,label__mass,label__effusion,x", "s1,p1,n,1,0,9", "s2,p2,n,,1.0,", "s3,p3,n,,,")
    cohort = read_cohort(path)
    assert (cohort.kind, cohort.labels) == ("multilabel", ("mass", "effusion"))
    np.testing.assert_array_equal([c.target for c in cohort.cases[:2]], [[1, 0], [np.nan, 1]])
    assert cohort.cases[2].target is None
    assert cohort.cases[0].columns == {"x": "9"}


@pytest.mark.parametrize(
    ("lines", "leaf", "saying"),
    [
        (["study_id,image", "s,a.nii"], CohortError, "patient_id"),
        (["study_id,patient_id", "s,p"], CohortError, "image, note, audio or tabular values"),
        (["study_id,patient_id,note", "s,,x", ",p,x"], CohortError, "study_id in every row; 1"),
        (["study_id,patient_id,note", "s,p,x", "s,q,x", "s,q,x"], CohortError, "2 are repeated"),
        (["study_id,patient_id,note", "s,p,x,y"], CohortError, "malformed"),
        (["study_id,patient_id,note,note", "s,p,x,y"], CohortError, "malformed"),
        (["study_id,patient_id,note"], CohortError, "at least one row"),
        (["study_id,patient_id,note,split", "s,p,x,holdout"], CohortError, "train, val, test"),
        (["study_id,patient_id,note,label", "s,p,x,a", "t,q,x,a"], CohortError, "two classes"),
        (["study_id,patient_id,note,label,label__a", "s,p,x,a,1"], CohortError, "Keep one kind"),
        (["study_id,patient_id,note,label__a", "s,p,x,yes"], CohortError, "0, 1 or nothing"),
        (["study_id,patient_id,note,split", "s,SECRET,x,train", "t,SECRET,x,test"], LeakageError, "1 stand in several"),
        (["study_id,patient_id,note,split", "s,SECRET,x,tune", "t,SECRET,x,train"], LeakageError, "1 stand in several"),
    ],
)
def test_a_table_that_breaks_the_contract_is_refused(table: Table, lines: list[str], leaf: type[MedmmError], saying: str) -> None:
    with pytest.raises(MedmmError) as caught:
        read_cohort(table(*lines))
    assert type(caught.value) is leaf
    assert saying in caught.value.message
    assert "SECRET" not in caught.value.message


def test_a_patient_may_have_several_studies_on_one_side(table: Table) -> None:
    path = table("study_id,patient_id,note,split", "s,p,x,validation", "t,p,x,dev", "u,p,x,")
    assert [c.split for c in read_cohort(path).cases] == ["val", "val", None]


def test_a_label_outside_the_stated_ones_is_refused(table: Table) -> None:
    with pytest.raises(CohortError, match="among a, b"):
        read_cohort(table("study_id,patient_id,note,label", "s,p,x,SECRET"), labels=("a", "b"))


@pytest.mark.parametrize(("labels", "kind"), [(("a", "b"), "binary"), (("a", "b", "c"), "multiclass")])
def test_a_table_may_lack_some_of_the_stated_labels(table: Table, labels: tuple[str, ...], kind: str) -> None:
    cohort = read_cohort(table("study_id,patient_id,note,label", "s,p,x,a", "t,q,x,a"), labels=labels)
    assert (cohort.kind, cohort.labels) == (kind, labels)
    assert [c.target.argmax() for c in cohort.cases] == [0, 0]


@pytest.mark.parametrize("content", [b"\xff\xfes\0t\0", b'study_id,patient_id,note\n"open', b""])
def test_a_file_that_is_no_utf8_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cohort.csv").write_bytes(content)
    with pytest.raises(CohortError):
        read_cohort(tmp_path / "cohort.csv")


@pytest.mark.parametrize("name", ["none.csv", "cohort.xlsx"])
def test_a_missing_table_or_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "cohort.xlsx").write_bytes(b"PK")
    with pytest.raises(CohortError, match=r"\.csv, \.parquet"):
        read_cohort(tmp_path / name)


def test_parquet_and_csv_give_the_same_cases(table: Table, tmp_path: Path) -> None:
    rows = [
        {"study_id": "s1", "patient_id": "p1", "note": "x", "label__a": 1, "age": 61.0},
        {"study_id": "s2", "patient_id": "p2", "note": None, "label__a": 0, "age": None},
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "cohort.parquet")
    from_csv = read_cohort(table("study_id,patient_id,note,label__a,age", "s1,p1,x,1,61.0", "s2,p2,,0,"))
    from_parquet = read_cohort(tmp_path / "cohort.parquet")
    for one, other in zip(from_csv.cases, from_parquet.cases, strict=True):
        np.testing.assert_array_equal(one.target, other.target)
        assert replace(one, target=None) == replace(other, target=None)


def test_digest_is_the_sha256_of_the_file(table: Table) -> None:
    import hashlib

    path = table("study_id,patient_id,note", "s,p,x")
    assert read_cohort(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_real_cohort_opens(shared_data: Path) -> None:
    cohort = read_cohort(shared_data / "sts51" / "cohort.csv")
    assert (len(cohort.cases), cohort.kind, cohort.labels) == (30, "binary", ("no_lung_mets", "lung_mets"))
    study = cohort.cases[0].open()
    assert study.modalities == {"image", "text"}
    assert study.volumes[0].unit == "HU"


def test_a_row_names_the_series_to_read_and_what_may_be_mended(table: Table, ct: Make, save: Save, tmp_path: Path) -> None:
    torn = ct(9, series="1.2.826.0.7", shape=(7, 5))
    del torn[4]
    save([*ct(9, series="1.2.826.0.3"), *torn], "both")
    image(tmp_path / "a.nii")
    cohort = read_cohort(
        table(
            "study_id,patient_id,image,series,repair",
            "rule,p,both,,",
            "uid,p,both,1.2.826.0.7,\"fill, deskew\"",
            "number,p,both,2,fill",
            "several,p,a.nii|both,|2,fill",
        )
    )  # fmt: skip
    with Jail() as jail:
        rule, uid, number, several = (case.open(jail.open) for case in cohort.cases)
    assert (rule.volumes[0].grid.shape, rule.provenance.rule) == ((9, 7, 9), RULE)
    for study in (uid, number):
        assert (study.volumes[0].grid.shape, study.provenance.rule) == ((5, 7, 9), "named by the caller")
        assert study.provenance.repairs == ("1 missing slices interpolated from their neighbours, after slice 4",)
    assert np.array_equal(several.volumes[1].array, number.volumes[0].array)
    assert several.provenance.repairs == number.provenance.repairs
    assert [n.code for n in several.notices] == ["W_ASSUMED_HU", *(n.code for n in number.notices)]
    assert "series" not in cohort.cases[1].columns  # a UID tells who the patient is
    with pytest.raises(MissingSlicesError):
        replace(cohort.cases[1], repair=()).open()
    with pytest.raises(NoImageError):
        replace(cohort.cases[3], series=("1", "2")).open()


@pytest.mark.parametrize(
    ("row", "saying"),
    [
        ("s,p,a|b,1.2.3,", "one series for each image"),
        ("s,p,,1,", "one series for each image"),
        ("s,p,a,,fix", "fill, resample, deskew, force"),
    ],
)
def test_a_series_or_repair_that_cannot_be_meant_is_refused(table: Table, row: str, saying: str) -> None:
    with pytest.raises(CohortError, match=saying):
        read_cohort(table("study_id,patient_id,image,series,repair", row))


def test_the_text_of_a_note_is_that_of_the_sections_that_may_be_read_and_empty_when_it_cannot_be_read(table: Table) -> None:
    path = table("study_id,patient_id,note", "s,p,INDICATION: Pain. FINDINGS: A mass.", "t,q,absent.txt", "u,r,")
    assert [c.note_text() for c in read_cohort(path).cases] == ["INDICATION: Pain. FINDINGS: A mass.", "", ""]
    assert read_cohort(path, sections=("indication",)).cases[0].note_text() == "INDICATION: Pain."
