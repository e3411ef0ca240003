"""A PNG or JPEG picture to a volume of one slice. It has no millimetres and no Hounsfield units."""

from __future__ import annotations

import warnings

import numpy as np

from medmm.errors import CorruptError, MedmmError, TooLargeError
from medmm.geometry import Grid, lps_to_ras
from medmm.settings import LIMITS
from medmm.sources.archive import Entry
from medmm.study import Notice, Provenance, Study, Volume

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def is_picture(head: bytes) -> bool:
    """Whether the first bytes are those of PNG or JPEG."""
    return head.startswith(_SIGNATURES)


def read_study(entry: Entry) -> Study:
    """Read one picture as grey levels.

    Returns:
        A study whose volume is (1, columns, rows, 1), int16, 0 to 255.

    Raises:
        TooLargeError, CorruptError: If over the voxel limit, or unreadable.
    """
    from PIL import Image

    try:
        with entry.open() as file, warnings.catch_warnings(), Image.open(file, formats=("PNG", "JPEG")) as picture:
            warnings.simplefilter("ignore")
            columns, rows = picture.size
            if columns * rows > LIMITS.voxels:
                msg = f"Expected at most {LIMITS.voxels:,} pixels; the header states {columns * rows:,}. Make it smaller."
                raise TooLargeError(msg)
            grey = np.asarray(picture.convert("L"), dtype=np.int16)
    except MedmmError:
        raise
    except (Exception, MemoryError):  # foreign bytes: whatever the decoder throws means the same thing
        msg = "Expected a readable PNG or JPEG picture; this one is damaged. Export it again."
        raise CorruptError(msg) from None
    array = grey.T[np.newaxis, :, :, np.newaxis]
    grid = Grid((columns, rows, 1), lps_to_ras(np.eye(4)))
    notice = Notice("W_NO_SCALE", "A picture has neither millimetres nor Hounsfield units; geometry is in pixels.")
    provenance = Provenance(source="picture", chosen=f"picture of {columns} x {rows} pixels")
    return Study(volumes=(Volume(array, grid, "intensity", "OT"),), notices=(notice,), provenance=provenance)
