"""A series to a volume: geometry proven or repaired, then pixels, then what has to be said about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medmm.geometry import Grid
from medmm.sources.dicom.inventory import Series
from medmm.sources.dicom.kind import is_projection
from medmm.sources.dicom.pixels import read_values
from medmm.sources.dicom.repair import Plan, Repair, plan
from medmm.sources.dicom.units import AIR_HU, leaves_unit_open, unit_of, window_of
from medmm.study import Notice, Volume


class Assembled(NamedTuple):
    """A volume, what to know of it, and what was repaired."""

    volume: Volume
    notices: tuple[Notice, ...]
    repairs: tuple[str, ...]


def measure(series: Series, repair: Sequence[Repair] = ()) -> tuple[Grid, list[Notice]]:
    """Geometry of a series and what to know of it, from its headers alone.

    Raises:
        GeometryError: If its slices are not one regular volume; a leaf says why.
    """
    planned = plan(series.slices, repair)
    return planned.grid, _geometry_notices(series, planned)


def assemble(series: Series, repair: Sequence[Repair] = ()) -> Assembled:
    """Read a series.

    Raises:
        InputError: A leaf that says what is wrong.
    """
    planned = plan(series.slices, repair)
    values = read_values(planned.slices)
    notices = _geometry_notices(series, planned)
    if values.padded:
        share = values.padded / values.array.size
        told = f"set to {AIR_HU} HU" if series.modality == "CT" else "set to the lowest value"
        notices.append(Notice("W_PADDING", f"{share:.1%} of voxels are padding outside the scan; {told}."))
    if values.high_bits:
        share = values.high_bits / values.array.size
        notices.append(Notice("W_HIGH_BITS", f"{share:.1%} of pixels have bits beyond BitsStored; these were ignored."))
    array = planned.apply(values.array, AIR_HU if series.modality == "CT" else float(values.array.min()))
    array = array.transpose(2, 1, 0)[np.newaxis]  # columns, rows, slices = I, J, K
    window = window_of(planned.slices[len(planned.slices) // 2])
    volume = Volume(array, planned.grid, unit_of(planned.slices[0]), series.modality, window)
    return Assembled(volume, tuple(notices), planned.done)


def _geometry_notices(series: Series, planned: Plan) -> list[Notice]:
    notices = []
    if len(series.slices) == 1:
        message = "Only one slice: the distance between slices cannot be measured and is set to 1 mm."
        notices.append(Notice("W_SINGLE_SLICE", message))
    if any(one.image.lossy for one in series.slices):
        notices.append(Notice("W_LOSSY", "The pixels were compressed with loss; fine detail and exact values are gone."))
    if any(map(leaves_unit_open, series.slices)):
        message = "RescaleType is unspecified; the values are taken as Hounsfield units, as older scanners mean it."
        notices.append(Notice("W_ASSUMED_HU", message))
    if is_projection(series.modality):
        message = "A projection has no place in the patient; millimetres are those of the detector, if any."
        notices.append(Notice("W_NO_SCALE", message))
    if planned.done:
        notices.append(Notice("W_REPAIRED", f"Repaired on request: {'; '.join(planned.done)}."))
    return notices
