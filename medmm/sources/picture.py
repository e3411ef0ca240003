"""A PNG or JPEG picture to a volume of one slice. It has no millimetres and no Hounsfield units."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from medmm.errors import TooLargeError
from medmm.geometry import Grid, lps_to_ras
from medmm.sources.archive import Entry
from medmm.sources.budget import check_size
from medmm.sources.codestream import FrameSize
from medmm.sources.foreign import foreign_bytes
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
    message = "Expected a readable PNG or JPEG picture; this one is damaged. Export it again."
    with foreign_bytes(message), entry.open() as file, _open(file) as picture:
        check_size(1, FrameSize(picture.height, picture.width, len(picture.getbands()), 16 if _is_deep(picture) else 8))
        grey = _grey(picture)
    rows, columns = grey.shape
    array = grey.T[np.newaxis, :, :, np.newaxis]
    grid = Grid((columns, rows, 1), lps_to_ras(np.eye(4)))
    notice = Notice("W_NO_SCALE", "A picture has neither millimetres nor Hounsfield units; geometry is in pixels.")
    provenance = Provenance(source="picture", chosen=f"picture of {columns} x {rows} pixels")
    return Study(volumes=(Volume(array, grid, "intensity", "OT"),), notices=(notice,), provenance=provenance)


def _open(file: BinaryIO) -> Any:
    from PIL import Image

    try:
        return Image.open(file, formats=("PNG", "JPEG"))
    except Image.DecompressionBombError:  # raised from the header, before a pixel is decoded
        msg = "Expected a picture of ordinary size; the header states hundreds of millions of pixels. Make it smaller."
        raise TooLargeError(msg) from None


def _grey(picture: Any) -> AnyArray:
    """(rows, columns) int16, 0 to 255."""
    if _is_deep(picture):  # 16 bits: Pillow's own conversion clips them instead of scaling
        return (np.asarray(picture, dtype=np.int32) // 257).astype(np.int16)
    return np.asarray(picture.convert("L"), dtype=np.int16)


def _is_deep(picture: Any) -> bool:
    return bool(picture.mode.startswith("I"))
