"""What the jail costs, and how much of reading a batch hides behind computing: `python benchmarks/overlap.py`.

Makes its own studies. First: one study opened in this process, in a warm jail, and in a fresh process; ratios
of medians. Then the trace of a batch: when each study was read, how long the model waited for it and how
long it computed, beside the same batch read one study after the other. The model is a shipped one, or with
`--seconds` something that takes that long, as a large model on a GPU would.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from medmm.errors import MedmmError
from medmm.inference import Predictor, load_model
from medmm.sources.cohort import Case, read_cohort
from medmm.sources.jail import Jail, read_ahead
from medmm.sources.opener import Opener, open_study
from medmm.sources.phantom import make_phantom
from medmm.study import Study

REPEATS = 7
WIDTH = 60
Compute = Callable[[Study], None]


@dataclass
class Timed:
    """A case that notes when it was read and computed, in seconds since `start`."""

    case: Case
    start: float
    read: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)

    def open(self, opener: Opener) -> Study:
        """Read the study between two looks at the clock."""
        self.read.append(time.perf_counter() - self.start)
        study = self.case.open(opener)
        self.read.append(time.perf_counter() - self.start)
        return study


def cost_of_the_jail(image: Path) -> None:
    """Print how much slower a study is opened in a jail than in this process."""
    fresh = [sys.executable, "-c", f"import medmm; medmm.open_study({str(image)!r})"]
    with Jail() as jail:
        jail.open(image)
        ways: dict[str, Callable[[], object]] = {
            "in this process": lambda: open_study(image),
            "in a warm jail": lambda: jail.open(image),
            "in a fresh process": lambda: subprocess.run(fresh, check=True),
        }
        seconds = {name: median(timed(way) for _ in range(REPEATS)) for name, way in ways.items()}
    base = seconds["in this process"]
    for name, value in seconds.items():
        print(f"{name:>20}  {1000 * value:7.1f} ms  +{1000 * (value - base):6.1f} ms  {value / base:5.2f} x")


def timed(way: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def ahead(cases: list[Case], compute: Compute, workers: int) -> list[Timed]:
    """A batch with reading ahead."""
    start = time.perf_counter()
    jobs = [Timed(case, start) for case in cases]
    asked = 0.0
    for job, study in read_ahead(jobs, workers):
        use(job, study, asked, compute)
        asked = time.perf_counter() - start
    return jobs


def one_by_one(cases: list[Case], compute: Compute) -> list[Timed]:
    """The same batch in one jail, each study read when the model is free."""
    start = time.perf_counter()
    jobs = [Timed(case, start) for case in cases]
    with Jail() as jail:
        for job in jobs:
            asked = time.perf_counter() - start
            use(job, job.open(jail.open), asked, compute)
    return jobs


def use(job: Timed, study: Study | MedmmError, asked: float, compute: Compute) -> None:
    """Compute, and note how long the model had waited since it asked."""
    if isinstance(study, MedmmError):
        raise study
    came = time.perf_counter() - job.start
    compute(study)
    job.waited, job.computed = [asked, came], [came, time.perf_counter() - job.start]


def show(title: str, jobs: list[Timed]) -> float:
    """Print the trace; returns the seconds of the whole batch."""
    end = jobs[-1].computed[1]
    print(f"\n{title}: r reading, w the model waits, # the model computes; {end:.2f} s")
    for number, job in enumerate(jobs):
        line = [" "] * (WIDTH + 1)
        for mark, (begin, finish) in (("r", job.read), ("w", job.waited), ("#", job.computed)):
            for place in range(int(begin / end * WIDTH), int(finish / end * WIDTH) + 1):
                line[place] = mark if finish - begin > end / WIDTH / 4 else line[place]
        print(f"{number:>3} |{''.join(line)}|")
    started = jobs[1:]  # the first study can be hidden behind nothing
    waited, computed = (
        sum(span[1] - span[0] for span in spans) for spans in ([j.waited for j in started], [j.computed for j in started])
    )
    print(f"the model computed {computed / (computed + waited):.0%} of the time after the first study, and waited {waited:.2f} s")
    return end


def main() -> None:
    """Read the command line and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--matrix", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, help="compute by waiting so long instead of by a model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_phantom(Path(folder), max(given.studies, 20), seed=1, matrix=given.matrix)
        cases = list(read_cohort(Path(folder, "cohort.csv")).cases[: given.studies])
        cost_of_the_jail(cases[0].images[0])
        compute = waiting(given.seconds) if given.seconds else predicting(load_model("phantom", "cpu"))
        alone = show("One by one", one_by_one(cases, compute))
        together = show(f"Reading ahead with {given.workers}", ahead(cases, compute, given.workers))
    print(f"\nreading ahead is {alone / together:.2f} x as fast")


def waiting(seconds: float) -> Compute:
    """A model of stated speed that leaves the processor alone."""
    return lambda _: time.sleep(seconds)


def predicting(predictor: Predictor) -> Compute:
    """A real model."""

    def compute(study: Study) -> None:
        predictor.predict(study)

    return compute


if __name__ == "__main__":
    main()
