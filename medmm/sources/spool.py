"""A study on disk between two processes: one reads foreign bytes, the other only these checked files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from medmm.errors import NoImageError
from medmm.geometry import Grid
from medmm.study import Notice, Provenance, Study, Volume

_ABOUT = "study.json"


def write_study(study: Study, folder: Path) -> None:
    """Write volumes as `.npy` and everything else as JSON. The note is not written."""
    for index, volume in enumerate(study.volumes):
        np.save(folder / f"volume{index}.npy", np.ascontiguousarray(volume.array), allow_pickle=False)
    about = {
        "volumes": [{"affine": v.grid.affine.tolist(), "unit": v.unit, "modality": v.modality} for v in study.volumes],
        "notices": [[n.code, n.message] for n in study.notices],
        "provenance": _provenance_dict(study.provenance),
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def read_study(folder: Path) -> Study:
    """Read back what `write_study` wrote.

    Raises:
        NoImageError: If it is not there, e.g. removed because it was too old.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        volumes = tuple(_volume(folder / f"volume{i}.npy", entry) for i, entry in enumerate(about["volumes"]))
    except OSError:
        msg = "Expected the study that was opened before; it has been removed. Open it again."
        raise NoImageError(msg) from None
    provenance = about["provenance"]
    left_out = tuple((reason, count) for reason, count in provenance.pop("left_out"))
    return Study(
        volumes=volumes,
        notices=tuple(Notice(code, message) for code, message in about["notices"]),
        provenance=Provenance(**provenance, left_out=left_out),
    )


def _volume(file: Path, entry: dict[str, Any]) -> Volume:
    array = np.load(file, allow_pickle=False)
    _, i, j, k = array.shape
    return Volume(array, Grid((i, j, k), np.asarray(entry["affine"])), entry["unit"], entry["modality"])


def _provenance_dict(provenance: Provenance) -> dict[str, Any]:
    return {
        "source": provenance.source,
        "chosen": provenance.chosen,
        "rule": provenance.rule,
        "left_out": [list(pair) for pair in provenance.left_out],
    }
