"""3,000 mutated files; `fuzz.py` says what they must not do, and reads more of them on request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COUNT = 3000


def test_mutated_files_are_studies_within_limits_or_typed_errors() -> None:
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("fuzz.py")), "--count", str(COUNT), "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    report = json.loads(done.stdout)
    assert report["findings"] == []
    assert done.returncode == 0
    assert sum(report["outcomes"].values()) == report["files"] == COUNT
    kinds = {outcome.partition(" ")[0] for outcome in report["outcomes"]}
    assert kinds == {"dicom", "series", "zip", "nifti", "png", "jpeg", "note", "audio"}
    # The mutants are not all hopeless; a zip, whose checksums see everything, nearly always is.
    assert {f"{kind} read" for kind in kinds - {"zip"}} <= set(report["outcomes"])
