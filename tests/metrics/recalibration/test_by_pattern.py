"""One recalibration for each pattern of modalities."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from medmm.errors import ModelError
from medmm.metrics.recalibration import fit
from medmm.metrics.recalibration.by_pattern import ByPattern, fit_by_pattern


def patterned(n: int, seed: int):
    """With a note the logits are right, without they are three times too large; a few have the note alone."""
    rng = np.random.default_rng(seed)
    patterns = rng.choice(["image+text", "image", "text"], n, p=[0.5, 0.48, 0.02])
    z = rng.normal(size=n)
    y = (rng.random(n) < expit(z)).astype(int)
    logits = np.where(patterns == "image", 3 * z, z)
    return np.eye(2)[y], np.stack([np.zeros(n), logits], axis=1), patterns


def test_every_pattern_with_enough_samples_is_mended_by_itself() -> None:
    fitted = fit_by_pattern("map_scaling", "binary", *patterned(6000, 0))
    assert set(fitted.own) == {"image+text", "image", "text"}
    assert fitted.own["image+text"].slope[0] == pytest.approx(1, abs=0.15)
    assert fitted.own["image"].slope[0] == pytest.approx(1 / 3, abs=0.05)


def test_others_share_the_fit_on_all() -> None:
    target, logits, patterns = patterned(300, 0)
    fitted = fit_by_pattern("temperature", "binary", target, logits, patterns)
    assert set(fitted.own) == {"image+text", "image"}
    pooled = fit("temperature", "binary", target, logits)
    found = fitted(logits[:3], ["text", "never seen", "image"])
    assert found[:2] == pytest.approx(pooled(logits[:2]))
    assert found[2:] == pytest.approx(fitted.own["image"](logits[2:3]))


def test_a_pattern_needs_both_sides_of_every_label() -> None:
    target = np.tile([[1.0, 0.0], [0.0, np.nan]], (30, 1))
    fitted = fit_by_pattern("isotonic", "multilabel", target, np.zeros((60, 2)), ["a"] * 60)
    assert fitted.own == {}


def test_it_is_plain_json_and_comes_back_the_same() -> None:
    target, logits, patterns = patterned(400, 1)
    fitted = fit_by_pattern("beta", "binary", target, logits, patterns)
    again = ByPattern.from_dict("binary", json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert again(logits, patterns).tolist() == fitted(logits, patterns).tolist()


@pytest.mark.parametrize("content", [None, {}, {"pooled": {"method": "magic"}, "own": {}}, {"pooled": {}, "own": 3}])
def test_unsound_content_is_refused(content) -> None:
    with pytest.raises(ModelError):
        ByPattern.from_dict("binary", content)
