"""A PNG or JPEG picture to a volume of one slice. It has no millimetres and no Hounsfield units."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from medmm.errors import CorruptError, MedmmError, TooLargeError
from medmm.geometry import Grid, lps_to_ras
from medmm.sources.archive import Entry
from medmm.study import Notice, Provenance, Study, Volume
from medmm.types import AnyArray

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def is_picture(head: bytes) -> bool:
    """Whether the first bytes are those of PNG or JPEG."""
    return head.startswith(_SIGNATURES)


def read_study(entry: Entry) -> Study:
    """Read one picture as grey levels.

    Returns:
        A study whose volume is (1, columns, rows, 1), int16, 0 to 255.

    Raises:
        TooLargeError, CorruptError: If over the limit on pixels, or unreadable.
    """
    from PIL import Image

    try:
        with entry.open() as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=("PNG", "JPEG")) as picture:
                grey = _grey(picture)
    except MedmmError:
        raise
    except Image.DecompressionBombError:  # raised from the header, before a pixel is decoded
        msg = "Expected a picture of ordinary size; the header states hundreds of millions of pixels. Make it smaller."
        raise TooLargeError(msg) from None
    except (Exception, MemoryError):  # foreign bytes: whatever the decoder throws means the same thing
        msg = "Expected a readable PNG or JPEG picture; this one is damaged. Export it again."
        raise CorruptError(msg) from None
    rows, columns = grey.shape
    array = grey.T[np.newaxis, :, :, np.newaxis]
    grid = Grid((columns, rows, 1), lps_to_ras(np.eye(4)))
    notice = Notice("W_NO_SCALE", "A picture has neither millimetres nor Hounsfield units; geometry is in pixels.")
    provenance = Provenance(source="picture", chosen=f"picture of {columns} x {rows} pixels")
    return Study(volumes=(Volume(array, grid, "intensity", "OT"),), notices=(notice,), provenance=provenance)


def _grey(picture: Any) -> AnyArray:
    """(rows, columns) int16, 0 to 255."""
    if picture.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips them instead of scaling
        return (np.asarray(picture, dtype=np.int32) // 257).astype(np.int16)
    return np.asarray(picture.convert("L"), dtype=np.int16)
