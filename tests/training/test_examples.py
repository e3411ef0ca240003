"""What held-out samples are answered, from all that each has or from every subset of it, and how folds come together again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medmm.geometry import Grid
from medmm.model import ModelConfig, MultimodalClassifier, Side
from medmm.study import Note, Study, Volume
from medmm.tasks import FurtherTask
from medmm.training.examples import Examples, Heldout, heldout_logits
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer, TextRecipe
from medmm.transforms.volume import VolumeRecipe
from medmm.types import pattern_name

RECIPE = VolumeRecipe((8, 8, 8), (1.0, 1.0, 1.0))
TOKENIZER = NoteTokenizer.trained_on(["lesion of 2.4 cm", "no weight loss"] * 3, vocabulary=300, max_tokens=32)
BOTH = Preprocessor(RECIPE, TOKENIZER)
TASK = FurtherTask("stage", "ordinal", ("I", "II", "III"))
N = 7


@pytest.fixture(scope="module")
def model() -> MultimodalClassifier:
    torch.manual_seed(0)
    image = Side(RECIPE, "resnet", {"widths": [4, 4, 8, 8]})
    text = Side(TextRecipe(TOKENIZER.vocabulary_size), "transformer", {"width": 16})
    return MultimodalClassifier(ModelConfig("binary", ("no", "yes"), image=image, text=text, width=16, tasks=(TASK,))).train()


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Some lack the image, some the note."""
    rng, studies = np.random.default_rng(0), []
    for i in range(N):
        volume = Volume(rng.normal(0, 300, (1, 8, 8, 8)).astype(np.int16), Grid((8, 8, 8), np.eye(4)), "HU", "CT")
        studies.append(Study(() if i % 3 == 1 else (volume,), None if i % 3 == 2 else Note(f"lesion of {i}.4 cm")))
    samples = [BOTH.prepare(study)[0] for study in studies]
    return Examples(samples, np.eye(2)[np.arange(N) % 2], further=(np.eye(3)[np.arange(N) % 3],))


def test_the_whole_of_each_sample_is_answered_as_alone_and_as_the_subset_that_it_is(
    model: MultimodalClassifier, examples: Examples
) -> None:
    whole, subsets = (heldout_logits(model, BOTH, examples, 3, asked) for asked in ("whole", "subsets"))  # type: ignore[arg-type]
    assert not model.training
    for i, sample in enumerate(examples.samples):
        batch = BOTH.collate([sample])
        with torch.no_grad():
            features = model.encode(batch)
            alone, further = model.answer(features, batch.present)[0], model.further(features, batch.present)[0][0]
        name = pattern_name(sample.modalities)
        for answered in (whole.logits["whole"], subsets.logits[name]):
            assert answered[i] == pytest.approx(alone.numpy(), abs=1e-5)
        for found in (whole, subsets):
            assert found.further[0][1][i] == pytest.approx(further.numpy(), abs=1e-5)
    assert whole.complete["whole"].all()
    assert {name: rows.tolist() for name, rows in subsets.complete.items()} == {
        name: [wanted <= sample.modalities for sample in examples.samples]
        for name, wanted in {"image+text": {"image", "text"}, "image": {"image"}, "text": {"text"}}.items()
    }
    for name, rows in subsets.complete.items():
        assert np.array_equal(np.isnan(subsets.logits[name]).any(1), ~rows)


def test_nobody_is_answered_where_nobody_is_asked(model: MultimodalClassifier) -> None:
    found = heldout_logits(model, BOTH, Examples([], np.zeros((0, 0))), 3)
    assert (len(found.target), found.logits, found.complete, found.further) == (0, {}, {}, ())


def test_the_parts_of_all_folds_return_to_the_order_of_the_cases(model: MultimodalClassifier, examples: Examples) -> None:
    made, fold = heldout_logits(model, BOTH, examples, N), np.arange(N) % 3
    joined = Heldout.joined({f: made.take(fold == f) for f in (2, 0, 1)}, fold)
    assert np.array_equal(joined.target, made.target)
    for name, logits in made.logits.items():
        assert np.array_equal(joined.logits[name], logits, equal_nan=True)
        assert np.array_equal(joined.complete[name], made.complete[name])
    for (target, output), (wanted, answered) in zip(joined.further, made.further, strict=True):
        assert np.array_equal(target, wanted)
        assert np.array_equal(output, answered)
