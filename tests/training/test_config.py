"""The choices of a run: typed, bounded, and corrected when misspelt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import TaskError
from medmm.training.config import TrainConfig, checked, config_from


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("epoch", "epochs"), ("fusions", "fusion"), ("learning-rate", "learning_rate"), ("classweights", "class_weights"),
     ("maxtokens", "max_tokens"), ("weight_deacy", "weight_decay")],
)  # fmt: skip
def test_a_misspelt_choice_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(TaskError, match=f"Did you mean {near}\\?"):
        config_from({}, [f"{wrong}=3"])


def test_a_choice_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(TaskError, match=r"fusion, image_encoder.*got 'zzz'"):
        config_from({}, ["zzz"])


@pytest.mark.parametrize(("wrong", "near"), [("fusion=wieghted", "weighted"), ("text_encoder=transfomer", "transformer"),
                                             ("image_encoder=resnet3", "resnet")])  # fmt: skip
def test_a_misspelt_part_is_answered_with_the_nearest_before_anything_is_read(wrong: str, near: str) -> None:
    with pytest.raises(TaskError, match=f"Did you mean '{near}'"):
        config_from({}, [wrong])


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("loss_parts.txt=1", "text"), ('loss_parts={"fusd": 1}', "fused"), ('modalities=["imgae"]', "image"),
     ('encoder_options={"audo": {}}', "audio"), ("encoder_options.text.dept=2", "depth"), ("fusion_options.lowrank.rnk=2", "rank"),
     ("fusion_options.lowrak.rank=2", "'lowrank'"), ("precision=bf61", "bf16"),
     ("class_weights=balancd", "balanced"), ("loss=focl", "focal"), ("augmentation.image.rotatoin=1", "rotation"),
     ('tasks=[{"name": "t", "kind": "ordinal", "wieght": 2}]', "weight"), ('tasks=[{"name": "t", "kind": "ordnal"}]', "ordinal"),
     ("labels_from=report", "reports"), ("peft.text.rnak=2", "rank"), ('note_sections=["indications"]', "indication")],
)  # fmt: skip
def test_a_misspelt_word_within_a_choice_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(TaskError, match=f"Did you mean {near}\\?"):
        config_from({}, [wrong])


def test_a_key_with_dots_changes_one_value_and_leaves_those_beside_it() -> None:
    config = config_from({}, ["loss_parts.text=0.2", "encoder_options.text.depth=1"])
    assert config.loss_parts == TrainConfig().loss_parts | {"text": 0.2}
    assert config.encoder_options == {"text": {"depth": 1}}


def test_a_key_with_dots_into_a_single_value_is_refused() -> None:
    with pytest.raises(TaskError, match="epochs holds one value"):
        config_from({}, ["epochs.image=3"])


def test_options_are_those_of_the_encoder_that_a_source_sets() -> None:
    with pytest.raises(TaskError, match="got 'depth'"):
        config_from({"text_source": "hub/name"}, ["encoder_options.text.depth=1"])
    assert config_from({"text_source": "hub/name"}, []).encoder("text") == "huggingface"


def test_a_speech_encoder_and_its_source_go_together() -> None:
    with pytest.raises(TaskError, match="Set audio_encoder to huggingface_mel or huggingface_waveform"):
        config_from({}, ["audio_source=hub/name"])
    with pytest.raises(TaskError, match="Expected audio_source with the audio encoder huggingface_mel"):
        config_from({}, ["audio_encoder=huggingface_mel"])


def test_adjustment_and_class_weights_are_not_both_taken() -> None:
    with pytest.raises(TaskError, match="class_weights none with loss logit_adjusted"):
        config_from({}, ["loss=logit_adjusted"])


def test_a_record_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(TaskError, match="Did you mean epochs"):
        checked({"epoch": 3})


@pytest.mark.parametrize(
    ("choices", "read"),
    [({}, None), ({"labels_from": "reports"}, ("indication",)), ({"note_sections": ["findings"]}, ("findings",)),
     ({"labels_from": "reports", "note_sections": ["indication", ""]}, ("indication", ""))],
)  # fmt: skip
def test_labels_from_reports_leave_the_indication_alone_unless_told_otherwise(choices: Any, read: Any) -> None:
    assert checked(choices).read_sections == read


@pytest.mark.parametrize(
    "setting",
    [
        "epochs=0",
        "epochs=many",
        "epochs=1.5",
        "patience=-1",
        "batch_size=0",
        "learning_rate=0",
        "learning_rate=NaN",
        "weight_decay=-1",
        "smoothing=1.5",
        "class_weights=some",
        "voxels=1",
        "max_tokens=2",
        "width=30",
        "seed=-1",
        "precision=fp8",
        'modalities=["txt"]',
        "modalities=[]",
        "fractions=[0,0.5,0.5]",
        "fractions=[0.5,0.5]",
        'loss_parts={"smell": 1}',
        'loss_parts={"text": -1}',
        "augment=perhaps",
        "text_encoder=huggingface",
        "note_sections=[]",
    ],
)
def test_a_value_that_cannot_be_trained_with_is_refused(setting: str) -> None:
    with pytest.raises(TaskError):
        config_from({}, [setting])


def test_settings_win_over_given_values_and_are_read_as_json() -> None:
    config = config_from({"epochs": 3, "seed": 4}, ["epochs=7", "augment=false", 'modalities=["text"]', "fractions=[0.5,0.2,0.3]"])
    assert config == TrainConfig(epochs=7, seed=4, augment=False, modalities=("text",), fractions=(0.5, 0.2, 0.3))


def test_a_configuration_survives_its_record() -> None:
    config = TrainConfig(text_source="hub/name", loss_parts={"fused": 1.0, "text": 0.2})
    assert checked(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (['frozen=["text"]', "unfreeze.text=2"], "frozen or in unfreeze; text is in both"),
        (["peft.text.kind=lora", "unfreeze.text=2"], "unfreeze or in peft; text is in both"),
        (["precision=fp16", "adversarial.method=fgsm"], "gradients vanish in fp16"),
        (["compile=true", "adversarial.method=fgsm"], "no compile with adversarial"),
        (['gradient_checkpointing=["image"]'], "of image with the encoder resnet"),
        (['tasks=[{"name":"size","kind":"regression","weight":2}]', "task_weights=uncertainty"], "no weight of size with"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(settings: list[str], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        config_from({}, settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: 3\nlearning_rate: 0.1\nepochs: 30\n", "'epochs' stands twice, in lines 1 and 3"),
        ("loss_parts:\n  text: 0.2\n  text: 0.9\n", "'text' stands twice, in lines 2 and 3"),
        ("", "it is empty"),
        ("epochs: [", "no YAML in line 1"),
        ("epochs: 3\n" + "# more\n" * 200_000 + "epochs: 30\n", "over 1 MB"),
        ("epoch: 3\n", "Did you mean epochs"),
    ],
)
def test_a_file_of_which_something_would_be_lost_stops_a_command(note_cohort: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "choices.yaml").write_text(text)
    given = ["train", str(note_cohort), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "choices.yaml")]
    error = CliRunner().invoke(app, given).exception
    assert isinstance(error, TaskError)
    assert said in error.message
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::medmm.training.partners.IdleWarning")
def test_every_command_that_trains_takes_choices_from_a_file(note_cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "choices.yaml").write_text("width: 8\nepochs: 1\nseed: 5\ntracker: none\nmodalities: [text]\n")
    (tmp_path / "space.yaml").write_text("learning_rate: [0.001]\n")
    begun = {
        "pretrain": ["--objectives", "masked_language"],
        "tune": ["--space", str(tmp_path / "space.yaml"), "--trials", "1"],
        "ablate": ["--subsets", "text"],
    }
    for command, more in begun.items():
        given = [command, str(note_cohort), "--out", str(tmp_path / command), "--config", str(tmp_path / "choices.yaml"), *more]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 0, done.output
    records = [tmp_path / "pretrain" / "pretrain.json", tmp_path / "tune" / "trials" / "0" / "run" / "train.json",
               tmp_path / "ablate" / "cells" / "text-5" / "train.json"]  # fmt: skip
    stated = [json.loads(record.read_text())["config"] for record in records]
    assert [(config["width"], config["epochs"]) for config in stated] == [(8, 1)] * 3
    assert [config["seed"] for config in stated] == [5] * 3
    assert [config["split_seed"] for config in stated] == [None, 5, 5]
    assert stated[0]["batch_size"] == 32
