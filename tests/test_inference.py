"""From a study to a calibrated answer, with any subset of modalities."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from medmm import open_study
from medmm.errors import ModelError, NonFiniteError, ScopeError
from medmm.geometry import Grid
from medmm.inference import Predictor, load_model
from medmm.model import ModelConfig, MultimodalClassifier, Side
from medmm.model_folder import ModelFolder, save_model_folder
from medmm.shelf import examples, model_names
from medmm.study import Note, Quantity, Recording, Study, Values, Volume
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer, TextRecipe
from medmm.weights import MANIFEST

NOTE = "59-year-old male with a soft-tissue sarcoma of the left thigh. Grade: high."


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return load_model("sts51", "cpu")


@pytest.fixture(scope="module")
def patient(patient_zip: Path) -> Study:
    return open_study(patient_zip, note=NOTE)


def codes(prediction: object) -> list[str]:
    return [n.code for n in prediction.notices]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("image", "note", "pattern", "told"),
    [(True, True, "image+text", []), (True, False, "image", ["W_NO_TEXT"]), (False, True, "text", ["W_NO_IMAGE"])],
)
def test_every_combination_is_answered_with_a_calibrated_probability_and_says_what_is_missing(
    shipped: Predictor, patient: Study, image: bool, note: bool, pattern: str, told: list[str]
) -> None:
    answer = shipped.predict(Study(patient.volumes if image else (), patient.note if note else None))
    assert answer.pattern == pattern
    assert codes(answer) == told
    assert set(answer.single) == set(pattern.split("+"))
    for each in (answer.answer, *answer.single.values()):
        assert each.calibrated
        assert sum(each.probabilities.values()) == pytest.approx(1)
        assert all(0.01 < p < 0.99 for p in each.probabilities.values())


def test_the_probability_is_the_stored_calibration_of_the_logits_and_the_call_its_threshold(
    shipped: Predictor, patient: Study
) -> None:
    folder = shipped.folder
    for pattern, each in (("image+text", shipped.predict(patient).answer), *shipped.predict(patient).single.items()):
        entry = folder.calibrators[pattern]
        mapped = [entry.slope[0] * z + b for z, b in zip(each.logits.values(), entry.bias, strict=True)]
        expected = math.exp(mapped[1]) / sum(map(math.exp, mapped))
        assert each.probabilities["lung_mets"] == pytest.approx(expected)
        threshold = folder.thresholds[pattern].values
        assert threshold is not None
        assert each.called == (("lung_mets",) if expected >= threshold[0] else ("no_lung_mets",))


def test_asking_for_an_arm_is_like_handing_in_only_that(shipped: Predictor, patient: Study) -> None:
    image, text, both = frozenset({"image"}), frozenset({"text"}), frozenset({"image", "text"})
    arms = shipped.arms(patient, [both, image, text])
    assert arms[both] == ("image+text", shipped.predict(patient).answer)
    for arm, study in ((image, Study(patient.volumes)), (text, Study(note=patient.note))):
        pattern, answer = arms[arm]
        alone = shipped.predict(study).answer
        assert pattern == next(iter(arm))
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert set(shipped.arms(Study(note=patient.note), [image, text, both])) == {text, both}


def test_the_same_patient_stored_in_another_voxel_order_gets_the_same_answer(shipped: Predictor, patient: Study) -> None:
    volume = patient.volumes[0]
    reference = shipped.predict(Study((volume,))).answer.logits
    affine = volume.grid.affine.copy()
    turned = np.ascontiguousarray(volume.array.transpose(0, 3, 1, 2)[:, :, ::-1])  # slices first, one axis mirrored
    affine[:, :3] = affine[:, [2, 0, 1]]
    affine[:3, 3] += affine[:3, 1] * (turned.shape[2] - 1)
    affine[:3, 1] *= -1
    again = shipped.predict(Study((Volume(turned, Grid(turned.shape[1:], affine), "HU", "CT"),))).answer.logits  # type: ignore[arg-type]
    assert again == pytest.approx(reference, abs=1e-4)


def test_a_mirrored_patient_is_another_patient(shipped: Predictor, patient: Study) -> None:
    volume = patient.volumes[0]
    mirrored = Volume(np.ascontiguousarray(volume.array[:, ::-1]), volume.grid, "HU", "CT")
    logits = [shipped.predict(Study((v,))).answer.logits["lung_mets"] for v in (volume, mirrored)]
    assert abs(logits[0] - logits[1]) > 1e-3


def test_asking_twice_gives_the_same_answer(shipped: Predictor, patient: Study) -> None:
    one, other = shipped.predict(patient), shipped.predict(patient)
    assert one.answer == other.answer
    assert one.single == other.single


@pytest.mark.parametrize("name", model_names())
def test_every_shipped_model_answers_its_examples(name: str) -> None:
    predictor = load_model(name, "cpu")
    for example in (e for e in examples() if e.model == name):
        answer = predictor.predict(open_study(example.path, note=example.note))
        assert answer.pattern == "image+text"
        assert answer.answer.calibrated
        assert codes(answer) == []


@pytest.mark.parametrize(
    ("mm", "code"), [((400, 380, 330), "W_LARGE_FIELD"), ((250, 250, 60), "W_SMALL_FIELD"), ((200, 200, 250), None)]
)
def test_a_scan_of_another_extent_is_answered_loudly(shipped: Predictor, mm: tuple[int, ...], code: str | None) -> None:
    shape = tuple(m // 5 for m in mm)
    scan = Volume(np.full((1, *shape), -700, np.int16), Grid(shape, np.diag([5.0, 5.0, 5.0, 1.0])), "HU", "CT")  # type: ignore[arg-type]
    assert codes(shipped.predict(Study((scan,), Note(NOTE)))) == ([code] if code else [])


def test_what_no_model_reads_yet_is_told(shipped: Predictor) -> None:
    recording = Recording(np.zeros(1600, np.float32), 16_000)
    values = Values((Quantity("age", "years", 0, 120),), (61,))
    told = shipped.predict(Study(note=Note(NOTE), recording=recording, values=values)).notices
    assert [n.message for n in told if n.code == "W_UNREAD"] == [
        "This model does not read audio; it was not used.", "This model does not read tabular values; it was not used.",
    ]  # fmt: skip


def test_real_scans_of_other_regions_are_answered_loudly_or_refused(shipped: Predictor, shared_data: Path) -> None:
    real = shared_data / "dicom" / "TotalSegmentator"
    assert "W_LARGE_FIELD" in codes(shipped.predict(open_study(real / "example_ct.nii.gz")))
    assert "W_SMALL_FIELD" in codes(shipped.predict(open_study(real / "example_ct_dicom")))
    with pytest.raises(ScopeError):
        shipped.predict(open_study(real / "example_mr_sm.nii.gz"))


def test_a_long_note_is_cut_loudly(shipped: Predictor) -> None:
    assert "W_NOTE_CUT" in codes(shipped.predict(open_study(None, note="sarcoma of the left thigh " * 200)))


def test_without_a_calibration_the_numbers_are_not_called_probabilities(tiny_model: Path) -> None:
    answer = Predictor.load(tiny_model, "cpu").predict(open_study(None, note="CEA 40 ng/mL"))
    assert not answer.answer.calibrated  # nine validation studies are too few
    assert codes(answer) == ["W_NO_IMAGE", "W_UNCALIBRATED"]


def text_model(folder: Path) -> ModelFolder:
    tokenizer = NoteTokenizer.trained_on([NOTE] * 2, vocabulary=300, max_tokens=32)
    text = Side(TextRecipe(tokenizer.vocabulary_size, 32), "transformer", {"width": 16})
    torch.manual_seed(0)
    model = MultimodalClassifier(ModelConfig("binary", ("no", "yes"), text=text, width=16))
    save_model_folder(folder, model, Preprocessor(None, tokenizer), {}, {}, card="", prevalence=(0.5, 0.5))
    return Predictor.load(folder, "cpu").folder


def test_a_modality_the_model_does_not_read_is_told(tmp_path: Path, patient: Study) -> None:
    assert "W_UNREAD" in codes(Predictor(text_model(tmp_path / "m")).predict(patient))


def test_an_answer_that_is_not_a_number_is_never_given(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "m")
    with torch.no_grad():
        folder.model.single_heads["text"].linear.bias.fill_(float("inf"))  # type: ignore[union-attr,operator]
    with pytest.raises(NonFiniteError):
        Predictor(folder).predict(open_study(None, note=NOTE))


@pytest.mark.parametrize("name", ["sts52", "", "/nowhere/at/all", "../models", "sts51/"])
def test_a_model_that_is_not_there_is_refused_without_naming_a_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(name or tmp_path / "absent", "cpu")
    assert "nowhere" not in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_a_renamed_copy_is_the_same_model_under_its_new_name(shipped: Predictor, tmp_path: Path) -> None:
    from medmm.shelf import find_model

    copy = shutil.copytree(find_model("sts51"), tmp_path / "renamed")
    stated = shipped.predict(open_study(None, note=NOTE)).model
    assert load_model(copy, "cpu").predict(open_study(None, note=NOTE)).model == {**stated, "name": "renamed"}
    assert json.loads((copy / MANIFEST).read_text())
