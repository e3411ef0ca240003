"""A model folder: weights with everything that gives them meaning, checked when it is opened.

config.json          architecture, preprocessing, labels
model.safetensors    weights
tokenizer.json       note tokenizer, when the model reads text
calibration.json     logits to probabilities, one entry for each subset of modalities
thresholds.json      decisions, likewise, with the policy and split they came from
golden.json          raw outputs for a fixed input: the self-test
results.json         measured quality on patients the weights never saw, when there is any
card.md              for people, with a Hugging Face model-card header
sha256.json          digests of all of these
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medmm.card import with_measured
from medmm.disk import replace_bytes
from medmm.ensemble import classifier_of
from medmm.errors import ModelError, PredictionsError
from medmm.geometry import Grid
from medmm.metrics.recalibration import Calibrator
from medmm.model import Classifier, ModelConfig, network_of
from medmm.packed import Packing, with_int8_layers
from medmm.results import Results
from medmm.sections import Section, SectionName
from medmm.study import Note, Quantity, Recording, Study, Values, Volume
from medmm.transforms.batch import Preprocessor
from medmm.transforms.columns import TableRecipe
from medmm.transforms.text import NoteTokenizer
from medmm.types import FloatArray, pattern_name
from medmm.weights import check_manifest, load_weights, save_weights, write_manifest

FORMAT = 2
_REQUIRED = {"config.json", "model.safetensors", "calibration.json", "thresholds.json", "golden.json", "card.md"}
_OPTIONAL = {"tokenizer.json", "results.json"}
_GOLDEN_NOTE = "Golden self-test: 61-year-old, lesion of 2.4 cm, no weight loss."
_GOLDEN_TOLERANCE = 2e-3
_INT8_TOLERANCE = 2e-2  # a value beside a rounding step falls to either side of it, as the machine adds


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How probabilities become decisions, for one subset of modalities.

    Attributes:
        values: (1,) if binary, (K,) if multilabel, None if multiclass (the most probable class wins).
        policy: How they were chosen, e.g. `max_f1_macro`.
        split: The split they were chosen on; never test.
    """

    values: tuple[float, ...] | None
    policy: str
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class ModelFolder:
    """An opened model folder.

    Attributes:
        name: Folder name, shown to people.
        model: The network, or several as one, in evaluation mode.
        preprocessor: Recipe of its inputs.
        calibrators, thresholds: By pattern name, e.g. `image+text`.
        results: Measured quality, None when none is recorded.
        prevalence: Share of each label in the training data, None when not recorded.
        packing: How the weights were made smaller, None when they were not.
        card: Markdown text.
        digest: SHA-256 of the manifest: the identity of the model.
    """

    name: str
    model: Classifier
    preprocessor: Preprocessor
    calibrators: dict[str, Calibrator]
    thresholds: dict[str, Thresholds]
    results: Results | None
    prevalence: tuple[float, ...] | None
    packing: Packing | None
    card: str
    digest: str


def save_model_folder(
    folder: Path,
    model: Classifier,
    preprocessor: Preprocessor,
    calibrators: dict[str, Calibrator],
    thresholds: dict[str, Thresholds],
    *,
    card: str,
    prevalence: tuple[float, ...] | None,
    packing: Packing | None = None,
) -> None:
    """Write a complete model folder; the manifest comes last, so an interrupted write is not a model."""
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    save_weights(model, folder / "model.safetensors", packing)
    content: dict[str, Any] = {"format": FORMAT, "model": model.config.to_dict(), "prevalence": prevalence and list(prevalence)}
    _write_json(folder / "config.json", content | ({"packing": packing.to_dict()} if packing else {}))
    _write_json(folder / "calibration.json", {name: c.to_dict() for name, c in calibrators.items()})
    _write_json(folder / "thresholds.json", {name: _threshold_dict(t) for name, t in thresholds.items()})
    _write_json(folder / "golden.json", golden_logits(model, preprocessor))
    if preprocessor.text is not None:
        replace_bytes(folder / "tokenizer.json", preprocessor.text.to_json().encode())
    seal_card(folder, card)


def seal_card(folder: Path, card: str) -> None:
    """Write the card, then the manifest over everything."""
    replace_bytes(folder / "card.md", card.encode())
    write_manifest(folder, [name for name in _REQUIRED | _OPTIONAL if (folder / name).exists()])


def attach_results(folder: Path, results: Results) -> None:
    """Make measured results part of a model folder: `results.json`, the card's table, and the manifest.

    Raises:
        ModelError: If the folder is not a sound model folder.
        PredictionsError: If the results are about other labels.
    """
    check_manifest(folder, _REQUIRED, _OPTIONAL)
    config = read_config(_read_json(folder / "config.json"))
    if results.labels != config.labels:
        msg = f"Expected results about {', '.join(config.labels)}; they are about {', '.join(results.labels)}."
        raise PredictionsError(msg)
    card = (folder / "card.md").read_text(encoding="utf-8")
    replace_bytes(folder / "results.json", results.to_json().encode())
    seal_card(folder, with_measured(card, results))


def load_model_folder(folder: str | Path, device: torch.device) -> ModelFolder:
    """Open a model folder, refusing anything incomplete, altered, unsound or not reproducing its golden output.

    Raises:
        ModelError: With the reason.
    """
    folder = Path(folder)
    digest = check_manifest(folder, _REQUIRED, _OPTIONAL)
    content = _read_json(folder / "config.json")
    config = read_config(content)
    model = network_of(classifier_of, config)
    packing = Packing.from_dict(content["packing"]) if "packing" in content else None
    if packing is not None and packing.int8:
        with_int8_layers(model)
    load_weights(model, folder / "model.safetensors")
    model.to(device).eval()
    preprocessor = _read_preprocessor(folder, config)
    tolerance = _INT8_TOLERANCE if packing is not None and packing.int8 else _GOLDEN_TOLERANCE
    _check_golden(model, preprocessor, _read_json(folder / "golden.json"), tolerance)
    calibration, thresholds = _read_json(folder / "calibration.json"), _read_json(folder / "thresholds.json")
    results = _read_results(folder / "results.json")
    return ModelFolder(
        name=folder.resolve().name,
        model=model,
        preprocessor=preprocessor,
        calibrators={name: _calibrator_of(config, entry) for name, entry in calibration.items()},
        thresholds={name: _threshold_of(config, entry) for name, entry in thresholds.items()},
        results=results,
        prevalence=tuple(content["prevalence"]) if content.get("prevalence") else None,
        packing=packing,
        card=(folder / "card.md").read_text(encoding="utf-8"),
        digest=digest,
    )


@torch.no_grad()
def golden_logits(model: Classifier, preprocessor: Preprocessor) -> dict[str, list[float]]:
    """Raw logits of a fixed study for each subset of modalities: what the weights must keep saying."""
    sample, _ = preprocessor.prepare(_golden_study(preprocessor))
    batch = preprocessor.collate([sample]).to(model.device)
    answers = model.answer_patterns(model.eval().encode(batch), batch.present)
    return {pattern_name(pattern): [round(float(v), 6) for v in logits[0]] for pattern, (logits, _) in answers.items()}


def _golden_study(preprocessor: Preprocessor) -> Study:
    """A study made by arithmetic alone, the same on every machine."""
    recipe = preprocessor.image
    volumes: tuple[Volume, ...] = ()
    if recipe is not None:
        i, j, k = np.meshgrid(*(np.arange(n) for n in recipe.shape), indexing="ij", sparse=True)
        low, high = recipe.windows[0]
        wave: FloatArray = (np.sin(i / 5.0) + np.cos(j / 7.0) + np.sin(k / 3.0)) / 6 + 0.5
        array = np.rint(low + (high - low) * wave).astype(np.int16)[None]
        volumes = (Volume(array, Grid(recipe.shape, np.diag([*recipe.spacing, 1.0])), recipe.unit, recipe.modality),)
    return Study(
        volumes=volumes * (1 if recipe is None else recipe.volumes),
        note=_golden_note(preprocessor.text.sections) if preprocessor.text is not None else None,
        recording=_golden_recording(preprocessor.audio.rate) if preprocessor.audio is not None else None,
        values=_golden_values(preprocessor.tabular) if preprocessor.tabular is not None else None,
    )


def _golden_note(sections: tuple[SectionName, ...] | None) -> Note:
    """One sentence, under a heading that is read."""
    return Note(str(Section(sections[0] if sections else "", _GOLDEN_NOTE)))


def _golden_recording(rate: int) -> Recording:
    """A tone that rises for a second."""
    time = np.arange(rate) / rate
    return Recording((0.3 * np.sin(2 * np.pi * (200 + 400 * time) * time)).astype(np.float32), rate)


def _golden_values(recipe: TableRecipe) -> Values:
    """Every quantity half a standard deviation above its mean, every category at its first word."""
    quantities = tuple(f for f in recipe.fields if isinstance(f, Quantity))
    words = {column.name: column.words[0] for column in recipe.categories}
    return Values(quantities, tuple(c.mean + 0.5 * c.sd for c in recipe.numbers), words)


def _check_golden(model: Classifier, preprocessor: Preprocessor, stored: dict[str, list[float]], tolerance: float) -> None:
    found = golden_logits(model, preprocessor)
    try:
        same = all(np.allclose(found[n], stored[n], atol=tolerance, rtol=1e-3) for n in found)
    except (KeyError, TypeError, ValueError):
        same = False
    if not same or set(found) != set(stored):
        msg = "Expected the stored outputs for the fixed self-test input; got others. The weights or this installation are unsound."
        raise ModelError(msg)


def read_config(content: dict[str, Any]) -> ModelConfig:
    """The architecture of a `config.json` of this format or the one before.

    Raises:
        ModelError: If it is of another, or does not fit.
    """
    stated = content.get("format")
    if stated not in (1, FORMAT):
        msg = f"Expected model folder format {FORMAT}; got {stated!r}. Use the medmm version that wrote it."
        raise ModelError(msg)
    return ModelConfig.from_dict(_with_text_recipe(content.get("model")) if stated == 1 else content.get("model"))


def _with_text_recipe(model: Any) -> Any:
    """Format 1 kept the longest note beside the encoder's options, and the vocabulary among them."""
    try:
        text = dict(model["text"] or {})
        options = dict(text.get("options") or {})
        vocabulary = options.pop("vocabulary", None) or options.get("config", {}).get("vocab_size")
        recipe = {"vocabulary": vocabulary, "max_tokens": text.pop("max_tokens", 256)}
        return {**model, "text": {**text, "recipe": recipe, "options": options} if model["text"] else None}
    except (AttributeError, KeyError, TypeError, ValueError):
        return model  # what is wrong with it is told when it is checked


def _read_preprocessor(folder: Path, config: ModelConfig) -> Preprocessor:
    readers: dict[Any, Any] = {name: side.recipe for name, side in config.sides.items()}
    if config.text is not None:
        try:
            content = (folder / "tokenizer.json").read_text(encoding="utf-8")
            readers["text"] = NoteTokenizer.from_json(content, config.text.recipe)
        except (OSError, ValueError):
            msg = "Expected tokenizer.json beside a model that reads text; it is missing or unreadable."
            raise ModelError(msg) from None
    return Preprocessor(**readers)


def _threshold_dict(thresholds: Thresholds) -> dict[str, Any]:
    values = None if thresholds.values is None else list(thresholds.values)
    return {"values": values, "policy": thresholds.policy, "split": thresholds.split}


def _calibrator_of(config: ModelConfig, entry: Any) -> Calibrator:
    calibrator = Calibrator.from_dict(config.kind, entry)
    classes = len(config.labels)
    if len(calibrator.bias) != classes or len(calibrator.slope) != (classes if config.kind == "multilabel" else 1):
        msg = f"Expected calibration for {classes} labels; got entries for another number."
        raise ModelError(msg)
    return calibrator


def _threshold_of(config: ModelConfig, entry: Any) -> Thresholds:
    count = {"binary": 1, "multiclass": None, "multilabel": len(config.labels)}[config.kind]
    try:
        values = None if entry["values"] is None else tuple(map(float, entry["values"]))
        if (None if values is None else len(values)) == count and np.isfinite(values or ()).all():
            return Thresholds(values, str(entry["policy"]), str(entry["split"]))
    except (KeyError, TypeError, ValueError):
        pass
    msg = "Expected finite thresholds, one for each decision, with policy and split, for each pattern."
    raise ModelError(msg)


def _read_results(path: Path) -> Results | None:
    if not path.exists():
        return None
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValueError:
        msg = "Expected results.json in the schema of this version; it is another. Score again with --into-card."
        raise ModelError(msg) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        msg = f"Expected readable JSON in {path.name}; it is missing or damaged."
        raise ModelError(msg) from None
    if not isinstance(content, dict):
        msg = f"Expected a JSON object in {path.name}."
        raise ModelError(msg)
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    replace_bytes(path, (json.dumps(content, indent=2) + "\n").encode())
