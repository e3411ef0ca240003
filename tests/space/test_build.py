from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medmm.errors import LicenceError, ModelError, StoreError
from medmm.model_folder import seal_card
from medmm.shelf import example_cohort, find_model
from medmm.space.build import DIGESTS, build, digests
from medmm.space.checks import files_of


def copy_of(model: str, folder: Path) -> Path:
    shutil.copytree(find_model(model), folder)
    return folder


def test_the_bundle_holds_the_page_one_model_and_the_examples_made_for_it(bundle: Path) -> None:
    assert {p.name for p in bundle.iterdir()} == {
        ".gitattributes", "LICENSE", "README.md", "app.py", "bundle.json", "medmm", "medmm-0.1.0.dist-info", "requirements.txt",
    }  # fmt: skip
    assets = bundle / "medmm" / "assets"
    assert [p.name for p in (assets / "models").iterdir()] == ["phantom"]
    listed = json.loads((assets / "examples" / "examples.json").read_text(encoding="utf-8"))
    assert [entry["model"] for entry in listed] == ["phantom"]
    assert {p.name for p in (assets / "examples").iterdir()} == {"examples.json", "LICENSE.md", *(e["path"] for e in listed)}
    assert "Apache License" in (bundle / "LICENSE").read_text(encoding="utf-8")


def test_of_a_model_only_what_its_manifest_lists_goes_along(bundle: Path) -> None:
    model = bundle / "medmm" / "assets" / "models" / "phantom"
    assert (find_model("phantom") / "split.csv").exists()  # who is in which split: nobody else's business
    assert {p.name for p in model.iterdir()} == {"sha256.json", *json.loads((model / "sha256.json").read_bytes())}


def test_nothing_but_what_belongs_to_it_is_packed(bundle: Path) -> None:
    names = [p.name for p in files_of(bundle)]
    assert [n for n in names if n.startswith(".")] == [".gitattributes"]
    assert not [n for n in names if n.endswith((".pyc", ".partial"))]
    assert digests(bundle) == json.loads((bundle / DIGESTS).read_bytes())


def test_the_package_of_the_bundle_stands_on_its_own(bundle: Path, tmp_path: Path) -> None:
    """From an empty folder and home, medmm and what it knows of itself are the bundle's."""
    code = (
        "import importlib.metadata as m, medmm, medmm.shelf as s;"
        "print(medmm.__file__, m.version('medmm'), s.model_names(), m.distribution('medmm')._path)"
    )
    environment = {"PYTHONPATH": str(bundle), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60, check=True
    )
    assert done.stdout.count(str(bundle)) == 2
    assert "['phantom']" in done.stdout


def test_every_file_of_the_package_compiles_as_python_3_12(bundle: Path) -> None:
    for file in bundle.rglob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 12))


def test_a_model_of_ones_own_is_the_one_it_offers(tmp_path: Path) -> None:
    own = copy_of("phantom", tmp_path / "own-model")
    built = build(tmp_path / "out", str(own), zero_gpu=True)
    assert built.models == ("own-model",)
    assert built.examples == 5  # none was made for it
    table = example_cohort()
    assert table is not None
    assert (tmp_path / "out" / "medmm" / "assets" / "examples" / table.name).read_bytes() == table.read_bytes()
    assert "build_app('own-model')" in (tmp_path / "out" / "app.py").read_text(encoding="utf-8")
    assert "import spaces" in (tmp_path / "out" / "app.py").read_text(encoding="utf-8")
    assert built.bytes == sum(f.stat().st_size for f in (tmp_path / "out").rglob("*") if f.is_file())


@pytest.mark.parametrize("licence", ["", "license: other", "license: proprietary", "license: cc-by-nc-nd-4.0"])
def test_a_model_that_may_not_be_passed_on_is_refused_and_nothing_is_written(tmp_path: Path, licence: str) -> None:
    model = copy_of("phantom", tmp_path / "model")
    card = (model / "card.md").read_text(encoding="utf-8").replace("license: apache-2.0", licence)
    seal_card(model, card)
    with pytest.raises(LicenceError, match="license"):
        build(tmp_path / "out", str(model))
    assert not (tmp_path / "out").exists()


def test_an_altered_model_is_refused(tmp_path: Path) -> None:
    model = copy_of("phantom", tmp_path / "model")
    with (model / "card.md").open("a", encoding="utf-8") as card:
        card.write("better than you think")
    with pytest.raises(ModelError, match="altered"):
        build(tmp_path / "out", str(model))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match="empty"):
        build(tmp_path, "phantom")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_header_is_what_the_hub_reads(bundle: Path) -> None:
    _, header, body = (bundle / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    content = yaml.safe_load(header)
    assert content["sdk"] == "gradio"
    assert content["python_version"] == "3.12"
    assert (bundle / content["app_file"]).is_file()
    assert f"gradio=={content['sdk_version']}" in (bundle / "requirements.txt").read_text(encoding="utf-8")
    assert len(content["short_description"]) <= 60
    assert "Not a medical device" in body
