"""The loop: stops when validation says so, weighs classes, and goes on where it was left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import f1_score, log_loss

from medmm.errors import NonFiniteError
from medmm.fusion import Present
from medmm.model import ModelConfig, MultimodalClassifier, Side
from medmm.sources.cohort import read_cohort
from medmm.training import TrainConfig
from medmm.training.examples import Examples, heldout_logits
from medmm.training.fit import _some_hidden, fit
from medmm.training.trainer import Progress
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer, TextRecipe


class Setup:
    """A model of notes and the two sides it is fitted on."""

    def __init__(self, path: Path, config: TrainConfig) -> None:
        cases = read_cohort(path, labels=("no_large", "large")).cases
        self.config = config
        notes = [str(c.note) for c in cases]
        self.preprocessor = Preprocessor(None, NoteTokenizer.trained_on(notes, vocabulary=400, max_tokens=64))
        self.train, self.val = (
            Examples([self.preprocessor.prepare(c.open())[0] for c in side], np.stack([c.target for c in side]))  # type: ignore[misc]
            for side in ([c for c in cases if c.split == "train"], [c for c in cases if c.split == "val"])
        )
        self.rows: list[dict[str, float]] = []

    def model(self) -> MultimodalClassifier:
        torch.manual_seed(0)
        assert self.preprocessor.text is not None
        text = Side(TextRecipe(self.preprocessor.text.vocabulary_size), "transformer", {"width": 32})
        return MultimodalClassifier(ModelConfig("binary", ("no_large", "large"), text=text, fusion=self.config.fusion, width=32))

    def fit(
        self, checkpoint: Path, *, val: bool = True, on_progress: Any = lambda *_: None
    ) -> tuple[MultimodalClassifier, Progress]:
        model = self.model()
        progress = fit(
            model, self.preprocessor, self.train, self.val if val else None, self.config, checkpoint,
            log=lambda _, values: self.rows.append(values), on_progress=on_progress,
        )  # fmt: skip
        return model, progress

    def logits(self, model: MultimodalClassifier, examples: Examples) -> np.ndarray:
        return heldout_logits(model, self.preprocessor, examples, self.config.batch_size).logits["text"]


def weights_of(model: MultimodalClassifier) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def test_training_learns_sizes_it_has_not_seen(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    setup = Setup(note_cohort, replace(text_only, epochs=30))
    model, progress = setup.fit(tmp_path / "c")
    scores = [row["val/f1_macro"] for row in progress.history]
    assert progress.best_score == max(scores) > 0.85
    assert scores[progress.best_epoch] == max(scores)
    logits = setup.logits(model, setup.val)
    p, truth = softmax(logits, axis=1)[:, 1], setup.val.target[:, 1]
    best = max(f1_score(truth, p >= t, average="macro", zero_division=0) for t in [0, *p, 2])
    assert best == pytest.approx(progress.best_score)


def test_training_stops_after_patience_without_a_better_validation_f1(
    note_cohort: Path, text_only: TrainConfig, tmp_path: Path
) -> None:
    setup = Setup(note_cohort, replace(text_only, epochs=60, patience=3))
    model, progress = setup.fit(tmp_path / "c")
    warm = int(0.2 * 60)
    assert progress.epoch < 60
    assert progress.epoch - 1 == max(progress.best_epoch, warm) + 3
    assert len(setup.rows) == progress.epoch
    kept = softmax(setup.logits(model, setup.val), axis=1)[:, 1]
    assert log_loss(setup.val.target[:, 1], kept) == pytest.approx(progress.best_loss, rel=1e-5)  # not the last epoch's


def test_the_epoch_of_the_least_validation_loss_is_kept_where_the_loss_judges(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    rows = note_rows(80)
    for row in rows[::4]:  # wrong labels, so that a network grows too sure of itself
        row["label"] = "large" if row["label"] == "no_large" else "no_large"
    cohort, whole = write_cohort(tmp_path, rows), replace(text_only, epochs=30, patience=30)
    _, by_f1 = Setup(cohort, whole).fit(tmp_path / "f1")
    setup = Setup(cohort, replace(whole, judge="loss"))
    model, by_loss = setup.fit(tmp_path / "loss")
    losses = [row["val/loss"] for row in by_loss.history]
    assert losses == [row["val/loss"] for row in by_f1.history]  # they learn alike
    assert losses[by_loss.best_epoch] == min(losses) < losses[by_f1.best_epoch]
    kept = softmax(setup.logits(model, setup.val), axis=1)[:, 1]
    assert log_loss(setup.val.target[:, 1], kept) == pytest.approx(min(losses), rel=1e-5)


def test_without_validation_all_epochs_are_run(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    _, progress = Setup(note_cohort, replace(text_only, patience=0)).fit(tmp_path / "c", val=False)
    assert (progress.epoch, progress.best_epoch) == (4, 3)


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_run_that_goes_on_ends_with_the_same_bits(
    note_cohort: Path, text_only: TrainConfig, tmp_path: Path, stop_after: int
) -> None:
    setup = Setup(note_cohort, text_only)
    whole, straight = setup.fit(tmp_path / "a")

    def interrupt(_: str, done: int, __: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path / "b", on_progress=interrupt)
    torch.manual_seed(99)  # whatever the generator was at
    resumed, again = setup.fit(tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(resumed), strict=True))
    assert again.history == straight.history


@pytest.mark.parametrize(
    ("choice", "loss", "recall_of_the_rare"),
    [
        ("balanced", "cross_entropy", True),
        ("none", "cross_entropy", False),
        ("none", "logit_adjusted", True),
        ("effective", "focal", True),
    ],
)
def test_class_weights_let_a_rare_class_count(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path, choice: Any, loss: Any, recall_of_the_rare: bool
) -> None:
    rows = note_rows(90, note=lambda _: "lesion of unknown size", label=lambda i: "large" if i % 9 == 0 else "no_large")
    whole = replace(text_only, class_weights=choice, loss=loss, smoothing=0.0, epochs=30, batch_size=54)  # every class in each step
    setup = Setup(write_cohort(tmp_path, rows), whole)
    model, _ = setup.fit(tmp_path / "c", val=False)
    logits = setup.logits(model, setup.train)
    mean_p = np.exp(logits[:, 1]).mean() / np.exp(logits).sum(1).mean()
    assert (mean_p > 0.4) == recall_of_the_rare  # the notes say nothing: only the weights speak


def test_modalities_are_hidden_with_the_stated_chance_and_never_all_of_a_case() -> None:
    torch.manual_seed(0)
    present: Present = {"image": torch.arange(9000) % 3 != 0, "text": torch.arange(9000) % 3 != 1}
    shown = _some_hidden(present, 0.3)
    assert not any((shown[name] & ~present[name]).any() for name in present)
    assert (shown["image"] | shown["text"]).all()
    both = present["image"] & present["text"]
    lost = [float((~mask[both]).float().mean()) for mask in shown.values()]
    assert lost == pytest.approx([0.21, 0.21], abs=0.03)  # 0.3, but for the 0.09 that would have lost both
    assert _some_hidden(present, 0.0) is present


def test_a_frozen_encoder_stays_as_it_was_and_the_rest_learns(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    setup = Setup(note_cohort, replace(text_only, frozen=("text",), epochs=2))
    model, _ = setup.fit(tmp_path / "c", val=False)
    fresh = setup.model().state_dict()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, fresh[name])}
    assert not any(name.startswith("encoders.") for name in changed)
    assert any(name.startswith("project.") for name in changed)


def test_an_encoder_that_is_opened_layer_by_layer_learns_from_its_output(
    note_cohort: Path, text_only: TrainConfig, tmp_path: Path
) -> None:
    setup = Setup(note_cohort, replace(text_only, unfreeze={"text": 1}, epochs=3))
    model, _ = setup.fit(tmp_path / "c", val=False)
    fresh = setup.model().encoders["text"].state_dict()
    learned = {name.split(".")[0] for name, t in model.encoders["text"].state_dict().items() if not torch.equal(t, fresh[name])}
    assert learned == {"pool", "layers"}  # two epochs after the first, two layers; the words are still closed


def test_what_a_fusion_reports_of_itself_is_logged(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    setup = Setup(note_cohort, replace(text_only, fusion="late", epochs=1))
    model, _ = setup.fit(tmp_path / "c")
    logged = {"loss/train", "learning_rate", "val/f1_macro", "val/loss", "temperature/text"}
    assert set(setup.rows[0]) == logged
    assert set(model.fusion.numbers()) <= logged


def test_a_loss_that_is_not_a_number_ends_the_run(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="learning rate"):
        Setup(note_cohort, replace(text_only, learning_rate=1e30)).fit(tmp_path / "c")


def test_equal_f1_is_decided_by_log_loss() -> None:
    progress = Progress(best_score=0.8, best_loss=0.5)
    assert progress.improves(0.81, 9.0)
    assert progress.improves(0.8, 0.4)
    assert not progress.improves(0.8, 0.6)
    assert not progress.improves(0.79, 0.1)
