"""Studies through the jail: the same studies, the same refusals, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from medmm import open_study
from medmm.errors import ArchiveError, AudioError, BudgetError, MedmmError, MissingSlicesError, NoImageError, TextError, WorkerError
from medmm.settings import LIMITS
from medmm.sources.cohort import read_cohort
from medmm.sources.jail import Jail, open_study_jailed, read_ahead
from medmm.sources.opener import Opener
from medmm.study import Study


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail() as made:
        yield made


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def same(a: Study, b: Study) -> bool:
    assert len(a.volumes) == len(b.volumes)
    for ours, theirs in zip(a.volumes, b.volumes, strict=True):
        np.testing.assert_array_equal(ours.array, theirs.array)
        np.testing.assert_array_equal(ours.grid.affine, theirs.grid.affine)
        assert (ours.array.dtype, ours.unit, ours.modality) == (theirs.array.dtype, theirs.unit, theirs.modality)
    return replace(a, volumes=()) == replace(b, volumes=())


def test_a_study_is_the_one_that_open_study_gives(jail: Jail, patient_zip: Path) -> None:
    assert same(jail.open(patient_zip, note="A note."), open_study(patient_zip, note="A note."))


def test_a_note_alone_needs_no_process(jail: Jail) -> None:
    assert same(jail.open(None, "A note."), open_study(None, note="A note."))


def test_a_series_can_be_named(jail: Jail, ct: Any, save: Any) -> None:
    folder = save([*ct(3, series="1.2.3"), *ct(5, series="1.2.4")])
    assert jail.open(folder, series="1.2.3").volumes[0].grid.shape[2] == 3


def test_a_relative_path_is_the_callers(jail: Jail, patient_zip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(patient_zip.parent)
    assert jail.open(patient_zip.name).volumes


def test_refusals_are_the_ones_of_open_study(jail: Jail, tmp_path: Path, ct: Any, save: Any) -> None:
    (tmp_path / "SECRET.zip").write_bytes(b"PK\x03\x04 cut short")
    slices = ct(6)
    del slices[2]
    for path, leaf in (
        (tmp_path / "SECRET.zip", ArchiveError),
        (tmp_path / "nowhere", NoImageError),
        (save(slices), MissingSlicesError),
    ):
        with pytest.raises(leaf) as expected:
            open_study(path)
        with pytest.raises(leaf) as caught:
            jail.open(path)
        assert (caught.value.code, caught.value.message) == (expected.value.code, expected.value.message)


def test_a_note_far_too_long_is_refused(jail: Jail) -> None:
    with pytest.raises(TextError):
        jail.open(None, "x" * (LIMITS.note_bytes + 1))


def test_a_recording_comes_through(jail: Jail, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 4000), 16_000)
    (tmp_path / "b.wav").write_bytes(b"RIFF, but no more")
    expected = open_study(None, audio=tmp_path / "a.wav").recording
    ours = jail.open(None, "A note.", audio=tmp_path / "a.wav")
    assert expected is not None
    assert ours.recording is not None
    np.testing.assert_array_equal(ours.recording.samples, expected.samples)
    with pytest.raises(AudioError):
        jail.open(None, audio=tmp_path / "b.wav")


def test_what_changes_the_rate_of_recordings_is_imported_once_one_needs_it(tmp_path: Path) -> None:
    for rate in (16_000, 44_100):
        soundfile.write(tmp_path / f"{rate}.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 4000), rate)
    before = set(psutil.Process().children())
    with Jail() as jail:
        found = []
        for rate in (16_000, 44_100):
            expected, ours = (opened(None, audio=tmp_path / f"{rate}.wav").recording for opened in (open_study, jail.open))
            assert expected is not None
            assert ours is not None
            np.testing.assert_array_equal(ours.samples, expected.samples)
            (warm,) = set(psutil.Process().children()) - before
            found.append("scipy/signal" in Path(f"/proc/{warm.pid}/maps").read_text())
    assert found == [False, True]


def test_a_study_that_needs_too_much_memory_is_refused_and_the_next_is_read(ct: Any, save: Any) -> None:
    folder = save(ct(150, shape=(512, 512), PixelData=bytes(2 * 512 * 512)))
    one = next(folder.iterdir())
    with Jail() as jail:
        jail.open(one)
        assert jail._worker._process is not None
        status = Path(f"/proc/{jail._worker._process.pid}/status").read_text()
    warm = int(re.findall(r"VmSize:\s+(\d+) kB", status)[0]) << 10
    with Jail(replace(LIMITS, memory_bytes=warm + (64 << 20))) as jail:
        with pytest.raises(BudgetError):
            jail.open(folder)
        assert jail.open(one).volumes


def test_a_study_that_takes_too_long_is_refused(patient_zip: Path) -> None:
    with Jail(replace(LIMITS, seconds=0.01)) as jail, pytest.raises(BudgetError, match="within 0 seconds"):
        jail.open(patient_zip)


def test_a_dead_warm_process_is_a_typed_error_and_comes_back(patient_zip: Path) -> None:
    with Jail() as jail:
        jail.open(patient_zip)
        process = jail._worker._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        try:
            jail.open(patient_zip)
        except WorkerError:
            assert jail.open(patient_zip).volumes


def test_nothing_is_left_behind(temporary: Path, patient_zip: Path, alive: Callable[[int], bool]) -> None:
    with Jail() as jail:
        jail.open(patient_zip)
        with pytest.raises(NoImageError):
            jail.open(temporary / "nowhere")
        (folder,) = temporary.iterdir()
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
        process = jail._worker._process
        assert process is not None
    assert not alive(process.pid)
    assert list(temporary.iterdir()) == []
    open_study_jailed(patient_zip)
    assert list(temporary.iterdir()) == []


def test_a_cohort_is_read_ahead_in_its_order(phantom: Path) -> None:
    cases = read_cohort(phantom / "cohort.csv").cases[:9]
    cases = (*cases[:4], replace(cases[4], images=(Path("nowhere"),)), *cases[5:])
    opened = list(read_ahead(cases))
    assert [case.study_id for case, _ in opened] == [case.study_id for case in cases]
    for case, study in opened:
        if case is cases[4]:
            assert isinstance(study, NoImageError)
        else:
            assert isinstance(study, Study)
            assert same(study, case.open())


@dataclass
class Slow:
    """A job that notes when it was begun."""

    began: list[float]

    def open(self, opener: Opener) -> Study:
        self.began.append(time.monotonic())
        return opener(None, "A note.")


def test_no_more_is_read_ahead_than_stated() -> None:
    began: list[float] = []
    jobs = read_ahead((Slow(began) for _ in range(20)), workers=2)
    next(jobs)
    time.sleep(0.3)
    assert len(began) == 5  # the one taken, and twice two ahead of it
    assert len(list(jobs)) == 19
    assert len(began) == 20


@dataclass
class Odd:
    """A job whose opening goes wrong in a way nobody foresaw."""

    def open(self, opener: Opener) -> Study:
        raise KeyError("SECRET")


def test_one_odd_job_does_not_end_a_batch() -> None:
    (_, error), (_, study) = read_ahead([Odd(), Slow([])])
    assert isinstance(error, MedmmError)
    assert (error.code, error.message) == ("E_INTERNAL", "Unexpected KeyError.")
    assert isinstance(study, Study)


@dataclass
class Asked:
    """A job that takes a while and notes which jail it was given."""

    jails: list[Opener]
    seconds: float

    def open(self, opener: Opener) -> Study:
        self.jails.append(opener)
        time.sleep(self.seconds)
        return opener(None, "A note.")


def test_another_process_joins_only_when_it_has_been_waited_for() -> None:
    quick: list[Opener] = []
    list(read_ahead(Asked(quick, 0.0) for _ in range(40)))
    assert len(set(quick)) == 1
    slow: list[Opener] = []
    list(read_ahead(Asked(slow, 0.3) for _ in range(16)))
    assert slow[0] == slow[1]
    assert len(set(slow)) == 2


def test_stopping_early_ends_every_process(temporary: Path, phantom: Path) -> None:
    opened = read_ahead(read_cohort(phantom / "cohort.csv").cases)
    next(opened)
    assert list(temporary.iterdir())
    opened.close()
    assert list(temporary.iterdir()) == []


WATCHED = """
import json, sys
from pathlib import Path
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
cohort, out = map(Path, sys.argv[1:])
{body}
print(json.dumps([path for path in opened if "/images/" in path]))
"""
RUN = """
from medmm.evaluation.run import run_evaluation
from medmm.shelf import find_model
assert run_evaluation(cohort, find_model("phantom"), out, limit=3).failed == 0
"""
TRAINING = """
from medmm.sources.cohort import read_cohort
from medmm.training.config import TrainConfig
from medmm.training.data import cache_samples, plan_preprocessing
cases, config, silent = read_cohort(cohort).cases[:3], TrainConfig(voxels=512), lambda *_: None
kept, _, failures = cache_samples(cases, plan_preprocessing(cases, config, silent), out, silent)
assert (len(kept), failures) == (3, [])
"""
HERE = """
from medmm.sources.cohort import read_cohort
read_cohort(cohort).cases[0].open()
"""


@pytest.mark.parametrize(
    ("body", "jailed"), [(RUN, True), (TRAINING, True), (HERE, False)], ids=["run", "training", "not in a jail"]
)
def test_a_batch_opens_no_image_in_its_own_process(phantom: Path, tmp_path: Path, body: str, jailed: bool) -> None:
    command = [sys.executable, "-c", WATCHED.format(body=body), str(phantom / "cohort.csv"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout.splitlines()[-1]) == []) == jailed
