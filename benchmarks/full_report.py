"""How long a full report takes: 20,000 scans of 10,000 patients, 18 labels, six subgroup columns, every metric.

    python benchmarks/full_report.py [SAMPLES]

Prints the seconds of each phase (those of the processor too, as other work may go on beside it), the size of both files
and the peak memory.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from medmm.evaluation.files import METRICS, write_results
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.store import Record

LABELS = 18
TASK = Task(
    name="full_report",
    split="test",
    unit={"site": "site"},
    thresholds={"policy": "max_f1_macro", "split": "val"},
    recalibration={"method": "temperature", "split": "val"},
    subgroups={"columns": ["sex", "scanner", "contrast", "kernel", {"column": "age", "bands": [40, 65]}]},
)


def predictions(n: int) -> Predictions:
    """Calibrated predictions of n test scans and n / 4 to tune on, two scans a patient."""
    rng = np.random.default_rng(0)
    total = n + n // 4
    share = np.geomspace(0.01, 0.45, LABELS)
    z = np.log(share / (1 - share)) + rng.normal(scale=1.5, size=(total, LABELS))
    p = 1 / (1 + np.exp(-z))
    y = (rng.random(p.shape) < p).astype(float)
    columns = {"sex": "fm", "scanner": "ABCD", "contrast": "01", "kernel": "xyz", "site": "abcdef"}
    rows = tuple(
        Record(
            f"s{i}", f"p{i // 2}", i, "full", "test" if i < n else "val", ("image", "image+text", "text")[i % 3],
            tuple(y[i].tolist()), tuple(p[i].tolist()), tuple(z[i].tolist()),
            columns={c: v[int(rng.integers(len(v)))] for c, v in columns.items()} | {"age": str(20 + i % 70)},
        )
        for i in range(total)
    )  # fmt: skip
    return Predictions("multilabel", tuple(f"finding {k}" for k in range(LABELS)), rows, {"type": "simulation"})


def main() -> None:
    """Measure once."""
    given = predictions(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
    started = [("", time.perf_counter(), time.process_time())]

    def on_phase(name: str) -> None:
        begun, now, cpu = started[-1], time.perf_counter(), time.process_time()
        if begun[0]:
            print(f"{begun[0]:>20} {now - begun[1]:8.1f} s, {cpu - begun[2]:8.1f} s of the processor", flush=True)
        started.append((name, now, cpu))

    results = score(given, TASK, on_phase=on_phase)
    on_phase("report")
    with tempfile.TemporaryDirectory() as folder:
        write_results(results, Path(folder))
        on_phase("")
        sizes = {p.name: p.stat().st_size / 1e6 for p in Path(folder).iterdir()}
    wall, cpu = (started[-1][k] - started[1][k] for k in (1, 2))
    print(f"{'all':>20} {wall:8.1f} s, {cpu:8.1f} s of the processor")
    print(", ".join(f"{name} {size:.2f} MB" for name, size in sorted(sizes.items())), f"({METRICS} of {len(results.arms)} arms)")
    print(f"metrics an arm {len(results.arms[0].metrics)}, groups {len(results.groups)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
