from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from medmm import open_study
from medmm.errors import ModelError
from medmm.shelf import DEFAULT_MODEL, examples, find_model, model_names


def test_shipped_models_are_found_by_name_and_the_default_is_one() -> None:
    assert DEFAULT_MODEL in model_names()
    for name in model_names():
        assert (find_model(name) / "model.safetensors").is_file()
    assert find_model() == find_model(DEFAULT_MODEL)


def test_a_model_folder_is_found_by_path(tmp_path: Path) -> None:
    assert find_model(tmp_path) == tmp_path
    assert find_model(str(tmp_path)) == tmp_path


def test_a_folder_named_like_a_shipped_model_is_not_passed_over_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_MODEL).mkdir()
    assert find_model(DEFAULT_MODEL).parent.name == "models"  # not a model, so nothing to confuse
    (tmp_path / DEFAULT_MODEL / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=f"./{DEFAULT_MODEL}"):
        find_model(DEFAULT_MODEL)
    assert find_model(f"./{DEFAULT_MODEL}") == Path(DEFAULT_MODEL)
    assert find_model().parent.name == "models"


@pytest.mark.parametrize("name", ["no_such_model", "../sts51", "/nowhere/SECRET"])
def test_an_unknown_model_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert DEFAULT_MODEL in caught.value.message
    assert "SECRET" not in caught.value.message


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.path.stem)
def test_every_example_opens_without_a_doubt_and_says_where_it_comes_from(example: object) -> None:
    study = open_study(example.path, note=example.note)
    assert study.modalities == {"image", "text"}
    assert study.volumes[0].unit == "HU"
    assert study.notices == ()
    assert example.attribution
    assert example.truth


def test_examples_and_models_stay_small() -> None:
    files = [f for f in find_model().parents[1].rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 25_000_000
    assert all(zipfile.is_zipfile(e.path) for e in examples())
