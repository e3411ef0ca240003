"""The choices of a run: typed, bounded, and corrected when misspelt."""

from __future__ import annotations

import json

import pytest

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
