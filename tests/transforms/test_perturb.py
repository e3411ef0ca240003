from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medmm.errors import TaskError
from medmm.geometry import Grid
from medmm.study import Note, Study, Volume
from medmm.transforms.perturb import ATTACKS, STANDARD, UNITS, WORD_ATTACKS, Perturbation, parse_perturbations

AFFINE = np.array([[0.8, 0, 0, -30], [0, -0.9, 0, 20], [0, 0, 2.5, -50], [0, 0, 0, 1]], dtype=float)
TEXT = (
    "INDICATION: Cough for several weeks. Former smoker.\n"
    "FINDINGS: There is a nodule in the right upper lobe. No pleural effusion. Heart is normal.\nIMPRESSION: Suspicious nodule."
)


@pytest.fixture
def study() -> Study:
    i, j, k = np.meshgrid(*map(np.arange, (40, 36, 12)), indexing="ij")
    array = (200 * np.sin(i / 5) + 100 * np.cos(j / 7) + 20 * k).astype(np.int16)[None]
    return Study(volumes=(Volume(array, Grid((40, 36, 12), AFFINE), "HU", "CT"),), note=Note(TEXT))


def image(study: Study) -> np.ndarray:
    return study.volumes[0].array.astype(float)[0]


@pytest.mark.parametrize("text", [t for t in STANDARD if t.partition("=")[0] not in ATTACKS])
def test_the_same_sample_is_always_changed_in_the_same_way_and_the_original_never(study: Study, text: str) -> None:
    before = image(study).copy()
    for p in parse_perturbations([text]):
        one, again = p.apply(study, "s1"), p.apply(study, "s1")
        assert one.note == again.note
        assert np.array_equal(one.volumes[0].array, again.volumes[0].array)
        assert one.volumes[0].array.dtype == np.int16
        changed = one.note != study.note or not np.array_equal(one.volumes[0].array, study.volumes[0].array)
        assert changed or p.name in ("sentences", "sections")  # chance may spare them
    assert np.array_equal(image(study), before)
    assert study.note == Note(TEXT)


def test_noise_has_its_standard_deviation_and_grows_in_place(study: Study) -> None:
    small, large = (image(Perturbation("noise", sd).apply(study, "s")) - image(study) for sd in (10, 40))
    assert small.std() == pytest.approx(10, rel=0.02)
    assert large == pytest.approx(4 * small, abs=2.6)  # rounding
    for other, sample in ((Perturbation("noise", 10), "t"), (Perturbation("noise", 10, 1), "s")):
        noise = image(other.apply(study, sample)) - image(study)
        assert abs(np.corrcoef(small.ravel(), noise.ravel())[0, 1]) < 0.05


def test_noise_stays_within_what_the_type_can_hold(study: Study) -> None:
    extreme = replace(study.volumes[0], array=np.full((1, 40, 36, 12), 32767, np.int16))
    assert Perturbation("noise", 500).apply(replace(study, volumes=(extreme,)), "s").volumes[0].array.min() > 0


def test_blur_is_a_gaussian_in_millimetres(study: Study) -> None:
    impulse = np.zeros((1, 40, 36, 12), np.float32)
    impulse[0, 20, 18, 6] = 1e4
    point = replace(study, volumes=(replace(study.volumes[0], array=impulse),))
    spread = image(Perturbation("blur", 2).apply(point, "s")) / 1e4
    assert spread.sum() == pytest.approx(1, rel=1e-3)
    for axis, (centre, spacing) in enumerate([(20, 0.8), (18, 0.9), (6, 2.5)]):
        along = spread.sum(tuple({0, 1, 2} - {axis}))
        assert (along * ((np.arange(len(along)) - centre) * spacing) ** 2).sum() == pytest.approx(2**2, rel=0.01)  # variance, mm2


def test_left_out_slices_leave_the_others_where_they_were(study: Study) -> None:
    worse = Perturbation("slices", 4).apply(study, "s").volumes[0]
    assert np.array_equal(worse.array, study.volumes[0].array[..., ::4])
    assert worse.grid.spacing == pytest.approx((0.8, 0.9, 10.0))
    assert worse.grid.affine @ [1, 2, 1, 1] == pytest.approx(AFFINE @ [1, 2, 4, 1])


def test_wider_spacing_averages_blocks_in_place(study: Study) -> None:
    worse = Perturbation("spacing", 2.4).apply(study, "s").volumes[0]
    assert worse.grid.spacing == pytest.approx((2.4, 2.7, 2.5))
    assert worse.grid.shape == (13, 12, 12)
    assert worse.array[0, 2, 3, 4] == np.rint(image(study)[6:9, 9:12, 4].mean())
    assert worse.grid.affine @ [2, 3, 4, 1] == pytest.approx(AFFINE @ [7, 10, 4, 1])


def test_typos_swap_letters_of_about_their_share_of_the_words(study: Study) -> None:
    long = Note(" ".join(["nodule"] * 2000))
    worse = Perturbation("typos", 0.2).apply(replace(study, note=long), "s").note
    words = worse.text.split(" ")
    changed = [w for w in words if w != "nodule"]
    assert len(words) == 2000
    assert len(changed) / 2000 == pytest.approx(0.2, abs=0.03)
    assert all(sorted(w) == sorted("nodule") and w[0] == "n" for w in changed)
    more = Perturbation("typos", 0.4).apply(replace(study, note=long), "s").note.text.split(" ")
    assert all(b == a for a, b in zip(words, more, strict=True) if a != "nodule")  # the same places and more


def test_sentences_and_sections_are_left_out_whole(study: Study) -> None:
    whole = [s.text for s in study.note.sections]
    for sample in map(str, range(20)):
        kept = Perturbation("sections", 0.5).apply(study, sample).note
        assert [s.text for s in kept.sections] == [t for t in whole if t in kept.text]
        shorter = Perturbation("sentences", 0.5).apply(study, sample).note.text
        assert all(part.strip(". \n") in TEXT for part in shorter.split(". "))
    assert not Perturbation("no_note", 1).apply(study, "s").note
    assert Perturbation("sections", 1).apply(study, "s").note == Note("")


@pytest.mark.parametrize("name", ["typos", "sentences", "sections"])
def test_a_dictated_note_made_worse_is_trusted_as_before(study: Study, name: str) -> None:
    assert study.note is not None
    dictated = replace(study, note=replace(study.note, confidence=0.4))
    worse = Perturbation(name, 0.1).apply(dictated, "case").note
    assert worse is not None
    assert worse.confidence == 0.4


def test_each_changes_one_modality() -> None:
    changed = {name: Perturbation(name, 1).modality for name in ("noise", "typos", *ATTACKS)}
    assert {name for name, modality in changed.items() if modality == "text"} == {"typos", *WORD_ATTACKS}


def test_words_become_perturbations_with_arms_of_their_own() -> None:
    assert [p.arm for p in parse_perturbations(["noise=10,2.5", "typos=1"])] == ["noise=10", "noise=2.5", "typos=1"]
    assert {p.name for p in parse_perturbations(STANDARD)} == set(UNITS)


@pytest.mark.parametrize(
    "text", ["noise", "noise=", "noise=x", "noise=-1", "noise=nan", "typos=1.5", "fog=1", "noise=1,1", "=1", "noise=inf"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(TaskError, match="got something else"):
        parse_perturbations([text])
