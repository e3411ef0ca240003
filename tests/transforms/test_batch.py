"""Studies to batches: what is present, what is missing, and what the reader is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medmm.errors import MissingModalityError, ScopeError
from medmm.geometry import Grid
from medmm.sources.cohort import Case
from medmm.study import Note, Study, Volume
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe

RECIPE = VolumeRecipe((8, 8, 8), (1.0, 1.0, 1.0))
TOKENIZER = NoteTokenizer.trained_on(["lesion of 2.4 cm", "no weight loss"] * 3, vocabulary=300, max_tokens=32)
BOTH = Preprocessor(RECIPE, TOKENIZER)


def ct(value: int = 0) -> Volume:
    return Volume(np.full((1, 8, 8, 8), value, np.int16), Grid((8, 8, 8), np.eye(4)), "HU", "CT")


def test_a_batch_marks_what_each_sample_has_and_leaves_zeros_elsewhere() -> None:
    studies = [Study((ct(),), Note("lesion of 2.4 cm")), Study((ct(),)), Study(note=Note("no weight loss, 61"))]
    batch = BOTH.collate([BOTH.prepare(s)[0] for s in studies])
    assert batch.present["image"].tolist() == [True, True, False]
    assert batch.present["text"].tolist() == [True, False, True]
    assert batch.inputs["image"][0].shape == (3, 2, 8, 8, 8)
    ids, values, _, mask = batch.inputs["text"]
    assert mask.sum(1).tolist() == [6, 0, 7]
    assert (ids[~mask] == TOKENIZER.pad_id).all()
    assert values.sum(1).tolist() == [24, 0, 61]


def test_a_note_that_a_machine_wrote_down_is_trusted_as_far_as_it_was_sure() -> None:
    samples = [BOTH.prepare(Study(note=note))[0] for note in (Note("x"), Note("x", confidence=0.5))]
    assert [s.trust for s in samples] == [{}, {"text": 0.5}]
    assert BOTH.collate(samples).trust["text"].tolist() == [1.0, 0.5]
    assert BOTH.collate(samples[:1]).trust == {}
    assert BOTH.prepare(Study((ct(),)))[0].trust == {}


@pytest.mark.parametrize(("study", "image", "text"), [(Study((ct(),)), True, False), (Study(note=Note("x")), False, True)])
def test_a_modality_that_no_sample_has_takes_no_room(study: Study, image: bool, text: bool) -> None:
    batch = BOTH.collate([BOTH.prepare(study)[0]])
    assert ("image" in batch.inputs, "text" in batch.inputs) == (image, text)


@pytest.mark.parametrize(
    ("preprocessor", "study", "message"),
    [
        (BOTH, Study(), "image or text; got none of it"),
        (BOTH, Study(note=Note(" \u200b ")), "image or text; got none of it"),
        (Preprocessor(RECIPE, None), Study(note=Note("x")), "Expected image; got text"),
        (
            Preprocessor(None, TOKENIZER),
            Case("S", "P", (Path("x.nii"),), None, None, None, {}).reading(("text",)).open(),
            "text; got image",
        ),
        (Preprocessor(None, TOKENIZER), Study((ct(),)), "Expected text; got image"),
    ],
)
def test_a_study_without_anything_the_model_reads_is_refused(preprocessor: Preprocessor, study: Study, message: str) -> None:
    with pytest.raises(MissingModalityError, match=message):
        preprocessor.prepare(study)


def test_an_image_out_of_scope_is_refused_even_with_a_note() -> None:
    picture = Volume(np.zeros((1, 8, 8, 1), np.int16), Grid((8, 8, 1), np.eye(4)), "intensity", "OT")
    with pytest.raises(ScopeError):
        BOTH.prepare(Study((picture,), Note("lesion")))


def test_further_images_are_not_read_and_that_is_told() -> None:
    sample, notices = BOTH.prepare(Study((ct(5), ct(9))))
    assert (sample.inputs["image"][0] == 5).all()
    assert [n.code for n in notices] == ["W_EXTRA_IMAGES"]
