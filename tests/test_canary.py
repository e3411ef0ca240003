"""A name that stands in every text of a study's header, in its file names and in its note is found nowhere afterwards.

Every way in is tried with a study that is read and with ones that fail; searched are all that is
printed, every file and file name in the folder for temporary files while it happens, the run's folder, and the page's HTML.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import DicomDictionary

from medmm.cli import app
from medmm.errors import MedmmError
from medmm.ui.page import Page
from tests.handlers import asked, opened

NAME = "CANARY^QUIXOTE"
TRACES = [word.encode() for word in ("canary", "quixote")]
TEXTS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
READ_AS_MEANING = {"RescaleType"}  # says what numbers are: a name there makes the study unreadable, which is tried too
UPLOADED = {"uploads", "incoming"}  # folders of the page where a visitor's files lie as they came, under other names
MODEL = "phantom"
Medmm = Callable[..., subprocess.CompletedProcess[bytes]]


def plant(source: Path, target: Path) -> Path:
    """A copy of a series with the name in every text element that DICOM knows, in a private one and in every path."""
    target = target / f"{NAME} 1947-02-03"
    target.mkdir(parents=True)
    keywords = [
        k for tag, (vr, *_, k) in DicomDictionary.items() if tag >> 16 > 2 and vr in TEXTS and k and k not in READ_AS_MEANING
    ]
    for index, file in enumerate(sorted(source.iterdir())):
        dataset = pydicom.dcmread(file)
        for keyword in keywords:
            if keyword not in dataset or dataset[keyword].VR == "PN":
                setattr(dataset, keyword, NAME)
        dataset.file_meta.SourceApplicationEntityTitle = dataset.file_meta.ImplementationVersionName = NAME
        dataset.private_block(0x0011, NAME, create=True).add_new(1, "LO", NAME)
        dataset.save_as(target / f"{NAME} {index}.dcm", enforce_file_format=True)
    return target


@pytest.fixture(scope="module")
def inputs(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound study, and ones that cannot be read for many reasons."""
    root = tmp_path_factory.mktemp("inputs")
    with (phantom / "cohort.csv").open(newline="", encoding="utf-8") as file:
        sound = phantom / next(csv.DictReader(file))["image"]
    made = {"sound": plant(sound, root)}
    for kind in ("gap", "cut", "unit", "noise"):
        made[kind] = shutil.copytree(made["sound"], root / kind / NAME)
    files = {kind: sorted(folder.iterdir()) for kind, folder in made.items()}
    files["gap"][len(files["gap"]) // 2].unlink()
    files["cut"][3].write_bytes(files["cut"][3].read_bytes()[:-900])
    for file in files["unit"]:
        dataset = pydicom.dcmread(file)
        dataset.RescaleType = NAME
        dataset.save_as(file)
    for file in files["noise"]:
        file.write_bytes(NAME.encode() * 100)
    made["zip"] = Path(shutil.make_archive(str(root / f"{NAME} zipped"), "zip", made["sound"]))
    damaged = bytearray(made["zip"].read_bytes())
    damaged[1000:1200] = bytes(200)
    made["bad zip"] = root / f"{NAME}.zip"
    made["bad zip"].write_bytes(damaged)
    made["nowhere"] = root / f"{NAME} nowhere"
    return made


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, watched: whatever is in it at any moment is searched."""
    folder, found, over = tmp_path / "temporary", set[str](), threading.Event()
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)

    def watch() -> None:
        while not over.wait(0.05):
            found.update(traces_in(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield folder
    over.set()
    watcher.join()
    assert found == set()


def traces_in(folder: Path) -> list[str]:
    """Paths under a folder whose name or content holds the name; uploads, which hold what they were, by their names only."""
    found = []
    for parent, folders, names in os.walk(folder):
        found += [name for name in (*folders, *names) if has_trace(name.encode())]
        for name in names:
            file = Path(parent, name)
            try:
                kept = file.read_bytes()[: 1 << 20] if UPLOADED.isdisjoint(file.parts) else b""
            except OSError:  # it is gone already
                continue
            found += [name] if has_trace(kept) else []
    return found


def has_trace(content: bytes) -> bool:
    return any(trace in content.lower() for trace in TRACES)


@pytest.fixture
def medmm(temporary: Path) -> Medmm:
    """Run the command line where temporary files are watched; what it prints is searched."""

    def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "medmm", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, timeout=300, check=False)
        assert done.returncode in (0, 2, 3), done.stderr
        assert not has_trace(done.stdout + done.stderr), (done.stdout + done.stderr)[-2000:]
        return done

    return run


KINDS = ("sound", "gap", "cut", "unit", "noise", "zip", "bad zip", "nowhere")


@pytest.mark.parametrize("kind", KINDS)
def test_inspecting_tells_no_name(inputs: dict[str, Path], kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    for form in ([], ["--json"]):
        with pytest.raises((SystemExit, MedmmError)) as ended:
            app(["inspect", str(inputs[kind]), *form])
        printed = capfd.readouterr()
        assert not has_trace(f"{printed.out} {printed.err} {ended.value}".encode())
        assert printed.out or isinstance(ended.value, MedmmError)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """A long one, in an old encoding."""
    path = tmp_path / f"{NAME}.txt"
    path.write_bytes(f"CLINICAL HISTORY: Herr {NAME}, Größe 1,80 m. ".encode("cp1252") * 1000)
    return path


def test_predicting_tells_no_name(medmm: Medmm, inputs: dict[str, Path], note: Path) -> None:
    done = medmm("predict", inputs["sound"], "--note-file", note, "--model", MODEL, "--json")
    codes = [w["code"] for w in json.loads(done.stdout)["warnings"]]
    assert {"W_NOTE_ENCODING", "W_NOTE_LONG", "W_NOTE_CUT"} <= set(codes)


def test_refusing_to_predict_tells_no_name(medmm: Medmm, inputs: dict[str, Path], note: Path, tmp_path: Path) -> None:
    lost = tmp_path / f"{NAME} nowhere.txt"
    for arguments in ((inputs["cut"], "--note-file", note), ("--note-file", lost, "--audio", note)):
        assert medmm("predict", *arguments).returncode == 2


def test_a_run_and_its_scores_keep_no_name(medmm: Medmm, inputs: dict[str, Path], tmp_path: Path) -> None:
    cohort = tmp_path / "cohort.csv"
    with cohort.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["study_id", "patient_id", "image", "note", "label", "split"])
        for i, kind in enumerate(KINDS):
            rows.writerow([f"S{i}", f"P{i}", inputs[kind], f"{NAME}, nodule of 2 cm.", ("negative", "positive")[i % 2], "test"])
    run = medmm("eval", "run", cohort, "--model", MODEL, "--out", tmp_path / "run")
    assert run.returncode == 3
    assert b"6 failed" in run.stderr
    medmm("eval", "score", tmp_path / "run")
    assert traces_in(tmp_path / "run") == []
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_page_shows_and_keeps_no_name(temporary: Path, inputs: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    page = Page(MODEL)
    try:
        for kind in ("sound", "bad zip"):
            files = sorted(inputs[kind].iterdir()) if inputs[kind].is_dir() else [inputs[kind]]
            uploads = [upload(page, file) for file in files]
            spec, facts, token = opened(page, uploads, "anna")
            shown: list[Any] = [spec, facts, asked(page, token, f"{NAME}, nodule.", MODEL, "anna") if token else ""]
            assert (spec is not None) == (kind == "sound")
            # The visitor's own note is shown to him as the text that was used, and nothing else of it.
            assert not has_trace(json.dumps(shown[:2]).encode())
    finally:
        page.close()
    printed = capfd.readouterr()
    assert not has_trace((printed.out + printed.err).encode())
    assert list(temporary.glob("medmm-*")) == []


def upload(page: Page, file: Path) -> str:
    """Put a file where the server does; its own name must be gone as soon as it is opened."""
    folder = page.sessions.uploads / os.urandom(8).hex()
    folder.mkdir()
    sent = str(shutil.copy(file, folder / "upload"))
    page.sessions.visitors.give(sent, "")
    return sent
