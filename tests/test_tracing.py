"""Measuring misses libraries while they are imported, and nothing of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

OURS = """
def load():
    import wave
    from importlib import import_module
    library = import_module("colorsys")
    ours = import_module("tests.web")
    return wave, library, ours

load()
"""
RULES = "[run]\nbranch = true\ncover_pylib = true\ninclude =\n    */ours.py\n    */web.py\n    */wave.py\n    */colorsys.py\n"


def measured(folder: Path, rules: str) -> dict[str, tuple[list[int], list[list[int]]]]:
    """Lines and branches that were run, by name of the file."""
    (folder / "ours.py").write_text(OURS)
    (folder / "rules").write_text(rules)
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for command in (["run", "ours.py"], ["json", "-q"]):
        words = [sys.executable, "-m", "coverage", *command[:1], "--rcfile=rules", *command[1:]]
        subprocess.run(words, cwd=folder, env=unmeasured, check=True)
    files = json.loads((folder / "coverage.json").read_text())["files"]
    return {Path(name).name: (file["executed_lines"], file["executed_branches"]) for name, file in files.items()}


def test_a_library_is_imported_unwatched_and_all_else_is_measured_as_without(tmp_path: Path) -> None:
    plain = measured(tmp_path, RULES)
    assert plain.keys() == {"ours.py", "web.py", "wave.py", "colorsys.py"}
    assert measured(tmp_path, f"{RULES}plugins = tests.tracing\n") == {name: plain[name] for name in ("ours.py", "web.py")}
