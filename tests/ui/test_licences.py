from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from medmm import ui
from medmm.ui.licences import third_party


def test_every_package_the_page_runs_on_is_named_with_version_and_licence() -> None:
    found = {name.lower(): (v, licence) for name, v, licence in third_party()}
    for name in ("torch", "gradio", "monai", "pydicom", "numpy"):
        assert found[name][0] == version(name)
        assert found[name][1] != "-"
    assert "pytest" not in found


def test_what_is_shipped_of_others_is_named_in_the_version_and_with_the_licence_it_states() -> None:
    vendor = Path(ui.__file__).parent / "static" / "vendor"
    name, number, licence = next(row for row in third_party() if row[0] == "NiiVue")
    assert licence == "BSD-2-Clause"
    assert f'version: "{number}"' in (vendor / "niivue.js").read_text(encoding="utf-8")
    stated = (vendor / "niivue.licences.txt").read_text(encoding="utf-8")
    assert f"@niivue/{name.lower()} {number}" in stated
    for bundled in ("gl-matrix", "fflate", "nifti-reader-js", "zarrita", "numcodecs"):
        assert f"=== {bundled}\n" in stated
