"""Mutated files read by the thousand: `python tests/fuzz.py --count 20000 --seed 1`.

Each is a study within all limits or one typed error, and none crashes, takes longer than 30 seconds or
needs more than 2 GB. Batches are read in the jail's own children. Prints one JSON document; the exit code
is 1 when a file did anything else, and `--keep FOLDER` keeps such files. A seed gives the same files again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import resource
import sys
import tempfile
import time
import wave
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medmm.worker import SINGLE_THREADED

os.environ.update(SINGLE_THREADED)  # before numpy is imported: the batches are forked

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medmm.errors import BudgetError, MedmmError
from medmm.settings import LIMITS
from medmm.sources.cell import Allowance, confined, preload
from medmm.sources.opener import open_study
from medmm.sources.text import read_note
from medmm.study import Study

BATCH = 100
SLOW_SECONDS, MEMORY = 30.0, 2 << 30
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
SHAPE = (48, 40)


def seeds() -> dict[str, bytes]:
    """One small sound file of every format that is read, by name; what begins with `note` or `audio` is read as such."""
    found = {
        f"dicom_{uid.name}": dicom(uid) for uid in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
    }
    found |= {f"dicom_{uid.name}": dicom(uid) for uid in (JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, RLELossless)}
    found["dicom_explicit"] = plain = dicom(ExplicitVRLittleEndian)
    found["dicom_multi_frame"] = dicom(ExplicitVRLittleEndian, frames=3)
    found["series"] = plain  # mutated, then zipped with sound slices
    found["zip"] = zipped({"first": plain, **SOUND})
    voxels = np.random.default_rng(0).integers(-1000, 1000, (12, 10, 8), dtype=np.int16)
    found["nifti"] = nibabel.Nifti1Image(voxels, np.diag([0.8, 0.8, 2, 1])).to_bytes()
    found["nifti_float"] = nibabel.Nifti1Image(voxels.astype(np.float32), np.diag([0.8, 0.8, 2, 1])).to_bytes()
    found["nifti_gz"] = gzip.compress(found["nifti"])
    for form in ("PNG", "JPEG"):
        out = io.BytesIO()
        Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40) % 251).save(out, form)
        found[form.lower()] = out.getvalue()
    found["note"] = "FINDINGS: nodule of 2,4 cm, größer.".encode("utf-16")
    found["audio"] = audio()
    return found


def dicom(syntax: Any, frames: int = 0, position: float = 0.0) -> bytes:
    """A CT slice, or a multi-frame CT with functional groups."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{int(position)}"
    dataset.SeriesInstanceUID, dataset.Modality, dataset.ImageType = "1.2.3", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = SHAPE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    plane = {
        "ImagePositionPatient": [0.0, 0.0, position],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.8],
    }
    values = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU"}
    pixels = np.random.default_rng(0).integers(0, 2000, (max(frames, 1), *SHAPE), dtype=np.uint16)
    if frames:
        add_frames(dataset, plane, values, frames)
    else:
        for keyword, value in (plane | values).items():
            setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes()
    encode(dataset, syntax, pixels[0])
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def add_frames(dataset: Dataset, plane: dict[str, Any], values: dict[str, Any], count: int) -> None:
    """Functional groups of an enhanced CT."""

    def group(**elements: Any) -> list[Dataset]:
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        return [item]

    dataset.SOPClassUID, dataset.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", count
    shared = Dataset()
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=plane["ImageOrientationPatient"])
    shared.PixelMeasuresSequence = group(PixelSpacing=plane["PixelSpacing"])
    shared.PixelValueTransformationSequence = group(**values)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for k in range(count):
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[0, 0, 2 * k])
        dataset.PerFrameFunctionalGroupsSequence.append(frame)


def encode(dataset: Dataset, syntax: Any, pixels: Any) -> None:
    """Bring the pixels into a transfer syntax."""
    if syntax == JPEGBaseline8Bit:
        out = io.BytesIO()
        Image.fromarray((pixels // 8).astype(np.uint8)).save(out, "JPEG")
        dataset.PixelData, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = encapsulate([out.getvalue()]), 8, 8, 7
        dataset["PixelData"].VR = "OB"
    elif syntax.is_encapsulated:
        dataset.compress(
            syntax, encoding_plugin="pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg", generate_instance_uid=False
        )
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = pixels.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax


def zipped(members: dict[str, bytes]) -> bytes:
    """A deflated zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def audio() -> bytes:
    """A tenth of a second of noise as WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.random.default_rng(0).integers(-9999, 9999, 1600, dtype=np.int16).tobytes())
    return out.getvalue()


SOUND = {f"{k}": dicom(ExplicitVRLittleEndian, position=2.0 * k) for k in (1, 2)}
"""The other slices of a series in which one is damaged."""


def mutate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One to four damages, most of them near the beginning, where headers are."""
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        near = int(rng.integers(min(len(out), 1500))) if rng.random() < 0.7 else int(rng.integers(len(out)))
        length = int(rng.integers(1, 64))
        kind = rng.integers(8)
        if kind == 0:
            out[near] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            out[near : near + 8] = rng.bytes(8)
        elif kind == 2:
            del out[near:]
        elif kind == 3:
            del out[near : near + length]
        elif kind == 4:
            out[near:near] = out[near : near + length]
        elif kind == 5:
            number = int(rng.choice(EXTREMES)).to_bytes(4, "little")
            out[near : near + 4] = number if rng.random() < 0.5 else number[::-1]
        elif kind == 6:
            out[near : near + 2] = int(rng.choice(EXTREMES)).to_bytes(4, "little")[:2]
        else:
            start = int(rng.integers(len(other)))
            out[near : near + length] = other[start : start + length]
    return bytes(out)


def flaw_of(study: Study) -> str:
    """What an accepted study breaks of the limits; empty when nothing."""
    for volume in study.volumes:
        low, high = LIMITS.spacing_mm
        spacing = np.asarray(volume.grid.spacing)
        if not np.isfinite(volume.array).all() or not np.isfinite(volume.grid.affine).all():
            return "not finite"
        if volume.array.size > LIMITS.voxels or not all(volume.array.shape):
            return "shape"
        if study.provenance.source != "picture" and not ((spacing >= low * 0.999) & (spacing <= high * 1.001)).all():
            return "spacing"
        if volume.unit == "HU" and not LIMITS.hu[0] <= volume.array.min() <= volume.array.max() <= LIMITS.hu[1]:
            return "HU"
    if study.note is not None and len(study.note.text) > LIMITS.note_chars:
        return "note"
    return ""


def read(name: str, path: Path) -> Study:
    """Open a file as what its seed was."""
    if name.startswith("note"):
        return open_study(None, read_note(path))
    return open_study(None, audio=path) if name.startswith("audio") else open_study(path)


class Fuzzer:
    """Makes and reads mutants.

    Args:
        seed: Of all random choices.
        folder: For one file at a time.
        extra: More sound files to mutate.
    """

    def __init__(self, seed: int, folder: Path, extra: list[Path]) -> None:
        self._seed, self._folder = seed, folder
        self._seeds = list((seeds() | {f"file_{i}": file.read_bytes() for i, file in enumerate(extra)}).items())

    def make(self, index: int) -> tuple[str, bytes]:
        """Name of the seed and content of a mutant."""
        rng = np.random.default_rng((self._seed, index))
        name, content = self._seeds[index % len(self._seeds)]
        mutant = mutate(content, self._seeds[int(rng.integers(len(self._seeds)))][1], rng)
        return name, zipped({"mutant": mutant, **SOUND}) if name == "series" else mutant

    def batch(self, start: int, stop: int) -> dict[str, Any]:
        """Read mutants; says how each ended, which were findings, and what it cost."""
        outcomes: Counter[str] = Counter()
        findings, slowest = [], 0.0
        path = self._folder / "mutant"
        for index in range(start, stop):
            (self._folder / "index").write_text(str(index))
            name, content = self.make(index)
            path.write_bytes(content)
            began = time.perf_counter()
            outcome, finding = self._outcome(name, path)
            slowest = max(slowest, time.perf_counter() - began)
            outcomes[f"{name.partition('_')[0]} {outcome}"] += 1
            if finding or time.perf_counter() - began > SLOW_SECONDS:
                findings.append((index, finding or "slow"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return {"outcomes": outcomes, "findings": findings, "slowest": slowest, "peak_mb": peak}

    @staticmethod
    def _outcome(name: str, path: Path) -> tuple[str, str]:
        try:
            flaw = flaw_of(read(name, path))
        except MedmmError as error:
            return error.code, error.code if error.code in (MedmmError.code, BudgetError.code) else ""
        except Exception as error:
            return "untyped", f"untyped {type(error).__name__}"
        return "read", flaw


def run(fuzzer: Fuzzer, count: int, folder: Path, told: Callable[[int], None]) -> dict[str, Any]:
    """Read all mutants in batches; a child that dies costs the one file it died of."""
    outcomes: Counter[str] = Counter()
    findings: list[tuple[int, str]] = []
    slowest, peak, began, start = 0.0, 0, time.perf_counter(), 0
    read_batch = confined(fuzzer.batch, Allowance(seconds=BATCH * 2.0 + SLOW_SECONDS, memory_bytes=MEMORY))
    while start < count:
        stop = min(start + BATCH, count)
        try:
            found = read_batch(start=start, stop=stop)
        except MedmmError as error:
            index = int((folder / "index").read_text())
            findings.append((index, f"died: {error.code}"))
            start = index + 1  # what this batch read before is counted as lost, not as read
            continue
        outcomes.update(found["outcomes"])
        findings += map(tuple, found["findings"])
        slowest, peak, start = max(slowest, found["slowest"]), max(peak, found["peak_mb"]), stop
        told(start)
    return {"files": count, "seconds": round(time.perf_counter() - began, 1), "slowest_seconds": round(slowest, 2), "peak_mb": peak,
            "outcomes": dict(sorted(outcomes.items())), "findings": findings}  # fmt: skip


def main() -> int:
    """Read the command line, fuzz, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that were findings")
    parser.add_argument("--files", type=Path, help="folder of more sound files, of at most 200 KB, to mutate")
    given = parser.parse_args()
    extra = sorted(f for f in given.files.rglob("*") if f.is_file() and f.stat().st_size < 200 << 10) if given.files else []
    preload()
    with tempfile.TemporaryDirectory(prefix="medmm-fuzz-") as folder:
        fuzzer = Fuzzer(given.seed, Path(folder), extra)
        report = run(fuzzer, given.count, Path(folder), lambda done: print(f"{done} of {given.count}", file=sys.stderr, end="\r"))
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
        for index, _ in report["findings"]:
            (given.keep / f"{index}").write_bytes(fuzzer.make(index)[1])
    print(json.dumps(report, indent=2))
    return int(bool(report["findings"]))


if __name__ == "__main__":
    sys.exit(main())
