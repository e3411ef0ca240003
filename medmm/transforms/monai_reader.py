"""The same reader as MONAI's `ImageReader`: any MONAI pipeline gets volumes that are right, or a refusal by name.

    LoadImaged(keys="image", reader=StudyReader(), ensure_channel_first=True)

MONAI's `LoadImage` goes on to other readers when `read` of the one asked for fails, and these return
something for nearly every folder that this one refuses. So `read` only takes the paths; the work is
done in `get_data`, whose errors nobody swallows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys

from medmm.errors import GeometryError, NoImageError
from medmm.sources.opener import open_study
from medmm.study import Study, Volume
from medmm.types import AnyArray

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_SAME_GRID_MM = 1e-3


class StudyReader(ImageReader):  # type: ignore[misc] # monai is not followed by the type checker
    """Reads what `medmm.open_study` reads: a DICOM folder, zip or file, NIfTI, a picture.

    The array is (I, J, K) without a channel, in HU for CT; several paths are stacked as channels. Beside
    what every MONAI reader states, the metadata hold `unit`, `modality`, `notices` (one string) and
    `study` (JSON: geometry, what was chosen by which rule, inventory, repairs).

    Args:
        series: As for `open_study`.
        repair: As for `open_study`.
    """

    def __init__(self, series: str | None = None, repair: Sequence[str] = ()) -> None:
        super().__init__()
        self._series, self._repair = series, tuple(repair)

    def verify_suffix(self, filename: Paths) -> bool:
        """Names say nothing: content decides."""
        return True

    def read(self, data: Paths, **kwargs: Any) -> tuple[str | os.PathLike[str], ...]:
        """Take the paths; see the module for why nothing is read yet."""
        return (data,) if isinstance(data, str | os.PathLike) else tuple(data)

    def get_data(self, img: Sequence[str | os.PathLike[str]]) -> tuple[AnyArray, dict[str, Any]]:
        """Read the images.

        Args:
            img: What `read` returned.

        Returns:
            (I, J, K), or (C, I, J, K) for several paths, and metadata.

        Raises:
            InputError: What `open_study` raises; GeometryError also when several images are not on one grid.
        """
        studies = [open_study(path, series=self._series, repair=self._repair) for path in img]
        if not studies or not all(study.volumes for study in studies):
            msg = "Expected at least one image; got none."
            raise NoImageError(msg)
        volumes = [study.volumes[0] for study in studies]
        _refuse_other_grids(volumes)
        several = len(volumes) > 1
        array = np.concatenate([volume.array for volume in volumes]) if several else volumes[0].array[0]
        return array, {MetaKeys.ORIGINAL_CHANNEL_DIM: 0 if several else float("nan"), **_metadata(studies[0])}


def _metadata(study: Study) -> dict[str, Any]:
    """What MONAI's readers state, and what ours adds, as values that batches can be made of."""
    volume = study.volumes[0]
    return {
        MetaKeys.AFFINE: volume.grid.affine.copy(),
        MetaKeys.ORIGINAL_AFFINE: volume.grid.affine.copy(),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.SPATIAL_SHAPE: np.asarray(volume.grid.shape),
        "spacing": np.asarray(volume.grid.spacing),
        "unit": volume.unit,
        "modality": volume.modality,
        "notices": "; ".join(f"{notice.code}: {notice.message}" for notice in study.notices),
        "study": json.dumps(study.summary()),
    }


def _refuse_other_grids(volumes: Sequence[Volume]) -> None:
    first = volumes[0].grid
    for grid in (volume.grid for volume in volumes[1:]):
        if grid.shape != first.shape or np.abs(grid.affine - first.affine).max() > _SAME_GRID_MM:
            msg = "Expected images on one grid to stack as channels; got others. Hand in the folder of a series, not its slices."
            raise GeometryError(msg)
