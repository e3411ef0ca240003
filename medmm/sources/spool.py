"""A study on disk between two processes: one reads foreign bytes, the other only these checked files.

What comes back is checked as if a stranger had written it: a parser that was taken over may leave
anything here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from medmm.errors import MedmmError, NoImageError, WorkerError
from medmm.geometry import Grid
from medmm.study import Notice, Provenance, Recording, Study, Volume
from medmm.types import AnyArray, Unit

_ABOUT, _RECORDING = "study.json", "recording.npy"
_DTYPES = ("int16", "float32")


@dataclass(frozen=True, slots=True)
class _VolumeAbout:
    affine: tuple[tuple[float, float, float, float], ...]
    unit: Unit
    modality: str
    window: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class _About:
    """Everything of a study but its arrays, its note and its values."""

    volumes: tuple[_VolumeAbout, ...]
    notices: tuple[Notice, ...]
    provenance: Provenance
    rate: int | None


@cache
def schema() -> TypeAdapter[_About]:
    """What a study's JSON is checked against; made once, which takes a moment."""
    return TypeAdapter(_About)


def write_study(study: Study, folder: Path) -> None:
    """Write volumes and the recording as `.npy`, the rest as JSON. Note and values, which need no reading, are not written."""
    for index, volume in enumerate(study.volumes):
        np.save(folder / f"volume{index}.npy", volume.array, allow_pickle=False)  # in whichever order it lies in memory
    volumes = tuple(_VolumeAbout(tuple(map(tuple, v.grid.affine.tolist())), v.unit, v.modality, v.window) for v in study.volumes)
    if study.recording is not None:
        np.save(folder / _RECORDING, study.recording.samples, allow_pickle=False)
    about = _About(volumes, study.notices, study.provenance, study.recording.rate if study.recording else None)
    (folder / _ABOUT).write_bytes(schema().dump_json(about))


def read_study(folder: Path) -> Study:
    """Read back what `write_study` wrote.

    Raises:
        NoImageError: If it is not there, e.g. removed because it was too old.
        WorkerError: If it is not what `write_study` writes.
    """
    try:
        about = schema().validate_json((folder / _ABOUT).read_bytes())
        volumes = tuple(_volume(folder / f"volume{i}.npy", entry) for i, entry in enumerate(about.volumes))
        recording = None if about.rate is None else Recording(np.load(folder / _RECORDING, allow_pickle=False), about.rate)
    except FileNotFoundError:
        msg = "Expected the study that was opened before; it has been removed. Open it again."
        raise NoImageError(msg) from None
    except MedmmError:
        raise
    except Exception:  # files of a process that read foreign bytes: no promise about what is in them
        msg = "Expected a checked study from the reading process; got something else. Open it again."
        raise WorkerError(msg) from None
    return Study(volumes=volumes, notices=about.notices, provenance=about.provenance, recording=recording)


def _volume(file: Path, about: _VolumeAbout) -> Volume:
    array: AnyArray = np.load(file, allow_pickle=False)
    if array.dtype.name not in _DTYPES:
        msg = f"Expected an array of {' or '.join(_DTYPES)}; got another."
        raise WorkerError(msg)
    _, i, j, k = array.shape
    return Volume(array, Grid((i, j, k), np.asarray(about.affine)), about.unit, about.modality, about.window)
