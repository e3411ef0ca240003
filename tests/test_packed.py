"""Packed weights: what comes back is what the packing says, to the bit; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medmm.errors import ModelError
from medmm.packed import Int8Linear, Packing, pack, unpack, with_int8_layers
from medmm.weights import load_weights, save_weights


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True)
    return nn.Sequential(nn.Linear(64, 100), nn.GELU(), nn.Linear(100, 64), layer, nn.Linear(64, 2)).eval()


def int8_twin(net: nn.Module, packing: Packing = Packing(int8=True)) -> nn.Sequential:  # noqa: B008
    twin = network()
    with_int8_layers(twin)
    twin.load_state_dict(unpack(pack(net.state_dict(), packing), twin.state_dict()))
    return twin


def test_eight_bits_hold_each_weight_to_half_a_step_of_its_row() -> None:
    state = {"w": torch.randn(50, 100, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 51)[:, None]}
    packed = pack(state, Packing(int8=True))
    assert packed["w"].dtype == torch.int8
    back = unpack(packed, state)["w"]
    step = state["w"].abs().amax(1, keepdim=True) / 127
    assert bool(((back - state["w"]).abs() <= step * 0.5001).all())


def test_pruning_leaves_the_largest_values_as_they_are_and_their_file_smaller(tmp_path: Path) -> None:
    state = {"w": torch.randn(70, 101), "small": torch.randn(3, 3)}
    back = unpack(pack(state, Packing(pruned=0.75)), state)
    w, kept = state["w"].flatten().numpy(), back["w"].flatten().numpy()
    expected = np.where(np.argsort(np.argsort(np.abs(w), kind="stable")) < int(0.75 * w.size), 0, w)
    np.testing.assert_array_equal(kept, expected)
    assert torch.equal(back["small"], state["small"])
    save_file(pack(state, Packing(pruned=0.75)), tmp_path / "pruned")
    save_file(state, tmp_path / "whole")
    assert (tmp_path / "pruned").stat().st_size < 0.32 * (tmp_path / "whole").stat().st_size  # a quarter, and a bit a place


def test_pruned_rows_are_those_that_say_least() -> None:
    state = {"conv": torch.randn(64, 8, 3, 3) * torch.rand(64, 1, 1, 1)}
    packed = pack(state, Packing(pruned=0.25, pruned_by="rows"))
    back = unpack(packed, state)["conv"].numpy()
    length = np.linalg.norm(state["conv"].numpy().reshape(64, -1), axis=1)
    gone = np.argsort(length)[:16]
    assert (back[gone] == 0).all()
    kept = np.setdiff1d(np.arange(64), gone)
    np.testing.assert_array_equal(back[kept], state["conv"].numpy()[kept])
    assert packed["conv"].numel() == 48 * 72


def test_an_int8_layer_computes_what_its_integers_say() -> None:
    torch.manual_seed(2)
    layer = nn.Linear(70, 60)
    twin = Int8Linear(layer)
    twin.load_state_dict(unpack(pack(layer.state_dict(), Packing(int8=True)), twin.state_dict()))
    x = torch.randn(2, 3, 70)
    rows, weight = x.numpy().astype(float), twin.weight.numpy().astype(float)
    scale = np.abs(rows).max(-1, keepdims=True) / 127
    expected = (np.rint(rows / scale) @ weight.T) * scale * twin.weight_scale.numpy() + layer.bias.detach().numpy()
    np.testing.assert_allclose(twin(x).detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    assert float((twin(x) - layer(x)).detach().abs().max()) < 0.05
    wanted = x.clone().requires_grad_()
    twin(wanted).sum().backward()
    torch.testing.assert_close(wanted.grad[0, 0], layer.weight.sum(0).detach(), atol=0.05, rtol=0)
    assert torch.equal(twin(torch.zeros(1, 70)), layer.bias.detach()[None])


def test_layers_whose_weights_others_read_stay_as_they_are() -> None:
    twin = int8_twin(net := network())
    assert [type(m) for m in (twin[0], twin[2], twin[4])] == [Int8Linear, Int8Linear, nn.Linear]
    assert not any(isinstance(m, Int8Linear) for m in twin[3].modules())
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        assert float((twin(x) - net(x)).abs().max()) < 0.05


@pytest.mark.parametrize("packing", [Packing(int8=True), Packing(int8=True, pruned=0.5), Packing(stored="bfloat16")])
def test_a_packed_file_fills_its_network_and_packs_to_the_same_again(packing: Packing, tmp_path: Path) -> None:
    net = network()
    save_weights(net, tmp_path / "first", packing)
    twin = network()
    if packing.int8:
        with_int8_layers(twin)
    load_weights(twin, tmp_path / "first")
    save_weights(twin, tmp_path / "second", packing)
    first, second = load_file(tmp_path / "first"), load_file(tmp_path / "second")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-6, atol=0)
    assert (tmp_path / "first").stat().st_size < 0.6 * sum(4 * t.numel() for t in net.state_dict().values())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    state = pack(network().state_dict(), Packing(pruned=0.5))
    name = next(n for n in state if n.endswith("_kept"))
    for spoiled in ({**state, name: state[name][:-1]}, {**state, name: torch.full_like(state[name], 255)}):
        save_file(spoiled, tmp_path / "w")
        with pytest.raises(ModelError, match="fill their places"):
            load_weights(network(), tmp_path / "w")
    scaled = pack(network().state_dict(), Packing(int8=True))
    scaled["0.weight_scale"][3] = torch.nan
    save_file(scaled, tmp_path / "w")
    with pytest.raises(ModelError, match="finite"):
        load_weights(network(), tmp_path / "w")
    with pytest.raises(ModelError, match="range of float16"):
        pack({"b": torch.tensor([1e6])}, Packing(stored="float16"))
    for content in ({"pruned": 1.0}, {"bits": 4}, []):
        with pytest.raises(ModelError, match="packing"):
            Packing.from_dict(content)
    assert Packing.from_dict(Packing(int8=True, pruned=0.25).to_dict()) == Packing(int8=True, pruned=0.25)
