"""Kill a run again and again, at random moments and after every single store operation, and count what is lost.

    python tests/evaluation/kill_sweep.py --studies 200 --kills 500 --operations 0

The real run over a real cohort of notes with a real small model; nothing is replaced. Every attempt is a
forked child that ends by SIGKILL: at random moments from outside, or by its own hand as soon as its n-th
operation on the store or a file of the run folder has returned (the way SQLite tests itself). Prints one
JSON line; status 1 if a study was lost, repeated, half written, or the end differs from an undisturbed run.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import posix
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

LABELS = ("no_large", "large")
FAULTS = {"lost", "duplicate", "corrupt", "different", "not_killed"}
CHANGES = {"fsync", "replace", "unlink", "mkdir"}


def make_notes(folder: Path, studies: int) -> Path:
    """A cohort of notes: 40 to train on, 20 to tune, the rest to predict."""
    rng, rows = random.Random(0), []
    for i in range(60 + studies):
        size = rng.uniform(5, 9) if i % 2 else rng.uniform(1, 6)
        split = "train" if i < 40 else "val" if i < 60 else "test"
        note = f"{rng.randint(40, 85)}-year-old. Lesion of {size:.1f} cm."
        rows.append({"study_id": f"S{i}", "patient_id": f"P{i}", "note": note, "label": LABELS[i % 2], "split": split})
    with (folder / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return folder / "cohort.csv"


def in_child(work: Callable[[], Any]) -> int:
    """Process id of a fork that does the work and ends."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException as error:
        print(f"child: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """Wait; exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def done(work: Callable[[], Any]) -> None:
    """Do the work in a child and insist that it ends well."""
    if (status := ended(in_child(work))) != 0:
        raise SystemExit(f"a child ended with {status}")


class Operations:
    """Counts operations on stores and files as they return; kills the process at the one asked for."""

    def __init__(self, last: int | None = None) -> None:
        self.count, self._last = 0, last

    def __call__(self, _frame: Any, event: str, function: Any) -> None:
        if event != "c_return" or not self._matters(function):
            return
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _matters(function: Any) -> bool:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, io.IOBase | io.TextIOBase):
            return function.__name__ in ("write", "writelines", "close") and getattr(owner, "mode", "r") not in ("r", "rb")
        return isinstance(owner, sqlite3.Connection) or (owner is posix and function.__name__ in CHANGES)


class Sweep:
    """One cohort, one model, one undisturbed run, and what the killed ones came to."""

    def __init__(self, folder: Path, studies: int) -> None:
        for name in ("medmm.evaluation.files", "medmm.evaluation.run", "medmm.training"):
            import_module(name)  # once, not in every child: what is to be killed is the run
        self.folder, self.found = folder, Counter[str]()
        self.cohort, self.model, self.out = make_notes(folder, studies), folder / "model", folder / "run"
        self.studies = studies
        done(self._train)
        start = time.perf_counter()
        done(lambda: self.run(folder / "undisturbed"))
        self.seconds = time.perf_counter() - start
        done(lambda: self.score(folder / "undisturbed"))

    def _train(self) -> None:
        from medmm.training import TrainConfig, train

        train(self.cohort, self.model, TrainConfig(epochs=1, width=32), labels=LABELS)

    def run(self, out: Path) -> None:
        """The thing that is killed."""
        from medmm.evaluation.run import run_evaluation

        run_evaluation(self.cohort, self.model, out)

    def score(self, out: Path) -> None:
        """Metrics of a run."""
        from medmm.evaluation.files import score_to_folder

        task = self.folder / "task.yaml"
        task.write_text("name: sweep\nintervals: {replicates: 100}\n")
        score_to_folder(out, None, task, None)

    def at_random(self, kills: int, seed: int) -> None:
        """Kill runs at random moments, each again and again until it ends, until there were so many kills."""
        rng, longest = random.Random(seed), self.seconds
        while self.found["kills"] < kills:
            before: list[str] = []
            while True:
                pid = in_child(lambda: self.run(self.out))
                waited = rng.uniform(0.3, 1.1) * longest * rng.choice((0.3, 0.6, 1))
                time.sleep(waited)
                os.kill(pid, signal.SIGKILL)
                if ended(pid) == 0:
                    longest = min(longest, waited)  # a slow first run must not spare all later ones
                    break
                self.found["kills"] += 1
                before = self._check(before)
                if self.found["kills"] >= kills:
                    done(lambda: self.run(self.out))
                    break
            self._compare(scored=True)

    def after_operations(self, most: int) -> None:
        """Kill a fresh run after its first operation, the next after its second, and so on; at most so many if not 0."""
        total = self._operations()
        chosen = range(1, total + 1) if most == 0 else sorted({round(1 + i * (total - 1) / max(most - 1, 1)) for i in range(most)})
        self.found["operations"] = total
        for last in chosen:
            pid = in_child(lambda last=last: self._profiled(Operations(last)))  # type: ignore[misc]
            if (status := ended(pid)) != -signal.SIGKILL:
                self.found["not_killed"] += 1
                print(f"operation {last} of {total}: ended with {status}", file=sys.stderr)
            self.found["kills_after_operations"] += 1
            self._check([])
            done(lambda: self.run(self.out))
            self._compare(scored=last == chosen[-1] or last % 100 == 0)

    def _profiled(self, operations: Operations) -> Operations:
        sys.setprofile(operations)
        try:
            self.run(self.out)
        finally:
            sys.setprofile(None)
        return operations

    def _operations(self) -> int:
        file = self.folder / "operations"
        done(lambda: file.write_text(str(self._profiled(Operations()).count)))
        shutil.rmtree(self.out)
        return int(file.read_text())

    def _check(self, before: list[str]) -> list[str]:
        """What stands in the store after a kill: whole, none twice, all that stood there before, in order."""
        file = self.out / "predictions.sqlite"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file)) as store:
            self.found["corrupt"] += store.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
            if not store.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'prediction'").fetchone()[0]:
                return []
            samples = [row[0] for row in store.execute("SELECT sample_id FROM prediction ORDER BY position")]
        self.found["duplicate"] += len(samples) - len(set(samples))
        self.found["lost"] += len(set(before) - set(samples)) + (samples != [f"S{60 + i}" for i in range(len(samples))])
        return samples

    def _compare(self, *, scored: bool) -> None:
        """The finished run against the undisturbed one, to the byte; then make room for the next."""
        files = ["predictions.csv"]
        if scored:
            done(lambda: self.score(self.out))
            files.append("metrics.json")
        for name in files:
            same = (self.out / name).read_bytes() == (self.folder / "undisturbed" / name).read_bytes()
            self.found[f"different {name}"] += not same
            self.found[f"compared {name}"] += 1
        self.found["lost"] += self.studies - len(self._check([]))
        self.found["runs"] += 1
        shutil.rmtree(self.out)


def main() -> int:
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--kills", type=int, default=500, help="at random moments")
    parser.add_argument("--operations", type=int, default=0, help="kills after an operation, spread over the run; 0 for every one")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    import torch

    import medmm.evaluation.run  # imported once, here: every child has it by the fork

    assert medmm.evaluation.run
    torch.set_num_threads(1)  # a process with threads cannot be forked safely
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(Path(folder), chosen.studies)
        sweep.at_random(chosen.kills, chosen.seed)
        sweep.after_operations(chosen.operations)
    print(json.dumps({"studies": chosen.studies, "undisturbed_seconds": round(sweep.seconds, 2), **sweep.found}))
    return any(count for name, count in sweep.found.items() if name.split()[0] in FAULTS)


if __name__ == "__main__":
    sys.exit(main())
