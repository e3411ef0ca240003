"""Model folders: a round trip changes nothing, and anything unsound is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medmm.errors import ModelError, PredictionsError
from medmm.evaluation.files import score_to_folder
from medmm.model_folder import ModelFolder, attach_results, golden_logits, load_model_folder, save_model_folder
from medmm.weights import MANIFEST, write_manifest

CPU = torch.device("cpu")
FILES = ["config.json", "model.safetensors", "calibration.json", "thresholds.json", "golden.json", "card.md", "tokenizer.json"]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A model folder that may be spoiled."""
    target = tmp_path / "model"
    target.mkdir()
    for name in [*FILES, MANIFEST]:
        shutil.copy(tiny_model / name, target)
    return target


def seal(folder: Path) -> None:
    """Make the manifest agree with the files, as whoever altered them could."""
    write_manifest(folder, [p.name for p in folder.iterdir() if p.name != MANIFEST])


def edit(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    content = json.loads((folder / name).read_text())
    changed = change(content)
    (folder / name).write_text(json.dumps(content if changed is None else changed))
    seal(folder)


def save_as(opened: ModelFolder, folder: Path) -> None:
    save_model_folder(
        folder, opened.model, opened.preprocessor, opened.calibrators, opened.thresholds, card=opened.card, prevalence=(0.5, 0.5)
    )


def test_a_folder_holds_what_the_contract_names_and_no_pickle(tiny_model: Path) -> None:
    listed = set(json.loads((tiny_model / MANIFEST).read_text()))
    assert listed == set(FILES)
    for path in tiny_model.rglob("*"):
        if path.is_file():
            head = path.read_bytes()[:4]
            assert not head.startswith(b"\x80"), path.name  # a pickle's first byte
            assert not head.startswith(b"PK"), path.name  # torch.save writes zips


def test_saving_what_was_loaded_gives_the_same_bytes_and_the_same_outputs(tiny_model: Path, tmp_path: Path) -> None:
    opened = load_model_folder(tiny_model, CPU)
    save_as(opened, tmp_path / "copy")
    again = load_model_folder(tmp_path / "copy", CPU)
    for name in ("model.safetensors", "tokenizer.json", "calibration.json", "thresholds.json", "golden.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (tiny_model / name).read_bytes(), name
    assert golden_logits(again.model, again.preprocessor) == golden_logits(opened.model, opened.preprocessor)
    assert again.model.config == opened.model.config
    assert set(golden_logits(again.model, again.preprocessor)) == {"image+text", "image", "text"}


@pytest.mark.parametrize("name", FILES)
def test_one_altered_byte_in_any_file_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ModelError, match=f"{name} as it was saved"):
        load_model_folder(folder, CPU)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError):
        load_model_folder(folder, CPU)


@pytest.mark.parametrize("name", FILES)
def test_a_file_left_out_of_the_manifest_is_refused(folder: Path, name: str) -> None:
    listed = json.loads((folder / MANIFEST).read_text())
    del listed[name]
    (folder / MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(ModelError, match="incomplete"):
        load_model_folder(folder, CPU)


SPOILED_WEIGHTS = {
    "missing": lambda state: state.pop("head.linear.bias"),
    "extra": lambda state: state.update({"backdoor": torch.zeros(1)}),
    "shape": lambda state: state.update({"head.linear.bias": torch.zeros(3)}),
    "nan": lambda state: state["head.linear.bias"].fill_(float("nan")),
    "changed": lambda state: state["head.linear.weight"].neg_(),
    "small_change": lambda state: state["project.image.1.weight"].mul_(1.05),
}


@pytest.mark.parametrize("how", SPOILED_WEIGHTS)
def test_weights_that_are_not_the_models_own_are_refused_although_the_manifest_agrees(folder: Path, how: str) -> None:
    state = load_file(folder / "model.safetensors")
    SPOILED_WEIGHTS[how](state)
    save_file(state, folder / "model.safetensors")
    seal(folder)
    with pytest.raises(ModelError):
        load_model_folder(folder, CPU)


@pytest.mark.parametrize(
    "change",
    [
        lambda golden: golden["text"].__setitem__(0, golden["text"][0] + 0.05),
        lambda golden: golden.pop("image"),
        lambda golden: golden.update({"audio": [0.0, 0.0]}),
        lambda golden: golden.update({"image": ["a", "b"]}),
        lambda golden: golden.update({"image": None}),
        lambda golden: golden.update({"image": [float("nan"), 0.0]}),
    ],
    ids=["moved", "pattern_missing", "pattern_extra", "words", "null", "nan"],
)
def test_a_failed_golden_self_test_is_refused(folder: Path, change: Callable[[Any], Any]) -> None:
    edit(folder, "golden.json", lambda golden: change(golden) and None)
    with pytest.raises(ModelError, match="self-test"):
        load_model_folder(folder, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=3), "format 2; got 3"),
        (lambda c: c.pop("format"), "format 2"),
        (lambda c: c.pop("model"), "do not fit"),
        (lambda c: c.update(model=[]), "do not fit"),
        (lambda c: c["model"].update(fusion="plugged"), "'plugged'.*plug-in"),
        (lambda c: c["model"]["image"].update(encoder="resnett"), "Did you mean 'resnet'"),
        (lambda c: c["model"]["image"]["options"].update(shiny=1), "cannot be built"),
        (lambda c: c["model"].update(width=-1), "cannot be built"),
        (lambda c: c["model"].update(labels="ab"), "labels"),
        (lambda c: c["model"].update(labels=["a", "b", "c"]), "shape"),
        (lambda c: c["model"].update(text=None), "extra"),
        (lambda c: c["model"]["image"]["recipe"].update(shape=[8, 8]), "shape"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    edit(folder, "config.json", lambda content: change(content) and None)
    with pytest.raises(ModelError, match=message):
        load_model_folder(folder, CPU)


GOOD = {"method": "map_scaling", "slope": [1.0], "bias": [0.0, 0.0], "n": 20}


@pytest.mark.parametrize(
    "entry",
    [[], None, "x", {}, {**GOOD, "slope": [0.0]}, {**GOOD, "slope": [-1.0]}, {**GOOD, "slope": [1.0, 1.0]}, {**GOOD, "bias": [0.0]},
     {**GOOD, "bias": [0.0, float("nan")]}, {**GOOD, "bias": [0.0] * 3}, {**GOOD, "method": "isotonic"}],
)  # fmt: skip
def test_a_calibration_that_does_not_fit_the_labels_is_refused(folder: Path, entry: Any) -> None:
    edit(folder, "calibration.json", lambda _: {"image": GOOD})
    load_model_folder(folder, CPU)
    edit(folder, "calibration.json", lambda _: {"image": entry})
    with pytest.raises(ModelError, match="calibration"):
        load_model_folder(folder, CPU)


SOUND = {"values": [0.4], "policy": "max_f1_macro", "split": "val"}


@pytest.mark.parametrize(
    "entry",
    [[], None, {}, {**SOUND, "values": None}, {**SOUND, "values": []}, {**SOUND, "values": [0.4, 0.4]}, {**SOUND, "values": ["x"]},
     {**SOUND, "values": [float("nan")]}, {"values": [0.4]}],
)  # fmt: skip
def test_thresholds_that_do_not_fit_the_labels_are_refused(folder: Path, entry: Any) -> None:
    edit(folder, "thresholds.json", lambda _: {"image": SOUND})
    assert load_model_folder(folder, CPU).thresholds["image"].values == (0.4,)
    edit(folder, "thresholds.json", lambda _: {"image": entry})
    with pytest.raises(ModelError, match="thresholds"):
        load_model_folder(folder, CPU)


def test_no_refusal_names_a_path(folder: Path) -> None:
    for name in (MANIFEST, "model.safetensors", "tokenizer.json"):
        (folder / name).unlink()
        with pytest.raises(ModelError) as caught:
            load_model_folder(folder, CPU)
        assert str(folder.parent) not in caught.value.message


def measured(folder: Path, labels: tuple[str, str]) -> Any:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, 60)
    rows = [f"{i},{i},{labels[int(rng.random() < q)]},{1 - q},{q}" for i, q in enumerate(p)]
    table = folder / "predictions.csv"
    table.write_text("\n".join([f"sample_id,patient_id,label,p__{labels[0]},p__{labels[1]}", *rows]) + "\n")
    return score_to_folder(None, table, None, folder / "scored")


def test_measured_results_become_part_of_the_folder(folder: Path, tmp_path: Path) -> None:
    before = load_model_folder(folder, CPU)
    results = measured(tmp_path, ("negative", "positive"))
    attach_results(folder, results)
    after = load_model_folder(folder, CPU)
    assert before.results is None
    assert after.results == results
    assert f"{results.arms[0].metrics['auroc'].value:.3f}" in after.card
    assert "Not measured yet" in before.card
    assert "Not measured yet" not in after.card
    assert after.digest != before.digest
    attach_results(folder, results)  # once more replaces, it does not pile up
    assert (folder / "card.md").read_text() == after.card


def test_results_about_other_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="no, yes"):
        attach_results(folder, measured(tmp_path, ("no", "yes")))
    assert not (folder / "results.json").exists()


def test_results_dropped_beside_a_model_are_not_believed(folder: Path) -> None:
    (folder / "results.json").write_text("{}")
    with pytest.raises(ModelError, match="incomplete"):
        load_model_folder(folder, CPU)
