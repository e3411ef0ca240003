"""Thumbnails: the middle slice the right way round, in true proportions."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from medmm.evaluation.thumbnails import middle_slice, thumbnails
from medmm.geometry import Grid
from medmm.study import Volume


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def volume(array, affine) -> Volume:
    return Volume(array[None], Grid(array.shape, affine), "CT", "HU")


def test_left_is_on_the_right_the_back_below_and_a_millimetre_is_one_length() -> None:
    array = np.zeros((60, 30, 5), np.int16)
    array[50:, 25:, 2] = 1000  # in the middle slice only
    found = picture(middle_slice(volume(array, np.diag([-1.0, -4.0, 3.0, 1.0]))))  # indices grow to the left and the back
    assert found.shape == (192, 96)  # 60 mm wide, 120 mm deep
    rows, columns = np.nonzero(found > 128)
    assert columns.min() > 96 * 3 / 4
    assert rows.min() > 192 * 3 / 4


def test_a_flat_image_is_no_error() -> None:
    assert picture(middle_slice(volume(np.full((4, 4, 4), -1000, np.int16), np.eye(4)))).max() == 0


def test_only_wanted_studies_have_one(phantom) -> None:
    cohort = phantom / "cohort.csv"
    ids = [line.split(",")[0] for line in cohort.read_text(encoding="utf-8").splitlines()[1:]]
    wanted = ids[1:3]
    found = thumbnails(cohort, {*wanted, "not there"})
    assert set(found) == set(wanted)
    assert all(picture(png).shape == (192, 192) for png in found.values())
