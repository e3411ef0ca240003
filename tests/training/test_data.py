"""Reading a cohort once: what fails is named, what was read is not read again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from medmm.errors import CohortError
from medmm.sources.cohort import Case, read_cohort
from medmm.training import TrainConfig
from medmm.training.data import cache_samples, plan_preprocessing

CONFIG = TrainConfig(voxels=8**3)


def silent(*_: object) -> None: ...


@pytest.fixture
def cases(imaged_rows: Any, write_cohort: Any, tmp_path: Path) -> list[Case]:
    """Twelve cases whose images may be spoiled; rows 3, 5 and 7 cannot be used."""
    rows = imaged_rows(12)
    for row in rows:
        row["image"] = shutil.copy(row["image"], tmp_path)
    Path(rows[3]["image"]).write_bytes(b"not an image")
    rows[5]["note"] = "lost.txt"
    rows[7]["image"] = rows[7]["note"] = ""
    return list(read_cohort(write_cohort(tmp_path, rows)).cases)


def test_what_cannot_be_read_is_named_with_its_reason_and_the_rest_is_used(cases: list[Case], tmp_path: Path) -> None:
    preprocessor = plan_preprocessing(cases, CONFIG, silent)
    kept, samples, failures = cache_samples(cases, preprocessor, tmp_path / "cache", silent)
    assert kept == [0, 1, 2, 4, 6, 8, 9, 10, 11]
    assert [(f.study_id, f.code) for f in failures] == [("S3", "E_NO_IMAGE"), ("S5", "E_TEXT"), ("S7", "E_MISSING_MODALITY")]
    assert all(str(tmp_path) not in f.message for f in failures)
    assert all(s.modalities == {"image", "text"} for s in samples)


def test_an_interrupted_reading_does_not_read_images_again(cases: list[Case], tmp_path: Path) -> None:
    preprocessor = plan_preprocessing(cases, CONFIG, silent)
    first_kept, first, _ = cache_samples(cases, preprocessor, tmp_path / "cache", silent)
    digests = [first.image_sha256(i) for i in range(len(first))]
    assert digests == [cases[i].open().volumes[0].sha256() for i in first_kept]
    for case in cases:
        for image in case.images:
            image.unlink()
    kept, again, failures = cache_samples(cases, preprocessor, tmp_path / "cache", silent)
    assert (len(kept), len(failures)) == (9, 3)
    assert [again.image_sha256(i) for i in range(len(again))] == digests
    for one, other in zip(first, again, strict=True):
        assert set(one.inputs) == set(other.inputs) > set()
        assert all(torch.equal(a, b) for name in one.inputs for a, b in zip(one.inputs[name], other.inputs[name], strict=True))


def test_a_half_written_cache_file_is_not_taken_for_an_image(cases: list[Case], tmp_path: Path) -> None:
    preprocessor = plan_preprocessing(cases, CONFIG, silent)
    cache_samples(cases[:1], preprocessor, tmp_path / "cache", silent)
    (whole,) = (tmp_path / "cache").rglob("*.safetensors")
    whole.with_suffix(".partial").write_bytes(whole.read_bytes()[:100])
    whole.unlink()
    _, samples, _ = cache_samples(cases[:1], preprocessor, tmp_path / "cache", silent)
    assert samples[0].inputs["image"][0].shape == (1, *preprocessor.image.shape)  # type: ignore[union-attr]


def test_models_that_prepare_images_otherwise_share_a_cache(cases: list[Case], tmp_path: Path) -> None:
    for voxels in (512, 4096):
        preprocessor = plan_preprocessing(cases, TrainConfig(voxels=voxels), silent)
        _, samples, _ = cache_samples(cases[:1], preprocessor, tmp_path / "cache", silent)
        assert samples[0].inputs["image"][0].shape == (1, *preprocessor.image.shape)  # type: ignore[union-attr]


def test_an_image_that_several_cases_share_is_kept_once_with_the_note_of_each(cases: list[Case], tmp_path: Path) -> None:
    preprocessor = plan_preprocessing(cases, CONFIG, silent)
    asked = [replace(cases[0], study_id=f"Q{i}", note=f"Is there a lesion of {i} cm?") for i in range(20)]
    silent_one = replace(cases[0], study_id="Q20", note=None)
    kept, samples, failures = cache_samples([*asked, silent_one], preprocessor, tmp_path / "cache", silent)
    assert (len(kept), failures) == (21, [])
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
    images = [sample.inputs["image"][0] for sample in samples]
    assert all(torch.equal(image, images[0]) for image in images)
    assert samples[20].modalities == {"image"}
    values = {float(sample.inputs["text"][1].max()) for sample in list(samples)[:20]}
    assert len(values) == 20  # each has the number of its own note


def test_a_model_of_notes_opens_no_image(cases: list[Case], tmp_path: Path) -> None:
    preprocessor = plan_preprocessing(cases, TrainConfig(modalities=("text",)), silent)
    kept, samples, failures = cache_samples(cases, preprocessor, tmp_path / "cache", silent)
    assert preprocessor.image is None
    assert 3 in kept  # its image is damaged, its note is not
    assert [f.study_id for f in failures] == ["S5", "S7"]
    assert all("image" not in s.inputs for s in samples)
    assert samples.image_sha256(0) == ""


def test_a_model_of_images_learns_no_words(cases: list[Case]) -> None:
    preprocessor = plan_preprocessing(cases, TrainConfig(modalities=("image",), voxels=8**3), silent)
    assert preprocessor.text is None
    assert preprocessor.modalities == {"image"}


def test_words_and_fields_of_view_are_learned_from_the_cases_given_alone(cases: list[Case]) -> None:
    few, all_ = (plan_preprocessing(c, CONFIG, silent) for c in (cases[:2], cases))
    assert few.text is not None
    assert all_.text is not None
    assert few.text.vocabulary_size < all_.text.vocabulary_size


def test_cases_without_anything_readable_are_refused(cases: list[Case]) -> None:
    with pytest.raises(CohortError, match="image or text or audio or tabular"):
        plan_preprocessing([cases[7]], CONFIG, silent)
