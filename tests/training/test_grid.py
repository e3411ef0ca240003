"""The list of choices: all of them, with true defaults, each explained, and the same in the docs."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.encoders import ENCODERS
from medmm.fusion import FUSIONS
from medmm.training import TrainConfig
from medmm.training.config import config_from
from medmm.training.grid import choices, encoder_options, fusion_options, render

DOCS = Path(__file__).parents[2] / "docs" / "choices.md"


def keys_of(record: Any, prefix: str = "") -> set[str]:
    """Of a configuration and the records in it, by walking through its values."""
    found: set[str] = set()
    for entry in fields(record):
        value = getattr(record, entry.name)
        found |= keys_of(value, f"{prefix}{entry.name}.") if is_dataclass(value) else {f"{prefix}{entry.name}"}
    return found


def test_every_key_is_there_once_and_explained() -> None:
    keys = [choice.key for choice in choices()]
    within = {key for key in keys if ".MODALITY." in key or "[]." in key}
    assert sorted(set(keys) - within) == sorted(keys_of(TrainConfig()))
    assert {"peft.MODALITY.kind", "tasks[].kind"} <= within
    assert len(set(keys)) == len(keys)
    assert [choice.key for choice in choices() if not choice.about or not choice.takes] == []


def test_every_default_is_the_one_of_a_run() -> None:
    for choice in choices():
        if "." in choice.key and ("MODALITY" in choice.key or "[]" in choice.key):
            continue
        if not choice.default.endswith("..."):
            assert config_from({}, [f"{choice.key}={choice.default}"]) == TrainConfig(), choice.key


@pytest.mark.parametrize(
    ("key", "takes"),
    [("epochs", "whole number >= 1"), ("warmup", "number >= 0 and < 1"), ("init", "text | null"), ("augment", "true | false"),
     ("optimizer", "adamw | adam | radam | sgd | rmsprop"), ("frozen", "list of image | text | audio | tabular"),
     ("layer_decay", "{image | text | audio | tabular: number > 0 and <= 1}"), ("peft.MODALITY.rank", "whole number >= 1")],
)  # fmt: skip
def test_values_are_told_in_words(key: str, takes: str) -> None:
    assert {choice.key: choice.takes for choice in choices()}[key] == takes


def test_nothing_registered_is_missing_from_the_help() -> None:
    told = CliRunner().invoke(app, ["train", "--help"]).output
    assert render() in told
    takes = {choice.key: choice.takes.split(" | ") for choice in choices()}
    assert takes["fusion"] == list(FUSIONS)
    for modality, registry in ENCODERS.items():
        assert takes[f"{modality}_encoder"] == list(registry)
        assert {f"{modality}.{name}" for name in registry} <= set(encoder_options())


def test_options_of_an_encoder_can_be_set_as_they_are_told() -> None:
    stated = dict(part.split("=", 1) for part in encoder_options()["text.transformer"].split(", "))
    config = config_from({}, [f"encoder_options.text.{name}={value}" for name, value in stated.items()])
    assert config.encoder_options["text"] == {name: json.loads(value) for name, value in stated.items()}


def test_the_docs_say_the_same() -> None:
    block = DOCS.read_text(encoding="utf-8").split("```text\n")[1].split("\n```")[0]
    assert block == render(), "Write docs/choices.md anew, with what medmm.training.grid.render() gives."


def test_options_of_a_fusion_layer_can_be_set_as_they_are_told() -> None:
    assert {name: fusion_options()[name] for name in ("attention", "lowrank")} == {"attention": "heads=4", "lowrank": "rank=8"}
    assert "weighted" not in fusion_options()
    assert config_from({}, ["fusion_options.lowrank.rank=3"]).fusion_options == {"lowrank": {"rank": 3}}
