"""Choices that do nothing by themselves: told before anything is trained, and only those."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import TaskError
from medmm.evaluation.ablation import Plan, ablate
from medmm.sources.cohort import read_cohort
from medmm.training import TrainConfig, train
from medmm.training.config import config_from, read_config
from medmm.training.grid import choices
from medmm.training.partners import IdleWarning, Use, refuse_idle, warn_of_idle, without_idle
from medmm.training.pretrain import Aims, pretrain
from medmm.training.search import Search, search
from medmm.training.search_space import Choices

LABELS = ("no_large", "large")
SMALL = ["epochs=1", "width=8", "tracker=none", "batch_size=16", 'modalities=["text","tabular"]', 'tabular=["age"]']
TASK = 'tasks=[{"name": "grade", "kind": "regression"}]'

REFUSED = [
    ("task_weights=uncertainty", [TASK]),
    ("focal_gamma=4", ["loss=focal"]),
    ("adjustment=2", ["loss=logit_adjusted", "class_weights=none"]),
    ("effective_beta=0.5", ["class_weights=effective"]),
    ("momentum=0.5", ["optimizer=sgd"]),
    ("adversarial.text=0.5", ["adversarial.method=fgsm"]),
    ("adversarial.weight=0.9", ["adversarial.method=pgd"]),
    ("adversarial.steps=1", ["adversarial.method=pgd"]),
    ('augmentation.text.synonym_groups=[["lesion","mass"]]', ["augmentation.text.synonyms=1"]),
]
"""Choices, and what each needs; the rest of the table cannot be tried on notes and columns."""

FREE = {
    "init", "modalities", "tabular", "labels_from", "epochs", "batch_size", "accumulate", "optimizer", "learning_rate", "schedule",
    "warmup", "weight_decay", "clip", "ema", "width", "augment", "tracker", "precision", "compile", "seed", "split_seed",
}  # fmt: skip
"""Keys that always have an effect, or none on purpose."""


@pytest.fixture(scope="module")
def cohort(note_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes with an age and a grade; more of one class than of the other, so that losses that know of it differ."""
    rows = note_rows(48, age=lambda i: 40 + i, grade=lambda i: i % 3)
    rows = [row for i, row in enumerate(rows) if i % 6 != 3]
    path: Path = write_cohort(tmp_path_factory.mktemp("partners"), rows)
    return path


@pytest.fixture(scope="module")
def weights_of(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, torch.Tensor]]:
    """Function that trains with settings and returns the weights; the same settings are trained with once."""
    known: dict[tuple[str, ...], dict[str, torch.Tensor]] = {}

    def weights(*settings: str) -> dict[str, torch.Tensor]:
        if settings not in known:
            out = tmp_path_factory.mktemp("run")
            train(cohort, out, config_from({}, [*SMALL, *settings]), labels=LABELS, alone=False, on_scan=lambda _: None)
            known[settings] = load_file(out / "model.safetensors")
        return known[settings]

    return weights


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def told_in(act: Callable[[], Any]) -> str:
    """What is warned of, once."""
    with pytest.warns(IdleWarning) as found:
        act()
    (one,) = [w for w in found if w.category is IdleWarning]
    return str(one.message)


@pytest.mark.parametrize(("setting", "partner"), REFUSED)
def test_what_is_refused_alone_does_nothing_alone_and_something_with_its_partner(
    weights_of: Any, setting: str, partner: list[str]
) -> None:
    with pytest.raises(TaskError, match=f"beside {setting.partition('=')[0]}, which without does nothing"):
        refuse_idle([config_from({}, [setting])])
    refuse_idle([config_from({}, [setting, *partner])])
    assert same(weights_of(), weights_of(setting))
    assert not same(weights_of(*partner), weights_of(*partner, setting))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (["pretrained_rate=1e-4"], "the source of an encoder that learns"),
        (["pretrained_rate=1e-4", "text_source=hub/name", 'frozen=["text"]'], "the source of an encoder that learns"),
        (["text_encoder=recurrent", "text_source=hub/name"], "text_source=null beside text_encoder"),
        (["augmentation.audio.band=0.5"], "augmentation.audio.bands beside augmentation.audio.band"),
        (["augmentation.audio.stretch=0.5"], "augmentation.audio.stretches beside augmentation.audio.stretch"),
        (["units.aeg=years", 'tabular=["age"]'], "aeg in tabular or believable beside units.aeg"),
        (["peft.text.kind=ia3", "peft.text.rank=4"], "another peft.text.kind than ia3 beside peft.text.rank,"),
        (["layer_decay.text=0.5", 'frozen=["text"]'], "an encoder of text that is not frozen beside layer_decay.text"),
    ],
)
def test_other_choices_without_their_partner_are_refused(settings: list[str], what: str) -> None:
    with pytest.raises(TaskError, match=f"Expected {what}"):
        refuse_idle([config_from({}, settings)])


def test_training_and_pretraining_refuse_before_anything_is_read(tmp_path: Path) -> None:
    idle = TrainConfig(focal_gamma=3.0)
    for begin in (lambda: train(tmp_path / "none.csv", tmp_path / "run", idle),
                  lambda: pretrain(tmp_path / "none.csv", tmp_path / "run", Aims({"masked_language": 1.0}), idle)):  # fmt: skip
        with pytest.raises(TaskError, match="Expected loss=focal beside focal_gamma"):
            begin()


def test_defaults_written_out_are_no_choices(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(config_from({}, ["fusion=late"]).to_dict() | {"tasks": []}))
    refuse_idle([config_from(read_config(tmp_path / "all.yaml"), [])])


def test_every_key_is_in_the_table_or_free() -> None:
    """A new key has to be thought about."""
    from medmm.training import partners

    known = [TrainConfig(fusion_options={"FUSION": {}}, units={"COLUMN": ""})]
    needs = [*partners._partners(known), *partners._occasions(known, partners.Use(()))]
    named = [key.replace(".text", ".MODALITY") if key.startswith(("peft", "layer")) else key for need in needs for key in need.keys]
    named += ["units", "fusion_options", *partners._OF_EACH]
    within = [choice.key for choice in choices() if "[]" not in choice.key]
    lacking = {key for key in within if not any(f"{key}.".startswith(f"{known}.") for known in named)}
    assert lacking == FREE


def test_what_finds_nothing_to_act_on_is_told_once(cohort: Path, tmp_path: Path) -> None:
    idle = ["voxels=4096", "encoder_options.image.stem=5", 'frozen=["audio"]', "fractions=[0.5,0.2,0.3]", "distill_weight=0.5",
            "nested=false", "fusion_options.lowrank.rank=3"]  # fmt: skip
    told = told_in(lambda: train(cohort, tmp_path / "run", config_from({}, [*SMALL, *idle]), labels=LABELS))
    assert "encoder_options.image.stem and voxels without image to read" in told
    assert "frozen.audio without audio to read" in told
    assert "fusion_options.lowrank.rank without fusion=lowrank" in told
    assert "distill_weight without a teacher" in told
    assert "nested without folds" in told
    assert "fractions without patients to divide" in told
    assert "tabular" not in told


def test_folds_and_a_lone_modality_leave_some_choices_without_effect(cohort: Path, tmp_path: Path) -> None:
    idle = ['modalities=["text"]', "fusion=gated", "patience=3", "judge=loss", "nested=false"]
    told = told_in(lambda: train(cohort, tmp_path / "run", config_from({}, [*SMALL, *idle]), labels=LABELS, folds=2))
    assert "fusion without several modalities or tasks" in told
    assert "judge and patience without validation cases" in told
    assert "nested" not in told


def test_leaving_out_sections_is_told_to_do_nothing_where_notes_have_no_headings(
    note_rows: Any, write_cohort: Any, cohort: Path, tmp_path: Path
) -> None:
    config = config_from({}, [*SMALL, "augmentation.text.sections=0.5"])
    told = told_in(lambda: train(cohort, tmp_path / "plain", config, labels=LABELS))
    assert "augmentation.text.sections without notes with several sections" in told
    rows = note_rows(40, age=lambda i: 40 + i)
    for row in rows:
        row["note"] = f"HISTORY: weight loss.\nFINDINGS: {row['note']}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdleWarning)
        train(write_cohort(tmp_path, rows), tmp_path / "divided", config, labels=LABELS)


def test_a_fusion_of_one_modality_is_heard_by_further_tasks(weights_of: Any, cohort: Path) -> None:
    alone = ('modalities=["text"]', TASK)
    assert not same(weights_of(*alone), weights_of(*alone, "fusion=late"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdleWarning)
        warn_of_idle([config_from({}, [*SMALL, *alone, "fusion=late"])], Use(read_cohort(cohort).cases))


def test_choices_switched_off_are_told_and_do_nothing(weights_of: Any, cohort: Path, tmp_path: Path) -> None:
    off = ["augment=false", "augmentation.text.typos=1", "augmentation.image.noise=1"]
    told = told_in(lambda: train(cohort, tmp_path / "run", config_from({}, [*SMALL, *off]), labels=LABELS))
    assert "augmentation.text.typos without augment=true" in told
    assert same(weights_of("augment=false"), load_file(tmp_path / "run" / "model.safetensors"))
    late = ["fusion=late", "vote=0.9"]
    told = told_in(lambda: train(cohort, tmp_path / "late", config_from({}, [*SMALL, *late]), labels=LABELS))
    assert "vote without a fusion of features" in told
    assert same(weights_of("fusion=late"), load_file(tmp_path / "late" / "model.safetensors"))


def test_pretraining_tells_what_only_labels_could_use(cohort: Path, tmp_path: Path) -> None:
    config = config_from({}, ["epochs=1", "width=8", "tracker=none", "smoothing=0.2", "loss_parts.text=1", "patience=3"])
    told = told_in(lambda: pretrain(cohort, tmp_path / "run", Aims({"masked_language": 1.0}), config))
    assert "loss_parts.text and smoothing without labels to learn from" in told
    assert "patience" not in told


def test_a_comparison_takes_what_has_an_effect_in_one_of_its_rows(cohort: Path, tmp_path: Path) -> None:
    settings = [*SMALL[:4], 'tabular=["age"]', "augmentation.tabular.noise=0.5", "max_tokens=64", "fusion_options.lowrank.rank=2"]
    subsets = (frozenset({"text"}), frozenset({"tabular"}), frozenset({"text", "tabular"}))
    plan = Plan(("concat", "lowrank"), subsets, (0,), config_from({}, settings))
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdleWarning)
        ablate(cohort, tmp_path / "all", plan, device="cpu")
    alone = replace(plan, subsets=subsets[:1], fusions=())
    told = told_in(lambda: ablate(cohort, tmp_path / "text", alone, device="cpu"))
    assert "augmentation.tabular.noise without tabular to read" in told
    assert "max_tokens" not in told
    with pytest.raises(TaskError, match="Expected loss=focal"):
        ablate(cohort, tmp_path / "none", replace(plan, config=replace(plan.config, focal_gamma=3.0)))


def test_a_search_over_a_choice_and_its_partner_ends_in_a_file_to_train_with(cohort: Path, tmp_path: Path) -> None:
    """Half of the grid has a gamma and no use for it, and here that half is all that is tried."""
    space = {"focal_gamma": Choices(("3.0",)), "loss": Choices(('"cross_entropy"', '"focal"'))}
    base = config_from({}, [*SMALL, "split_seed=0"])
    search(cohort, tmp_path / "study", Search(space, base, trials=1, sampler="grid"), labels=LABELS)
    best = config_from(read_config(tmp_path / "study" / "best.yaml"), [])
    assert (best.loss, best.focal_gamma) == ("cross_entropy", 2.0)
    refuse_idle([best])
    with pytest.raises(TaskError, match="Expected loss=focal"):
        search(cohort, tmp_path / "none", Search({"focal_gamma": space["focal_gamma"]}, base), labels=LABELS)


def test_choices_without_effect_can_be_put_back() -> None:
    idle = ["focal_gamma=3", "adversarial.image=2", "layer_decay.text=0.5", 'frozen=["text"]', "epochs=3"]
    assert without_idle(config_from({}, idle)) == TrainConfig(frozen=("text",), epochs=3)


def test_what_is_compared_instead_of_the_choices_is_told(cohort: Path, tmp_path: Path) -> None:
    subsets, own = (frozenset({"text"}),), ["fusion=late", "seed=7", "split_seed=1", 'modalities=["text","tabular"]']
    plan = Plan(
        ("concat",),
        (frozenset({"text"}), frozenset({"tabular"}), frozenset({"text", "tabular"})),
        (0,),
        config_from({}, [*SMALL, *own]),
    )
    configs = [plan.config_of(row, 0) for row in plan.rows]
    told = told_in(lambda: warn_of_idle(configs, Use(read_cohort(cohort).cases), plan.config))
    assert "seed without it among what is compared" in told
    assert "fusion without it among what is compared" in told
    assert "modalities without" not in told
    told = told_in(lambda: ablate(cohort, tmp_path / "text", replace(plan, fusions=(), subsets=subsets), device="cpu"))
    assert "modalities without it among what is compared" in told
    assert "seed without it" not in told_in(
        lambda: warn_of_idle(configs, Use(read_cohort(cohort).cases), replace(plan.config, split_seed=None, voxels=1))
    )


def test_the_command_line_ends_with_what_is_needed(cohort: Path, tmp_path: Path) -> None:
    for command, more in (("train", []), ("pretrain", ["--objectives", "masked_language"])):
        result = CliRunner().invoke(app, [command, str(cohort), "--out", str(tmp_path / command), "--set", "momentum=0.5", *more])
        assert isinstance(result.exception, TaskError)
        assert "optimizer=sgd or optimizer=rmsprop beside momentum" in result.exception.message
