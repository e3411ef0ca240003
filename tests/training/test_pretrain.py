"""From a cohort without labels to encoders that training starts from: repeatable, resumable, blind to who is measured."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medmm.encoders import ENCODERS
from medmm.encoders.patch import PatchConv
from medmm.errors import CohortError, LeakageError, ModelError, StoreError, TaskError
from medmm.model_folder import load_model_folder
from medmm.pretrained.folder import load_pretrained
from medmm.pretrained.network import PretrainedNetwork
from medmm.sources.cohort import read_cohort
from medmm.training import TrainConfig, train
from medmm.training.partners import IdleWarning
from medmm.training.pretrain import Aims, pretrain
from medmm.training.split import split_unlabelled
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer, TextRecipe

CPU = torch.device("cpu")
LABELS = ("no_large", "large")
WORDS = Aims({"masked_language": 1.0})
ALL = Aims({"masked_image": 1.0, "masked_language": 0.5, "infonce": 1.0}, mask_patch=4)
SMALL = TrainConfig(
    epochs=3, width=16, voxels=8**3, learning_rate=4e-3, image_encoder="patch", encoder_options={"image": {"widths": [8, 16]}},
    modalities=("image", "text"),
)  # fmt: skip
BEGUN = replace(SMALL, voxels=TrainConfig().voxels)  # that of init holds
NOTES = TrainConfig(epochs=3, width=16, modalities=("text",))
PRODUCTS = ["weights.safetensors", "pretraining.json", "tokenizer.json", "split.csv", "sha256.json"]


@pytest.fixture(scope="module")
def both(imaged_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty studies with image and note."""
    path: Path = write_cohort(tmp_path_factory.mktemp("both"), imaged_rows(40))
    return path


@pytest.fixture(scope="module")
def pretrained(both: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "all"
    pretrain(both, out, ALL, SMALL)
    return out


@pytest.fixture(scope="module")
def words(note_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "words"
    pretrain(note_cohort, out, WORDS, NOTES)
    return out


def split_of(folder: Path) -> dict[str, str]:
    with (folder / "split.csv").open(newline="", encoding="utf-8") as file:
        return {row["study_id"]: row["split"] for row in csv.DictReader(file)}


def test_the_folder_holds_the_encoders_and_a_record(pretrained: Path, both: Path) -> None:
    found = load_pretrained(pretrained, CPU)
    assert set(found.network.encoders) == {"image", "text"}
    assert {p.name for p in pretrained.iterdir()} == {*PRODUCTS, "pretrain.json", "failures.csv", "tensorboard"}
    assert found.about["cohort"] == read_cohort(both).digest
    assert (found.about["n_train"], found.about["n_val"]) == (24, 10)
    assert set(found.about["history"][0]) == {
        "loss/train", "learning_rate", "val/loss", "val/masked_image", "val/masked_language", "val/infonce",
    }  # fmt: skip
    row = found.about["history"][-1]
    assert row["val/loss"] == pytest.approx(row["val/masked_image"] + 0.5 * row["val/masked_language"] + row["val/infonce"])


def test_the_same_seed_gives_the_same_bytes_and_a_finished_run_is_left_alone(
    words: Path, note_cohort: Path, tmp_path: Path
) -> None:
    pretrain(note_cohort, tmp_path / "again", WORDS, NOTES)
    assert all((words / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in PRODUCTS)
    assert pretrain(note_cohort, words, WORDS, NOTES).best_epochs == ()
    with pytest.raises(StoreError, match="another aims"):
        pretrain(note_cohort, words, ALL, replace(NOTES, modalities=("text",)))


def test_labels_are_not_looked_at(words: Path, note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = note_rows(80)
    for row in rows:
        del row["label"]
    pretrain(write_cohort(tmp_path, rows), tmp_path / "run", WORDS, NOTES)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == (words / "weights.safetensors").read_bytes()


def test_the_loss_on_held_out_patients_falls_and_decides_when_to_stop(note_cohort: Path, tmp_path: Path) -> None:
    config = TrainConfig(epochs=40, patience=4, width=16, learning_rate=1e-2)
    pretrain(note_cohort, tmp_path, WORDS, config)
    about = load_pretrained(tmp_path, CPU).about
    losses = [row["val/loss"] for row in about["history"]]
    assert min(losses) < 0.6 * losses[0]
    assert losses[about["best_epoch"]] == min(losses)
    assert len(losses) == 40 or len(losses) - 1 - max(about["best_epoch"], 8) == 4


def test_after_a_kill_at_any_moment_it_ends_with_the_same_bytes(both: Path, pretrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "medmm", "pretrain", str(both), "--out", str(out), "--epochs", "3", "--batch-size", "8",
               "--objectives", "masked_image,masked_language=0.5,infonce", "--mask-patch", "4", "--set", "width=16",
               "--set", "voxels=512", "--set", "learning_rate=0.004", "--set", "image_encoder=patch",
               "--set", 'encoder_options={"image": {"widths": [8, 16]}}']  # fmt: skip
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    limit = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert not (out / "sha256.json").exists()
    with pytest.raises(ModelError, match="finished"):
        load_pretrained(out, CPU)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert all((pretrained / name).read_bytes() == (out / name).read_bytes() for name in PRODUCTS)


def test_training_starts_from_the_pretrained_encoders_and_says_so(pretrained: Path, both: Path, tmp_path: Path) -> None:
    still = replace(BEGUN, init=str(pretrained), epochs=1, learning_rate=1e-12, encoder_options={})
    train(both, tmp_path / "run", still, labels=LABELS)
    start, model = load_pretrained(pretrained, CPU), load_model_folder(tmp_path / "run", CPU)
    for name in ("image", "text"):
        given, taken = start.network.encoders[name].state_dict(), model.model.encoders[name].state_dict()
        assert all(torch.allclose(given[key], taken[key], atol=1e-6) for key in given)
    assert model.model.config.image.recipe == start.network.config.image.recipe
    assert (tmp_path / "run" / "tokenizer.json").read_bytes() == (pretrained / "tokenizer.json").read_bytes()
    assert f"The encoders of image and text started from pretrained weights `{start.digest[:12]}`" in model.card
    assert json.loads((tmp_path / "run" / "train.json").read_text())["init"] == start.digest


def test_choices_that_give_way_to_what_init_knows_are_told(pretrained: Path, both: Path, tmp_path: Path) -> None:
    plain = replace(BEGUN, init=str(pretrained), epochs=1)
    other = replace(plain, voxels=16**3, max_tokens=8)
    train(both, tmp_path / "plain", plain, labels=LABELS)
    with pytest.warns(IdleWarning, match="voxels without an encoder of image other than that of init") as told:
        train(both, tmp_path / "other", other, labels=LABELS)
    assert "max_tokens without an encoder of text other than that of init" in str(told[0].message)
    assert (tmp_path / "plain/model.safetensors").read_bytes() == (tmp_path / "other/model.safetensors").read_bytes()


def test_what_did_not_start_from_them_is_said_too(
    pretrained: Path, words: Path, note_cohort: Path, both: Path, tmp_path: Path
) -> None:
    train(note_cohort, tmp_path / "words", replace(NOTES, init=str(words), epochs=1), labels=LABELS)
    assert "(masked_language); fusion and heads started at random." in (tmp_path / "words" / "card.md").read_text()
    found = load_pretrained(pretrained, CPU)
    assert found.told(("text",)).endswith("pretrained but not used: image.")
    assert found.told(("image", "audio")).endswith("so did the encoders of audio; pretrained but not used: text.")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"text_encoder": "recurrent"}, "text_encoder=transformer"),
        ({"encoder_options": {"text": {"width": 32}}}, "tensors differ"),
    ],
)
def test_another_encoder_than_the_pretrained_one_is_refused(
    words: Path, note_cohort: Path, tmp_path: Path, change: dict[str, Any], hint: str
) -> None:
    with pytest.raises(TaskError, match=hint):
        train(note_cohort, tmp_path / "run", replace(NOTES, init=str(words), **change), labels=LABELS)


def test_a_frozen_encoder_keeps_the_weights_it_began_with(note_cohort: Path, tmp_path: Path) -> None:
    pretrain(note_cohort, tmp_path, WORDS, replace(NOTES, frozen=("text",), epochs=1))
    found = load_pretrained(tmp_path, CPU).network
    torch.manual_seed(NOTES.seed)
    begun, ended = PretrainedNetwork(found.config).state_dict(), found.state_dict()
    learned = {name.split(".")[0] for name in begun if not torch.equal(begun[name], ended[name])}
    assert learned == {"objectives"}


def test_a_cohort_without_anything_they_read_is_refused(words: Path, pretrained: Path) -> None:
    images = Preprocessor(image=load_pretrained(pretrained, CPU).preprocessor.image)
    with pytest.raises(TaskError, match="which init reads"):
        load_pretrained(words, CPU).reading(images)


def test_sections_that_may_not_be_read_stay_unread(words: Path, note_cohort: Path) -> None:
    start = load_pretrained(words, CPU)
    assert start.preprocessor.text is not None
    planned = NoteTokenizer.from_json(start.preprocessor.text.to_json(), TextRecipe(9, 9, ("indication",)))
    reading = start.reading(Preprocessor(text=planned)).text
    assert reading is not None
    assert (reading.sections, reading.max_tokens) == (("indication",), start.preprocessor.text.max_tokens)


def test_test_patients_that_pretraining_saw_are_refused(words: Path, note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = note_rows(80)
    for row in rows:
        row["split"] = {"train": "test", "test": "train"}.get(row["split"], row["split"])
    with pytest.raises(LeakageError, match="it saw 48"):
        train(write_cohort(tmp_path, rows), tmp_path / "run", replace(NOTES, init=str(words)), labels=LABELS)


def test_several_images_of_a_study_start_from_encoders_of_one(
    pretrained: Path, imaged_rows: Any, write_cohort: Any, tmp_path: Path
) -> None:
    rows = imaged_rows(20)
    for row in rows:
        row["image"] = f"{row['image']}|{row['image']}"
        row["split"] = row["split"].replace("test", "val")
    train(write_cohort(tmp_path, rows), tmp_path / "run", replace(BEGUN, init=str(pretrained), epochs=1), labels=LABELS)
    assert load_model_folder(tmp_path / "run", CPU).model.config.image.recipe.volumes == 2


def test_the_table_need_not_state_a_split_for_both_to_agree(note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = note_rows(80)
    for i, row in enumerate(rows):
        row["split"] = ""
        row["label"] = row["label"] if i < 40 else ""
        row["patient_id"] = f"P{i % 50}"
    table = write_cohort(tmp_path, rows)
    config = TrainConfig(epochs=1, width=16, modalities=("text",))
    pretrain(table, tmp_path / "p", WORDS, config)
    train(table, tmp_path / "run", replace(config, init=str(tmp_path / "p")), labels=LABELS)
    measured = {study for study, side in split_of(tmp_path / "run").items() if side == "test"}
    assert measured
    assert {split_of(tmp_path / "p")[study] for study in measured} == {"test"}
    cases = split_unlabelled(read_cohort(table).cases, config.fractions, 0)
    assert len({(c.patient_id, c.split) for c in cases}) == 50
    without = [c.split for c in cases if int(c.patient_id[1:]) >= 40]
    assert set(without) == {"train", "val"}


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"objectives": {}}, "Expected objectives of halves"),
        ({"objectives": {"masked_image": 0.0}}, "above 0"),
        ({"text_masked": 1.5}, "between 0 and 1"),
        ({"mask_patch": 0}, "at least one voxel"),
    ],
)
def test_aims_that_make_no_sense_are_refused(changes: dict[str, Any], hint: str) -> None:
    with pytest.raises(TaskError, match=hint):
        replace(WORDS, **changes)


@pytest.mark.parametrize(
    ("objective", "error", "hint"),
    [
        ("maskedimage", TaskError, "Did you mean 'masked_image'"),
        ("infonce", CohortError, "none has image"),
        ("opened", TaskError, "objectives halves, infonce, masked_image, masked_language, sigmoid; got 'opened'"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    note_cohort: Path, tmp_path: Path, objective: str, error: type[Exception], hint: str
) -> None:
    with pytest.raises(error, match=hint):
        pretrain(note_cohort, tmp_path / "run", Aims({objective: 1.0}), NOTES)


def test_pretraining_does_not_start_from_pretraining(words: Path, note_cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="Expected no init"):
        pretrain(note_cohort, tmp_path / "run", WORDS, replace(NOTES, init=str(words)))


@pytest.mark.parametrize("name", ["tokenizer.json", "weights.safetensors"])
def test_an_altered_folder_is_refused(words: Path, note_cohort: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(words, tmp_path / "p")
    (tmp_path / "p" / name).write_text("{}")
    with pytest.raises(ModelError, match="altered"):
        train(note_cohort, tmp_path / "run", TrainConfig(init=str(tmp_path / "p")), labels=LABELS)


def test_a_hugging_face_encoder_goes_on_where_it_was(note_cohort: Path, build_bert: Any, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, width=16, text_source=str(build_bert(tmp_path / "bert")))
    pretrain(note_cohort, tmp_path / "p", WORDS, config)
    fine = TrainConfig(epochs=1, width=16, text_encoder="huggingface", init=str(tmp_path / "p"))
    train(note_cohort, tmp_path / "run", fine, labels=LABELS)
    given = load_pretrained(tmp_path / "p", CPU).network.encoders["text"].state_dict()
    taken = load_model_folder(tmp_path / "run", CPU).model.encoders["text"].state_dict()
    assert np.mean([torch.allclose(given[key], taken[key], atol=5e-3) for key in given]) > 0.9


class Opened(PatchConv):
    """An image encoder that has published weights: one number for all of them."""

    def load_pretrained(self, source: str) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(float(Path(source).read_text()))


def test_an_image_encoder_goes_on_from_its_published_weights(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS["image"]._targets, "opened", Opened)
    (tmp_path / "weights").write_text("0.25")
    config = replace(SMALL, epochs=1, image_encoder="opened", image_source=str(tmp_path / "weights"), pretrained_rate=1e-9)
    pretrain(both, tmp_path / "p", Aims({"masked_image": 1.0}, mask_patch=4), config)
    held = load_pretrained(tmp_path / "p", CPU).network.encoders["image"]
    assert all(torch.allclose(weight, torch.tensor(0.25), atol=0.02) for weight in held.parameters())


def test_options_that_no_encoder_takes_are_refused_with_what_it_says(note_cohort: Path, tmp_path: Path) -> None:
    odd = replace(NOTES, encoder_options={"text": {"heads": 7}})
    with pytest.raises(TaskError, match=r"options that fit.*divisible by num_heads"):
        pretrain(note_cohort, tmp_path / "p", WORDS, odd)
    with pytest.raises(TaskError, match=r"options that fit.*divisible by num_heads"):
        train(note_cohort, tmp_path / "m", odd, labels=LABELS)
