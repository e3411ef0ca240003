"""Reading a CT series of 300 x 512 x 512: ours against MONAI, SimpleITK, pydicom alone, and the bare bytes.

    python benchmarks/reading.py [--slices 300] [--repeats 5] [--encodings plain rle jpegls j2k]

Every reader runs in the same process in turn, its files in the cache; the table gives the median of the clock,
the processor's time beside it, and the ratio of medians to ours. Peak memory is measured in a process of
its own for each reader, as resident size over what its imports take, in volumes of int16.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from series import make_series

ENCODINGS = {"plain": None, "rle": RLELossless, "jpegls": JPEGLSLossless, "j2k": JPEG2000Lossless}
SIDE = 512


def bare_bytes(folder: Path) -> np.ndarray:
    """The pixels' bytes into an array made before, in no order: what no reader can beat."""
    files = list(folder.iterdir())
    out = np.empty((len(files), SIDE, SIDE), np.int16)
    for plane, file in zip(out, files, strict=True):
        with file.open("rb", buffering=0) as opened:
            opened.seek(-plane.nbytes, 2)
            opened.readinto(plane.data.cast("B"))
    return out


def ours(folder: Path) -> np.ndarray:
    """This package."""
    from medmm import open_study

    return open_study(folder).volumes[0].array[0]


def plain_pydicom(folder: Path) -> np.ndarray:
    """What a careful script does: sort by position, stack, rescale."""
    slices = sorted((pydicom.dcmread(f) for f in folder.iterdir()), key=lambda s: float(s.ImagePositionPatient[2]))
    planes = [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    return np.stack(planes).astype(np.int16).transpose(2, 1, 0)


def simpleitk(folder: Path) -> np.ndarray:
    """SimpleITK with GDCM's own order of files."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return SimpleITK.GetArrayFromImage(reader.Execute()).transpose(2, 1, 0)


def monai(folder: Path) -> np.ndarray:
    """MONAI as its documentation shows it."""
    from monai.transforms import LoadImage

    return LoadImage(reader="PydicomReader")(folder).numpy()


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "medmm": ours, "MONAI PydicomReader": monai, "SimpleITK": simpleitk, "pydicom": plain_pydicom, "bare bytes": bare_bytes,
}  # fmt: skip


def time_readers(folder: Path, repeats: int, names: list[str]) -> dict[str, tuple[float, float]]:
    """Median seconds of the clock and least seconds of the processor, children included, of each reader."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    expected = READERS["medmm"](folder)
    for _ in range(repeats):
        for name in names:
            start, used = time.perf_counter(), processor_seconds()
            result = READERS[name](folder)
            times[name].append((time.perf_counter() - start, processor_seconds() - used))
            if name not in {"bare bytes", "MONAI PydicomReader"}:
                assert np.array_equal(result, expected), f"{name} gives other voxels"
            elif name == "MONAI PydicomReader":
                assert result.sum(dtype=np.float64) == expected.sum(dtype=np.float64), f"{name} gives other voxels"
            del result
    return {name: (statistics.median(c for c, _ in t), min(p for _, p in t)) for name, t in times.items()}


def processor_seconds() -> float:
    """Of this process and the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_volumes(name: str, folder: Path) -> float:
    """Resident memory that reading adds, in volumes, sampled in a process that has done its imports on a small series."""
    import psutil

    command = [sys.executable, __file__, "--peak", name, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        process = psutil.Process(child.pid)
        before = peak = process.memory_info().rss
        child.stdin.write("go\n")
        child.stdin.flush()
        while child.poll() is None:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, sum(p.memory_info().rss for p in (process, *process.children())))
            time.sleep(0.002)
        return (peak - before) / (len(list(folder.iterdir())) * SIDE * SIDE * 2)


def read_when_told(name: str, folder: Path) -> None:
    """Import what the reader needs, say so, and read once a line comes."""
    with tempfile.TemporaryDirectory() as small:
        if name != "bare bytes":
            READERS[name](make_series(Path(small), 3, 64))
    print("ready", flush=True)
    sys.stdin.readline()
    READERS[name](folder)


def main() -> None:
    """Print a table for each encoding."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--encodings", nargs="+", default=list(ENCODINGS), choices=list(ENCODINGS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "medmm-benchmark")
    parser.add_argument("--peak", nargs=2, metavar=("READER", "SERIES"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.peak:
        read_when_told(arguments.peak[0], Path(arguments.peak[1]))
        return
    for encoding in arguments.encodings:
        folder = make_series(arguments.folder, arguments.slices, SIDE, ENCODINGS[encoding])
        names = [name for name in READERS if encoding == "plain" or name != "bare bytes"]
        times = time_readers(folder, arguments.repeats, names)
        print(f"\n{encoding}, {arguments.slices} x {SIDE} x {SIDE}\n")
        print("| reader | seconds | processor | to ours | peak memory, volumes |\n|---|---|---|---|---|")
        for name, (clock, processor) in times.items():
            own_clock, own_processor = times["medmm"]
            ratios = f"{clock / own_clock:.1f}x, processor {processor / own_processor:.1f}x"
            print(f"| {name} | {clock:.3f} | {processor:.3f} | {ratios} | {peak_volumes(name, folder):.2f} |")


if __name__ == "__main__":
    main()
