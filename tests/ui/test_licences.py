from __future__ import annotations

from importlib.metadata import version

from medmm.ui.licences import third_party


def test_every_package_the_page_runs_on_is_named_with_version_and_licence() -> None:
    found = {name.lower(): (v, licence) for name, v, licence in third_party()}
    for name in ("torch", "gradio", "monai", "pydicom", "numpy"):
        assert found[name][0] == version(name)
        assert found[name][1] != "-"
    assert "pytest" not in found
