from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from medmm.errors import StoreError
from medmm.store import FILE, FULL_ARM, Record, RunStore

RUN = {"medmm": "0", "model": "m"}
ARMS = (FULL_ARM, *(f"arm{i}" for i in range(30)))
SAMPLES = 600

WRITER = f"""
import sys
from medmm.store import Record, RunStore
with RunStore(sys.argv[1], {RUN}) as store:
    done = store.done()
    for i in range({SAMPLES}):
        if f"s{{i}}" in done:
            continue
        print(i, flush=True)
        store.add([Record(f"s{{i}}", f"p{{i}}", i, arm, probability=(0.25, 0.75), message="x" * 500) for arm in {ARMS}])
print("finished", flush=True)
"""

VERSION_1 = """
CREATE TABLE run (field TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE prediction (
    sample_id TEXT NOT NULL, arm TEXT NOT NULL, position INTEGER NOT NULL, patient_id TEXT NOT NULL,
    split TEXT NOT NULL, pattern TEXT NOT NULL, target TEXT NOT NULL, probability TEXT NOT NULL,
    logit TEXT NOT NULL, called TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (sample_id, arm)) WITHOUT ROWID;
INSERT INTO run VALUES ('medmm', '0'), ('model', 'm');
INSERT INTO prediction VALUES
    ('s0', 'full', 0, 'p0', 'test', 'image', '[0.0, 1.0]', '[0.25, 0.75]', '[-1.0, 1.0]', '["b"]', '', '', 0.5);
"""


def records(sample: str, position: int = 0, arms: tuple[str, ...] = ("image", FULL_ARM, "text")) -> list[Record]:
    return [Record(sample, "p", position, arm, probability=(0.5, 0.5)) for arm in arms]


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    numbers = {"target": (0.0, 1.0, None), "probability": (0.1, 1 / 3, 1e-300), "logit": (-2.5, 0.1, 7.0)}
    answer = Record("s1", "p1", 0, FULL_ARM, "test", "image+text", **numbers, called=("b", "ä"), seconds=0.25)
    failure = Record(
        "s2", "p2", 1, FULL_ARM, "test", target=(None, 1.0), code="E_CORRUPT", message="Damaged.", stage="read", attempts=3,
        image_sha256="ab", columns={"site": "ä|1", "age": ""},
    )  # fmt: skip
    with RunStore(tmp_path / "run", RUN) as store:
        store.add([answer])
        store.add([failure])
    with RunStore(tmp_path / "run") as store:
        assert list(store.records()) == [answer, failure]
        assert [r.failed for r in store.records()] == [False, True]
        assert store.fingerprint == RUN


def test_records_come_in_cohort_order_with_the_full_arm_first(tmp_path: Path) -> None:
    with RunStore(tmp_path, RUN) as store:
        for position in (10, 2, 1):
            store.add(records(f"s{position}", position))
        assert [(r.position, r.arm) for r in store.records()] == [(p, a) for p in (1, 2, 10) for a in (FULL_ARM, "image", "text")]


def test_the_same_run_goes_on_where_it_was(tmp_path: Path) -> None:
    with RunStore(tmp_path, RUN) as store:
        store.add(records("s1"))
    with RunStore(tmp_path, dict(reversed(RUN.items()))) as store:
        assert store.done() == {"s1"}
        store.add(records("s2"))
        assert store.done() == {"s1", "s2"}


@pytest.mark.parametrize("other", [{**RUN, "model": "n"}, {**RUN, "split": "val"}, {"medmm": "0"}])
def test_another_run_is_refused_and_leaves_the_store_alone(tmp_path: Path, other: dict[str, str]) -> None:
    with RunStore(tmp_path, RUN) as store:
        store.add(records("s1"))
    (different,) = {k for k in {*RUN, *other} if RUN.get(k) != other.get(k)}
    with pytest.raises(StoreError, match=f"another {different}"):
        RunStore(tmp_path, other)
    with RunStore(tmp_path) as store:
        assert (store.fingerprint, store.done()) == (RUN, {"s1"})


def test_a_sample_is_written_once_and_all_its_rows_or_none(tmp_path: Path) -> None:
    with RunStore(tmp_path, RUN) as store:
        store.add(records("s1", arms=(FULL_ARM,)))
        with pytest.raises(StoreError, match="SQLITE_CONSTRAINT"):
            store.add([*records("s2"), *records("s1", arms=(FULL_ARM,))])
        assert store.done() == {"s1"}
        store.add(records("s2"))
        assert len(list(store.records())) == 4


def test_rows_can_take_the_place_of_those_a_sample_has(tmp_path: Path) -> None:
    with RunStore(tmp_path, RUN) as store:
        store.add([*records("s1"), *records("s2", 1)])
        failed = Record("s1", "p", 0, FULL_ARM, code="E_WORKER", attempts=2)
        store.add([failed], again=True)
        assert list(store.records()) == [failed, *sorted(records("s2", 1), key=lambda r: (r.arm != FULL_ARM, r.arm))]


def test_a_store_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as old:
        old.executescript(VERSION_1)
    with RunStore(tmp_path, RUN) as store:
        assert store.fingerprint == RUN
        expected = Record("s0", "p0", 0, FULL_ARM, "test", "image", (0.0, 1.0), (0.25, 0.75), (-1.0, 1.0), ("b",), seconds=0.5)
        assert list(store.records()) == [expected]
        store.add([Record("s1", "p1", 1, FULL_ARM, stage="read", code="E_CORRUPT", columns={"site": "x"})])
    with RunStore(tmp_path) as store:
        assert [r.columns for r in store.records()] == [{}, {"site": "x"}]


def test_a_store_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    RunStore(tmp_path, RUN).__exit__()
    with closing(sqlite3.connect(tmp_path / FILE)) as later:
        later.execute("PRAGMA user_version = 99")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreError, match="got 99"):
        RunStore(tmp_path, RUN)
    assert (tmp_path / FILE).read_bytes() == before


def test_reading_a_folder_without_a_store_is_refused_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="medmm eval run"):
        RunStore(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("obstacle", ["garbage", "file in place of the folder", "folder in place of the file"])
def test_a_store_that_cannot_be_opened_is_refused(tmp_path: Path, obstacle: str) -> None:
    folder = tmp_path / "SECRET"
    if obstacle.startswith("file"):
        folder.write_text("x")
    else:
        folder.mkdir()
        (folder / FILE).write_bytes(b"no database" * 500) if obstacle == "garbage" else (folder / FILE).mkdir()
    with pytest.raises(StoreError) as caught:
        RunStore(folder, RUN)
    assert "SECRET" not in caught.value.message


def test_kill_9_in_the_middle_leaves_whole_samples_only_and_the_run_can_be_finished(tmp_path: Path) -> None:
    counts, rng = [], random.Random(1)
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(rng.randrange(1, 15)):  # this many samples have been begun
            writer.stdout.readline()
        time.sleep(rng.random() * 0.004)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert writer.returncode == -signal.SIGKILL
        with RunStore(tmp_path, RUN) as store:
            rows = Counter(r.sample_id for r in store.records())
        assert set(rows.values()) <= {len(ARMS)}
        assert set(rows) == {f"s{i}" for i in range(len(rows))}  # nothing lost that was acknowledged before
        counts.append(len(rows))
    assert counts == sorted(counts)
    assert 0 < counts[-1] < SAMPLES
    finished = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True, check=True)
    assert finished.stdout.endswith("finished\n")
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (stored,) = database.execute("SELECT count(*), count(DISTINCT sample_id) FROM prediction").fetchall()
    assert stored == (SAMPLES * len(ARMS), SAMPLES)
