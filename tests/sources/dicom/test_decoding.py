from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from medmm import open_study
from medmm.errors import CorruptError
from medmm.sources.dicom import decoding
from medmm.sources.dicom.decoder import Decoder

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in two processes however little there is to do."""
    monkeypatch.setattr(decoding, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(decoding, "_available_processors", lambda: 2)


def file_of(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.usefixtures("in_processes")
def test_processes_give_the_voxels_of_plain_pixels_in_order(ct: Make, save: Save, syntax: str) -> None:
    slices = ct(9, shape=(64, 48))
    plain = open_study(save(slices, "plain")).volumes[0]
    for dataset in slices:
        dataset.compress(syntax, generate_instance_uid=False)
    packed = open_study(save(slices, "packed")).volumes[0]
    np.testing.assert_array_equal(plain.array, packed.array)
    assert packed.array.dtype == np.int16


@pytest.mark.usefixtures("in_processes")
def test_an_error_in_a_process_is_the_error_here(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(4)
    for dataset in slices:
        dataset.compress(RLELossless)
    slices[2].PixelData = slices[2].PixelData[:40] + b"\x00" * (len(slices[2].PixelData) - 40)
    refused(CorruptError, save(slices))


def test_a_decoder_that_dies_is_a_damaged_slice(ct: Make) -> None:
    (dataset,) = ct(1)
    decoder = Decoder()
    try:
        (plane,) = decoder.decode(file_of(dataset), [0], (7, 9))
        np.testing.assert_array_equal(plane, dataset.pixel_array)
        os.kill(decoder._process.pid, signal.SIGKILL)
        with pytest.raises(CorruptError, match="crashed"):
            decoder.decode(file_of(dataset), [0], (7, 9))
    finally:
        decoder.close()


def test_little_work_starts_no_process(ct: Make, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "Decoder", None)
    slices = ct(3)
    for dataset in slices:
        dataset.compress(RLELossless)
    assert open_study(save(slices)).volumes[0].grid.shape == (9, 7, 3)


@pytest.mark.usefixtures("in_processes")
def test_where_no_process_can_be_started_slices_are_decoded_here(ct: Make, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Decoder:
        raise OSError

    monkeypatch.setattr(decoding, "Decoder", fail)
    slices = ct(3)
    for dataset in slices:
        dataset.compress(RLELossless)
    assert open_study(save(slices)).volumes[0].grid.shape == (9, 7, 3)
