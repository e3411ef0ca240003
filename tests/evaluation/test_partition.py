"""Sides of a split share neither patients nor images, or nothing is scored."""

from __future__ import annotations

import pytest

from medmm.errors import LeakageError, PredictionsError
from medmm.evaluation.partition import Member, members_of, prove_partition, read_members
from medmm.store import Record


def test_what_two_sides_have_in_common_is_counted_and_none_is_proof() -> None:
    found = prove_partition(
        [
            Member("a", "p1", "train", "i1"),
            Member("b", "p1", "train", "i2"),
            Member("c", "p2", "val", "i3"),
            Member("d", "p3", "test", "i4"),
        ]
    )
    assert found is not None
    assert (found.samples, found.patients) == ({"test": 1, "train": 2, "val": 1}, {"test": 1, "train": 1, "val": 1})
    assert [(o.first, o.second, o.patients, o.images) for o in found.overlaps] == [
        ("test", "train", 0, 0), ("test", "val", 0, 0), ("train", "val", 0, 0)
    ]  # fmt: skip
    assert found.level == "patient and image"


def test_a_patient_on_two_sides_is_leakage() -> None:
    with pytest.raises(LeakageError, match="test and train share 1 patients") as caught:
        prove_partition([Member("a", "p1", "train"), Member("b", "p1", "test"), Member("c", "p2", "test")])
    assert caught.value.code == "E_LEAKAGE"
    assert "p1" not in caught.value.message


def test_a_copied_image_of_another_patient_is_leakage() -> None:
    with pytest.raises(LeakageError, match="share 0 patients and 1 images"):
        prove_partition([Member("a", "p1", "train", "same"), Member("b", "p2", "test", "same")])


def test_without_digests_the_proof_is_of_patients_and_says_so() -> None:
    found = prove_partition([Member("a", "p1", "train"), Member("b", "p2", "test", "i")])
    assert found is not None
    assert (found.level, found.overlaps[0].images) == ("patient", None)


def test_one_side_proves_nothing_and_the_same_sample_twice_on_a_side_is_one() -> None:
    assert prove_partition([Member("a", "p1", "test"), Member("b", "p1", "test")]) is None
    found = prove_partition([Member("a", "p1", "test"), Member("a", "p1", "test"), Member("b", "p2", "train")])
    assert found is not None
    assert found.samples == {"test": 1, "train": 1}


def test_members_are_the_full_arm_and_rows_without_a_side_belong_to_the_scored_one() -> None:
    records = [
        Record("a", "p1", 0, "full", "val", image_sha256="i"),
        Record("a", "p1", 0, "image", "val"),
        Record("b", "p2", 1, "full"),
    ]
    assert members_of(records, "test") == [Member("a", "p1", "val", "i"), Member("b", "p2", "test")]


def test_the_partition_file_of_a_run_is_read(tmp_path) -> None:
    assert read_members(tmp_path) == ()
    (tmp_path / "partition.csv").write_text("sample_id,patient_id,split,image_sha256\na,p1,train,i1\nb,p2,val,\n")
    assert read_members(tmp_path) == (Member("a", "p1", "train", "i1"), Member("b", "p2", "val"))
    (tmp_path / "partition.csv").write_text("sample_id,split\na,train\n")
    with pytest.raises(PredictionsError, match="patient_id"):
        read_members(tmp_path)
