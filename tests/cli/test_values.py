"""`medmm predict --value` and `--values`: names the model reads, numbers and words, and nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medmm.cli import app
from medmm.cli.values import given_values
from medmm.errors import ValuesError
from medmm.transforms.columns import CategoryColumn, NumberColumn, TableRecipe

RECIPE = TableRecipe((NumberColumn("age", "years", 20, 90, 60, 10),), (CategoryColumn("sex", ("f", "m")),))


def test_values_come_from_texts_and_files_and_texts_win(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(json.dumps({"age": 50, "sex": "m"}))
    (tmp_path / "v.csv").write_text("age,sex\n50,m\n")
    for file in ("v.json", "v.csv"):
        found = given_values(RECIPE, ["age=61.5"], tmp_path / file)
        assert found is not None
        assert found.known == {"age": 61.5, "sex": "m"}


@pytest.mark.parametrize("texts", [["age="], ["sex="]])
def test_an_empty_value_is_a_missing_one(texts: list[str]) -> None:
    found = given_values(RECIPE, texts, None)
    assert found is not None
    assert found.known == {}


def test_a_null_in_a_file_is_a_missing_value(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"age": null, "sex": "f"}')
    found = given_values(RECIPE, [], tmp_path / "v.json")
    assert found is not None
    assert found.known == {"sex": "f"}


def test_nothing_given_is_nothing() -> None:
    assert given_values(RECIPE, [], None) is None
    assert given_values(None, [], None) is None


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["aeg=3"], "Did you mean age"),
        (["age"], "name=value"),
        (["age=old"], "a number or nothing as age"),
        (["weight=3"], "age, sex"),
    ],
)
def test_what_is_no_value_of_the_model_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(ValuesError, match=said):
        given_values(RECIPE, texts, None)


def test_a_model_without_values_says_so() -> None:
    with pytest.raises(ValuesError, match="reads none"):
        given_values(None, ["age=3"], None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.json", "[1]"),
        ("v.json", "{"),
        ("v.json", '{"age": {"a": 1}}'),
        ("v.csv", "age\n1\n2\n"),
        ("absent.json", None),
        ("v.txt", ""),
    ],
)
def test_a_file_that_is_not_the_values_of_one_patient_is_refused(name: str, content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValuesError):
        given_values(RECIPE, [], tmp_path / name)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_value_moves_the_answer_and_a_weighted_model_states_its_alpha(tmp_path: Path) -> None:
    with (tmp_path / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "patient_id", "note", "label", "size"])
        writer.writerows([i, i, "A cough.", "large" if i % 2 else "small", 8 + i % 3 if i % 2 else 1 + i % 3] for i in range(60))
    choices = ["--fusion", "weighted", "--epochs", "4", "--labels", "small,large", "--set", "width=16", "--set", 'tabular=["size"]']
    assert call("train", tmp_path / "cohort.csv", "--out", tmp_path / "run", *choices).exit_code == 0
    found = [
        json.loads(call("predict", "--value", f"size={size}", "--model", tmp_path / "run", "--json").stdout)["probabilities"][
            "large"
        ]
        for size in (2, 9)
    ]
    assert found[0] + 0.2 < found[1]
    refused = call("predict", "--value", "sice=2", "--model", tmp_path / "run", "--json")
    assert refused.exit_code == 2
    assert "Did you mean size" in json.loads(refused.stdout)["error"]["message"]
    card = (tmp_path / "run" / "card.md").read_text()
    assert "Learned by the fusion: alpha/tabular " in card
