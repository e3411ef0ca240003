"""Limits on what is read, in one place, so that no reader invents its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper (and for geometry lower) bounds on input.

    Attributes:
        files: Files looked at under one path.
        file_bytes: Bytes of one file, inflated.
        total_bytes: Bytes of all files under one path, inflated.
        zip_ratio: Inflated over stored bytes of one zip member.
        plane_pixels: Pixels of one plane.
        voxels: Voxels of one volume.
        spacing_mm: Smallest and largest believable distance between neighbouring voxels.
        hu: Smallest and largest believable Hounsfield unit after rescale.
        note_chars: Characters of a note; what follows is not read.
        note_bytes: Bytes of a note that is looked at at all.
        audio_bytes: Bytes of a recording's file.
        audio_seconds: Duration of a recording.
        seconds: Time to read one study, in a process of its own.
        memory_bytes: Address space of that process.
    """

    files: int = 5_000
    file_bytes: int = 1 << 30
    total_bytes: int = 4 << 30
    zip_ratio: int = 200
    plane_pixels: int = 1 << 26
    voxels: int = 1 << 28
    spacing_mm: tuple[float, float] = (0.05, 20.0)
    hu: tuple[float, float] = (-32_768.0, 65_535.0)
    note_chars: int = 32_768
    note_bytes: int = 1 << 20
    audio_bytes: int = 25 << 20
    audio_seconds: float = 300.0
    seconds: float = 90.0
    memory_bytes: int = 6 << 30


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Upper bounds on what a visitor of the web page hands in beside studies.

    Attributes:
        cohort_rows: Rows of a cohort.
        cohort_bytes: Bytes of its table.
        metrics_bytes: Bytes of a `metrics.json`.
    """

    cohort_rows: int = 500
    cohort_bytes: int = 8 << 20
    metrics_bytes: int = 16 << 20


PAGE_LIMITS = PageLimits()
