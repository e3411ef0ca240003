"""Each tracker really keeps the numbers of every epoch, on this machine, also of a run that goes on."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import medmm
from medmm.errors import DependencyError
from medmm.training import TrainConfig, train
from medmm.training.trackers import require_tracker, tracked

LOSSES = [0.5, 0.4, 0.25]


def tell(tracker: str, out: Path) -> None:
    """Three epochs, the last after a stop; in a process of its own, as trackers keep state."""
    script = f"""
from pathlib import Path
from medmm.training.trackers import tracked
for part in ({list(enumerate(LOSSES[:2]))}, {[(2, LOSSES[2])]}):
    with tracked({tracker!r}, Path({str(out)!r}), "-fold1") as log:
        for epoch, loss in part:
            log(epoch, {{"loss/train": loss}})
"""
    out.mkdir()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, cwd=out)


def in_tensorboard(out: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard-fold1"))
    events.Reload()
    return [event.value for event in events.Scalars("loss/train")]


def in_mlflow(out: Path) -> list[float]:
    with sqlite3.connect(out / "mlflow.db") as base:
        assert base.execute("select count(*) from runs").fetchall() == [(1,)]
        return [value for (value,) in base.execute("select value from metrics where key = 'loss/train' order by step")]


def in_trackio(out: Path) -> list[float]:
    with sqlite3.connect(out / "medmm.db") as base:
        assert base.execute("select count(distinct run_name) from metrics").fetchall() == [(1,)]
        return [json.loads(row)["loss/train"] for (row,) in base.execute("select metrics from metrics order by step")]


def in_wandb(out: Path) -> list[float]:
    from wandb.proto.wandb_internal_pb2 import Record

    assert not list(out.glob("wandb/offline-run-*/files/*"))  # which would be sent along: what is installed, and where it ran
    found = []
    for file in sorted(out.glob("wandb/offline-run-*/*.wandb")):
        for data in records_in(file.read_bytes()):
            items = Record.FromString(data).history.item
            found += [json.loads(i.value_json) for i in items if "loss/train" in (i.key, *i.nested_key)]
    return found


def records_in(content: bytes) -> Iterator[bytes]:
    """Of a LevelDB log after its seven bytes of greeting: checksum, length and type, then the record, in blocks of 32 KiB."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield parts
            parts = b""


@pytest.mark.parametrize(
    ("tracker", "found"), [("tensorboard", in_tensorboard), ("mlflow", in_mlflow), ("trackio", in_trackio), ("wandb", in_wandb)]
)
def test_a_tracker_keeps_every_epoch_also_of_a_run_that_goes_on(
    tracker: str, found: Callable[[Path], list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker)
    for name in ("MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PYTHONPATH", str(Path(medmm.__file__).parents[1]), prepend=":")
    tell(tracker, tmp_path / "run")
    assert found(tmp_path / "run") == pytest.approx(LOSSES)


def test_none_writes_nothing(tmp_path: Path) -> None:
    with tracked("none", tmp_path) as log:
        log(0, {"loss/train": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DependencyError, match=r"pip install 'medmm\[wandb\]'"):
        require_tracker("wandb")
    with pytest.raises(DependencyError):
        train(tmp_path / "no-such-cohort.csv", tmp_path / "run", TrainConfig(tracker="wandb"))
    assert not (tmp_path / "run").exists()
