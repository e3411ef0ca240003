from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from medmm import open_study
from medmm.errors import DuplicatePositionError, MissingSlicesError, MultipleSeriesError, NoImageError
from medmm.sources.dicom.inventory import RULE

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"count": 4}, {"count": 9, "Modality": "MR"}),
        ({"count": 4, "Modality": "MR"}, {"count": 9, "Modality": "PT"}),
        ({"count": 4, "Modality": "PT"}, {"count": 9, "Modality": "OT"}),
        ({"count": 4}, {"count": 9, "ImageType": ["DERIVED", "SECONDARY"]}),
        ({"count": 9}, {"count": 4}),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_rule_picks_one_of_two_mixed_series_and_says_so(
    ct: Make, save: Save, better: dict[str, object], worse: dict[str, object], order: int
) -> None:
    chosen, other = ct(shape=(6, 5), **better), ct(shape=(8, 8), **worse)
    study = open_study(save([*chosen, *other][::order]))
    assert study.volumes[0].grid.shape == (5, 6, better["count"])
    assert [n.code for n in study.notices] == ["W_OTHER_SERIES"]
    said = study.notices[0].message
    assert RULE in said
    assert f"Read the {better.get('Modality', 'CT')} series of {better['count']} slices, 5 x 6" in said
    assert f"Not read: {worse.get('Modality', 'CT')} series of {worse['count']} slices, 8 x 8" in said
    assert study.provenance.chosen == f"{better.get('Modality', 'CT')} series of {better['count']} slices, 5 x 6"
    assert study.provenance.rule == RULE
    assert study.provenance.left_out[0][1] == worse["count"]


def test_two_series_equal_under_the_rule_are_refused_with_a_listing(ct: Make, save: Save, refused: Callable) -> None:
    refused(MultipleSeriesError, save([*ct(4), *ct(4)]), "CT series of 4 slices, 9 x 7; CT series of 4 slices, 9 x 7")


def test_a_named_series_overrides_the_rule(ct: Make, save: Save) -> None:
    study = open_study(save([*ct(6), *ct(3, series="1.2.826.0.9")]), series="1.2.826.0.9")
    assert study.volumes[0].grid.shape == (9, 7, 3)
    assert study.provenance.rule == "named by the caller"


def test_a_named_series_settles_a_tie(ct: Make, save: Save) -> None:
    assert open_study(save([*ct(4), *ct(4, series="1.2.826.0.9")]), series="1.2.826.0.9").volumes[0].grid.shape == (9, 7, 4)


def test_an_unknown_named_series_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    refused(NoImageError, save(ct(3)), series="1.2.826.0.404")


def test_slices_of_two_series_at_the_same_places_are_never_interleaved(ct: Make, save: Save) -> None:
    study = open_study(save([*ct(6), *ct(5, origin=(-10, -20, 31.25))]))
    assert study.volumes[0].grid.shape == (9, 7, 6)
    assert study.volumes[0].grid.spacing[2] == pytest.approx(2.5)


def test_slices_of_another_matrix_under_one_uid_are_another_series(ct: Make, save: Save) -> None:
    slices = [*ct(5, series="1.2.826.0.5"), *ct(2, series="1.2.826.0.5", shape=(4, 4))]
    assert open_study(save(slices)).volumes[0].grid.shape == (9, 7, 5)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"Modality": "SR"}, "not an image (SR)"),
        ({"Modality": "SEG"}, "not an image (SEG)"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour picture, not a slice"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour picture, not a slice"),
        ({"NumberOfFrames": 20}, "multi-frame object"),
    ],
)
def test_what_is_no_slice_is_left_out_and_counted(
    ct: Make, save: Save, refused: Callable, tags: dict[str, object], reason: str
) -> None:
    others = ct(2, **tags)
    study = open_study(save([*ct(4), *others]))
    assert study.volumes[0].grid.shape == (9, 7, 4)
    assert [(n.code, n.message) for n in study.notices] == [("W_LEFT_OUT", f"Files left out: 2 x {reason}.")]
    assert study.provenance.left_out == ((reason, 2),)
    refused(NoImageError, save(others, "alone"), f"2 x {reason}")


def test_exact_copies_of_a_file_are_dropped_and_counted(ct: Make, save: Save) -> None:
    folder = save(ct(4))
    shutil.copytree(folder, folder / "again")
    study = open_study(folder)
    assert study.volumes[0].grid.shape == (9, 7, 4)
    assert study.provenance.left_out == (("exact copy of another file", 4),)


def test_different_slices_that_share_an_identifier_are_all_kept(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(5, SOPInstanceUID="1.2.826.0.6")
    assert open_study(save(slices)).volumes[0].grid.shape == (9, 7, 5)
    slices[1].ImagePositionPatient = slices[2].ImagePositionPatient
    refused(DuplicatePositionError, save(slices))


def test_a_header_that_is_a_ruin_is_left_out_and_the_gap_is_seen(ct: Make, save: Save, refused: Callable) -> None:
    folder = save(ct(5))
    middle = sorted(folder.iterdir())
    for file in middle:
        content = file.read_bytes()
        if b"-20\\35" in content:  # third slice: z = 30 + 2 * 2.5
            file.write_bytes(content[:160] + b"\xff" * (len(content) - 160))
    refused(MissingSlicesError, folder)


def test_summary_of_the_study_tells_what_was_read_and_nothing_private(ct: Make, save: Save) -> None:
    study = open_study(save([*ct(6), *ct(3)]))
    text = str(study.summary()) + str(study.notices)
    assert "CT series of 6 slices" in text
    assert "SECRET" not in text
    assert "1.2.826" not in text
