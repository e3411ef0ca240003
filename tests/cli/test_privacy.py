from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medmm.cli import app

run = CliRunner().invoke


def test_a_key_file_links_two_runs(patient_zip: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    first = run(app, ["deid", str(patient_zip), str(tmp_path / "a"), "--new-key", str(key), "--dates", "shift", "--json"])
    again = run(app, ["deid", str(patient_zip), str(tmp_path / "b"), "--key", str(key), "--dates", "shift", "--json"])
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert json.loads(first.stdout) == json.loads(again.stdout)
    one, two = (next((tmp_path / n).rglob("*.dcm")).read_bytes() for n in "ab")
    assert one == two
    assert [p for n in "ab" for p in (tmp_path / n).rglob("*") if p.is_file() and p.suffix != ".dcm"] == []


def test_what_was_done_is_said_and_what_was_not(patient_zip: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Seen by Dr. Brown.")
    done = run(app, ["deid", str(patient_zip), str(tmp_path / "out"), "--note-file", str(note)])
    assert done.exit_code == 0
    assert "replaced in the note: 1 x name" in done.stdout
    assert "nobody has looked at the pixels" in done.stdout


@pytest.mark.parametrize("extra", [["--key", "none"], ["--key", "a", "--new-key", "b"]])
def test_keys_that_cannot_be_used(patient_zip: Path, tmp_path: Path, extra: list[str]) -> None:
    done = run(app, ["deid", str(patient_zip), str(tmp_path / "out"), *extra, "--json"])
    assert done.exit_code == 2
    assert set(json.loads(done.stdout)["error"]) == {"code", "message"}
    assert not (tmp_path / "out").exists()


def test_refused_files_end_with_3(tmp_path: Path) -> None:
    import pydicom

    files = Path(pydicom.__file__).parent / "data/test_files"
    (tmp_path / "in").mkdir()
    for name in ("CT_small.dcm", "SC_rgb_rle.dcm"):
        (tmp_path / "in" / name).write_bytes((files / name).read_bytes())
    done = run(app, ["deid", str(tmp_path / "in"), str(tmp_path / "out")])
    assert done.exit_code == 3
    assert "refused: 1 x E_PHI" in done.stdout
    assert "1 files written" in done.stdout
