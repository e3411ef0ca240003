from __future__ import annotations

import json

import numpy as np
import pytest

from medmm.errors import NonFiniteError, NotHounsfieldError, TextError, TooLargeError, ValuesError
from medmm.geometry import Grid
from medmm.study import Note, Notice, Provenance, Quantity, Recording, Study, Values, Volume

GRID = Grid((2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))


def volume(value: float = 0, dtype: object = np.float32, unit: str = "HU") -> Volume:
    return Volume(np.full((1, 2, 3, 4), value, dtype), GRID, unit, "CT")


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 2, 4), (1, 2, 3, 4, 1)])
def test_an_array_that_does_not_fit_its_grid_is_a_programming_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matching its grid"):
        Volume(np.zeros(shape, np.int16), GRID, "HU", "CT")


def test_a_volume_has_a_largest_size() -> None:
    shape = (1024, 1024, 257)
    with pytest.raises(TooLargeError, match="268,435,456"):
        Volume(np.broadcast_to(np.int16(0), (1, *shape)), Grid(shape, np.eye(4)), "HU", "CT")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_volume_is_finite(value: float) -> None:
    with pytest.raises(NonFiniteError):
        volume(value)


@pytest.mark.parametrize(("value", "fits"), [(-32_768, True), (65_535, True), (-32_769, False), (65_536, False)])
def test_hounsfield_units_have_bounds_and_intensities_have_none(value: float, fits: bool) -> None:
    assert volume(value, unit="intensity").array.max() == value
    if fits:
        assert volume(value).array.max() == value
    else:
        with pytest.raises(NotHounsfieldError):
            volume(value)


def test_copies_of_an_image_have_one_digest_however_they_are_stored() -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (1, 2, 3, 4)).astype(np.int16)
    first = Volume(array, GRID, "HU", "CT").sha256()
    flipped = np.diag([-1.0, 2.0, -3.0, 1.0])
    turned = Volume(array.astype(np.float32)[:, ::-1, :, ::-1] + 0.2, Grid((2, 3, 4), flipped), "HU", "CT")
    swapped = Volume(array.transpose(0, 3, 1, 2), Grid((4, 2, 3), GRID.affine[:, [2, 0, 1, 3]]), "HU", "CT")
    assert {turned.sha256(), swapped.sha256()} == {first}


def test_other_images_have_other_digests() -> None:
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    one_voxel = array.copy()
    one_voxel[0, 1, 1, 1] += 1
    others = [Volume(a, GRID, "HU", "CT") for a in (array, one_voxel, array + 40_000)]
    others.append(Volume(array.reshape(1, 4, 3, 2), Grid((4, 3, 2), np.eye(4)), "HU", "CT"))
    others += [Volume(a, GRID, "intensity", "MR") for a in (array, array / 1000, array / 1001)]
    digests = [v.sha256() for v in others]
    assert len(set(digests)) == len(others)
    assert all(len(d) == 64 for d in digests)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("  Cough.\r\nFever.\rPain.\n", "Cough.\nFever.\nPain."),
        ("a\x00b\x07c\x9bd\u200be\u202ef\u2066g\ufeffh", "abcdefgh"),
        ("tab\tand umlaut ä, 5 µg, ≥ 2 cm", "tab\tand umlaut ä, 5 µg, ≥ 2 cm"),
        ("\u200b \n", ""),
    ],
)
def test_a_note_is_cleaned_of_what_nobody_sees(written: str, kept: str) -> None:
    assert Note(written).text == kept
    assert bool(Note(written)) == bool(kept)


def test_a_note_has_a_longest_length() -> None:
    assert len(Note("x" * 32_768).text) == 32_768
    with pytest.raises(TextError, match="32,769") as caught:
        Note("SECRET" + "x" * 32_763)
    assert "SECRET" not in caught.value.message


@pytest.mark.parametrize(
    ("study", "modalities"),
    [
        (Study(), set()),
        (Study(note=Note(" ")), set()),
        (Study(note=Note("x")), {"text"}),
        (Study(volumes=(volume(),)), {"image"}),
        (Study(volumes=(volume(),), note=Note("x")), {"image", "text"}),
    ],
)
def test_modalities_are_what_is_present(study: Study, modalities: set[str]) -> None:
    assert study.modalities == modalities


def test_notices_are_added_at_the_end_of_a_new_study() -> None:
    first, second = Notice("W_A", "a"), Notice("W_B", "b")
    study = Study(notices=(first,))
    assert study.with_notices(second).notices == (first, second)
    assert study.notices == (first,)


def test_summary_is_json_and_tells_geometry_and_provenance() -> None:
    study = Study(
        volumes=(volume(),), note=Note("SECRET"), provenance=Provenance("dicom", "CT series", "rule", (("localizer", 2),))
    )
    summary = json.loads(json.dumps(study.summary()))
    assert summary["geometry"]["spacing_mm"] == [1.0, 2.0, 3.0]
    assert (summary["geometry"]["unit"], summary["geometry"]["modality"]) == ("HU", "CT")
    assert summary["left_out"] == [{"reason": "localizer", "files": 2}]
    assert "SECRET" not in str(summary)
    assert Study().summary()["geometry"] is None


AGE = Quantity("age", "years", 0, 120)


@pytest.mark.parametrize("number", [0, 61.5, 120, None])
def test_believable_and_missing_values_are_kept(number: float | None) -> None:
    assert Values((AGE,), (number,)).to_dict() == {"age": {"value": number, "unit": "years"}}


@pytest.mark.parametrize("number", [-0.1, 120.1, np.nan, np.inf])
def test_a_value_that_is_not_believable_is_refused_without_saying_it(number: float) -> None:
    with pytest.raises(ValuesError, match="Expected age within 0 to 120 years") as caught:
        Values((AGE,), (number,))
    assert f"{number}" not in caught.value.message


@pytest.mark.parametrize(("name", "low", "high"), [("", 0, 1), ("a", 1, 1), ("a", 2, 1), ("a", -np.inf, 1), ("a", 0, np.nan)])
def test_a_quantity_has_a_name_and_bounds(name: str, low: float, high: float) -> None:
    with pytest.raises(ValueError, match="bounds"):
        Quantity(name, "u", low, high)


def test_values_and_quantities_are_of_one_length() -> None:
    with pytest.raises(ValueError, match="zip"):
        Values((AGE,), ())


def test_a_recording_is_one_finite_channel() -> None:
    assert Recording(np.zeros(800, np.float32), 16_000).seconds == 0.05
    for samples in (np.zeros((2, 3), np.float32), np.zeros(3), np.zeros(0, np.float32)):
        with pytest.raises(ValueError, match="float32"):
            Recording(samples, 16_000)
    with pytest.raises(NonFiniteError):
        Recording(np.array([np.nan], np.float32), 16_000)


def test_a_note_brings_its_notices_and_its_sections() -> None:
    notice = Notice("W_NOTE_LONG", "It was cut.")
    study = Study().with_note(Note("INDICATION: cough.", (notice,)))
    assert study.notices == (notice,)
    assert Study().with_note(None) == Study()
    assert study.summary()["note"] == {"characters": 18, "encoding": None, "sections": [{"name": "indication", "characters": 6}]}


def test_the_summary_says_what_else_there_is_but_not_what_it_says() -> None:
    study = Study(recording=Recording(np.zeros(16_000, np.float32), 16_000), values=Values((AGE,), (61,)))
    summary = study.summary()
    assert (summary["audio"], summary["values"], summary["note"]) == ({"seconds": 1.0}, ["age"], None)
    assert study.modalities == {"audio", "tabular"}


def test_a_note_says_which_sections_were_left_out_of_it() -> None:
    note = Note("Seen today.\nINDICATION: Pain.\nFINDINGS: A mass.")
    kept = note.keeping(("indication",))
    assert kept.text == "INDICATION: Pain."
    assert [n.code for n in kept.notices] == ["W_NOTE_SECTIONS"]
    assert "findings, text under no heading" in kept.notices[0].message
    assert kept.keeping(("indication",)) == kept
    assert note.keeping(None) is note
