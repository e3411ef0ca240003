"""All modalities of a sample through one generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medmm.geometry import Grid
from medmm.study import Note, Quantity, Recording, Study, Values, Volume
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.augment import Augmentation, Augmenter
from medmm.transforms.augment.choice import AudioChanges, ImageChanges, TabularChanges, TextChanges
from medmm.transforms.batch import Preprocessor, Sample
from medmm.transforms.columns import NumberColumn, TableRecipe
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe

NOTE = "Dyspnea with a lesion of 2.4 cm in the lung, no weight loss, presents with fever."
PREPROCESSOR = Preprocessor(
    VolumeRecipe((8, 8, 8), (3.0, 3.0, 3.0)),
    NoteTokenizer.trained_on([NOTE, NOTE], vocabulary=300, max_tokens=64),
    AudioRecipe(),
    TableRecipe((NumberColumn("age", "years", 20, 90, 60, 10),)),
)
EVERYTHING = Augmentation(
    ImageChanges(chance=1), TextChanges(typos=0.5, synonyms=0.5, tokens=0.2), AudioChanges(stretches=2, bands=2),
    TabularChanges(noise=0.2),
)  # fmt: skip


@pytest.fixture
def sample() -> Sample:
    rng = np.random.default_rng(0)
    array = rng.integers(-900, 300, (1, 8, 8, 8)).astype(np.int16)
    volume = Volume(array, Grid((8, 8, 8), np.diag([3.0, 3.0, 3.0, 1.0])), "HU", "CT")
    recording = Recording(rng.normal(0, 0.1, 16_000).astype(np.float32), 16_000)
    study = Study((volume,), Note(NOTE), recording=recording, values=Values((Quantity("age", "years"),), (55.0,)))
    return PREPROCESSOR.prepare(study)[0]


def same(one: Sample, other: Sample) -> dict[str, bool]:
    return {
        name: all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one.inputs[name], other.inputs[name], strict=True))
        for name in one.inputs
    }


def test_every_modality_is_varied_and_the_sample_itself_left_alone(sample: Sample) -> None:
    before = {name: [t.clone() for t in tensors] for name, tensors in sample.inputs.items()}
    assert set(same(sample, Augmenter(PREPROCESSOR, EVERYTHING, 0)(sample)).values()) == {False}
    assert all(torch.equal(a, b) for name, kept in before.items() for a, b in zip(kept, sample.inputs[name], strict=True))


def test_a_seed_repeats_a_whole_epoch(sample: Sample) -> None:
    one, other, third = (Augmenter(PREPROCESSOR, EVERYTHING, seed) for seed in (3, 3, 4))
    for _ in range(3):
        drawn = one(sample)
        assert all(same(drawn, other(sample)).values())
        assert not all(same(drawn, third(sample)).values())


def test_by_default_images_alone_are_varied(sample: Sample) -> None:
    assert same(sample, Augmenter(PREPROCESSOR, Augmentation(), 0)(sample)) == {
        "image": False, "text": True, "audio": True, "tabular": True,
    }  # fmt: skip


def test_numbers_of_a_varied_note_reach_the_encoder(sample: Sample) -> None:
    text = Augmentation(text=TextChanges(typos=1, synonyms=1))
    _, values, is_number = Augmenter(PREPROCESSOR, text, 0)(sample).inputs["text"]
    assert values[is_number].tolist() == [24.0]


def test_a_sample_keeps_what_it_lacks(sample: Sample) -> None:
    bare = Sample({"tabular": sample.inputs["tabular"]})
    assert set(Augmenter(PREPROCESSOR, EVERYTHING, 0)(bare).inputs) == {"tabular"}
