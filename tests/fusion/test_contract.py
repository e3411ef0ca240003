"""The contract of every registered fusion, those of installed plug-ins among them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from medmm.encoders import Encoded
from medmm.errors import MissingModalityError
from medmm.fusion import FUSIONS
from medmm.fusion.contract import Fusion
from medmm.heads import Head

ALL = ("image", "text", "audio", "tabular")
SETS = [ALL[:2], ALL[:3], ALL, ("text", "tabular")]
every_fusion = pytest.mark.parametrize("name", list(FUSIONS))
every_set = pytest.mark.parametrize("names", SETS, ids="+".join)


def spoiled(features: Any, present: Any, value: float) -> Any:
    """Garbage wherever a modality is absent."""
    return {
        name: Encoded(
            torch.where(present[name][:, None, None], e.tokens, value),
            torch.where(present[name][:, None], e.mask, torch.ones_like(e.mask)),
            torch.where(present[name][:, None], e.pooled, value),
        )
        for name, e in features.items()
    }


@every_fusion
def test_it_says_what_it_joins(name: str) -> None:
    fusion = FUSIONS.get(name)
    assert issubclass(fusion, Fusion)
    assert fusion.joins in ("features", "logits")


@every_fusion
@every_set
@pytest.mark.parametrize("value", [-7.0, 1e6, float("nan")])
def test_what_stands_in_for_an_absent_modality_does_not_matter(
    build: Any, features: Any, mixed: Any, name: str, names: tuple[str, ...], value: float
) -> None:
    fusion, given, present = build(name, names), features(15, names), mixed(15, names)
    assert torch.equal(fusion(given, present), fusion(spoiled(given, present, value), present))


@every_fusion
@every_set
@pytest.mark.parametrize("value", [-7.0, 1e6])
def test_what_fills_masked_tokens_does_not_matter(
    build: Any, features: Any, mixed: Any, name: str, names: tuple[str, ...], value: float
) -> None:
    fusion, given, present = build(name, names), features(15, names), mixed(15, names)
    given[names[0]].mask[:2] = False  # not one token left
    filled = {n: e._replace(tokens=torch.where(e.mask[..., None], e.tokens, value)) for n, e in given.items()}
    found = fusion(filled, present)
    assert torch.isfinite(found).all()
    assert torch.equal(fusion(given, present), found)


@every_fusion
def test_the_order_of_absent_modalities_does_not_matter(build: Any, features: Any, name: str) -> None:
    fusion, given = build(name, ALL), features(3, ALL)
    present = {n: torch.tensor([n in ("image", "text")] * 3) for n in ALL}
    swapped = {**given, "audio": given["tabular"], "tabular": given["audio"]}
    assert torch.equal(fusion(given, present), fusion(swapped, present))
    backwards = {n: given[n] for n in reversed(ALL)}
    assert torch.equal(fusion(given, present), fusion(backwards, {n: present[n] for n in reversed(ALL)}))


@every_fusion
@every_set
def test_every_sample_is_fused_on_its_own_also_in_a_batch_of_one(
    build: Any, features: Any, mixed: Any, name: str, names: tuple[str, ...]
) -> None:
    fusion, given, present = build(name, names), features(15, names), mixed(15, names)
    whole = fusion(given, present)
    assert whole.shape == (15, 16)
    assert torch.isfinite(whole).all()
    for i in range(15):
        alone = fusion({n: e.take(torch.tensor([i])) for n, e in given.items()}, {n: m[i : i + 1] for n, m in present.items()})
        assert torch.allclose(alone[0], whole[i], atol=1e-5)


@every_fusion
@every_set
def test_no_sample_is_answered_from_another_while_training(
    build: Any, features: Any, mixed: Any, name: str, names: tuple[str, ...]
) -> None:
    fusion, given, present = build(name, names).train(), features(15, names), mixed(15, names)
    for encoded in given.values():
        encoded.pooled.requires_grad_()
        encoded.tokens.requires_grad_()
    fusion(given, present)[0].square().sum().backward()
    found = [t.grad for e in given.values() for t in (e.pooled, e.tokens) if t.grad is not None]
    assert any(bool(grad[0].any()) for grad in found)
    assert not any(bool(grad[1:].any()) for grad in found)


@every_fusion
def test_each_modality_matters_when_it_is_there(build: Any, features: Any, name: str) -> None:
    fusion, given = build(name, ALL), features(1, ALL)
    subsets = [c for size in (1, 2, 3, 4) for c in itertools.combinations(ALL, size)]
    outputs = [fusion(given, {n: torch.tensor([n in subset]) for n in ALL}) for subset in subsets]
    for one, other in itertools.combinations(outputs, 2):
        assert (one - other).abs().max() > 1e-4


@every_fusion
@every_set
def test_gradient_reaches_every_encoder_present_and_no_other(build: Any, features: Any, name: str, names: tuple[str, ...]) -> None:
    for size in range(1, len(names) + 1):
        for subset in itertools.combinations(names, size):
            fusion, given = build(name, names), features(2, names)
            for encoded in given.values():
                encoded.pooled.requires_grad_()
                encoded.tokens.requires_grad_()
            fusion(given, {n: torch.tensor([n in subset] * 2) for n in names}).square().sum().backward()
            for modality, encoded in given.items():
                found = [0.0 if t.grad is None else float(t.grad.abs().sum()) for t in (encoded.pooled, encoded.tokens)]
                assert (found[0] > 0) == (modality in subset)
                assert modality in subset or found[1] == 0
            assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)


@every_fusion
def test_a_sample_with_nothing_is_refused_by_name(build: Any, features: Any, name: str) -> None:
    present = {"image": torch.tensor([True, False]), "text": torch.tensor([True, False])}
    with pytest.raises(MissingModalityError, match="image or text"):
        build(name)(features(2), present)


@every_fusion
def test_it_serves_a_model_of_one_modality(build: Any, features: Any, name: str) -> None:
    fusion = build(name, ("text",))
    out = fusion(features(3), {"text": torch.ones(3, dtype=torch.bool), "image": torch.zeros(3, dtype=torch.bool)})
    assert out.shape == (3, 16)
    assert torch.isfinite(out).all()


@every_fusion
@pytest.mark.parametrize("cast", [True, False], ids=["bf16 weights", "autocast"])
def test_no_nan_in_bf16_forwards_or_backwards(build: Any, features: Any, mixed: Any, name: str, cast: bool) -> None:
    fusion, given, present = build(name, ALL).train(), features(15, ALL), mixed(15, ALL)
    expected = fusion.eval()(given, present)
    if cast:
        fusion = fusion.bfloat16()
        given = {n: Encoded(e.tokens.bfloat16(), e.mask, e.pooled.bfloat16()) for n, e in given.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=not cast):
        found = fusion(given, present)
    found.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)
    assert torch.allclose(found.float(), expected, atol=0.05 * float(expected.detach().abs().max()))


@every_fusion
def test_additive_ones_cannot_learn_an_interaction_and_the_others_do(name: str) -> None:
    """The label is whether the signs of two features differ: no sum of two functions says that."""
    torch.manual_seed(0)
    fusion = FUSIONS.get(name)(16 if FUSIONS.get(name).joins == "features" else 2, ("image", "text"))
    logits = fusion.joins == "logits"
    sides = torch.nn.ModuleDict({n: torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh()) for n in ("image", "text")})
    own = torch.nn.ModuleDict({n: Head(16, 2) for n in ("image", "text")})
    head = Head(16, 2)
    findings = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=2)))
    target = (findings[:, 0] != findings[:, 1]).long()
    present = {n: torch.ones(4, dtype=torch.bool) for n in ("image", "text")}

    def answer() -> torch.Tensor:
        pooled = {n: sides[n](findings[:, [i]]) for i, n in enumerate(("image", "text"))}
        pooled = {n: own[n](x) if logits else x for n, x in pooled.items()}
        out = fusion({n: Encoded(x[:, None], torch.ones(4, 1, dtype=torch.bool), x) for n, x in pooled.items()}, present)
        return out if logits else head(out)

    optimizer = torch.optim.Adam([*fusion.parameters(), *sides.parameters(), *own.parameters(), *head.parameters()], 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(answer(), target).backward()
        optimizer.step()
    right = int((answer().argmax(1) == target).sum())
    assert right <= 3 if fusion.additive else right == 4
