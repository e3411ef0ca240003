"""Weights and manifests: exactly what was saved, or a refusal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medmm.errors import ModelError
from medmm.weights import MANIFEST, check_manifest, load_weights, save_weights, write_manifest


def net(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_weights(net(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_weights_and_buffers_come_back_bit_for_bit(tmp_path: Path) -> None:
    one, other = net(), net()
    one[1].running_mean.fill_(0.7)
    save_weights(one, tmp_path / "w")
    load_weights(other, tmp_path / "w")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("0.weight", None, "missing \\['0.weight'\\]"),
        ("2.weight", torch.zeros(1), "extra \\['2.weight'\\]"),
        ("0.weight", torch.zeros(2, 3), "shape \\(3, 2\\) for 0.weight; got \\(2, 3\\)"),
        ("0.bias", torch.tensor([0.0, float("nan"), 0.0]), "0.bias holds NaN"),
        ("1.running_var", torch.tensor([1.0, float("inf"), 1.0]), "1.running_var holds NaN, infinity"),
        ("0.bias", torch.tensor([0.0, -1e300, 0.0], dtype=torch.float64), "0.bias holds NaN, infinity or a value too large"),
        ("0.bias", torch.tensor([0.0, float("nan"), 0.0], dtype=torch.bfloat16), "0.bias holds NaN"),
    ],
    ids=["missing", "extra", "shape", "nan", "inf", "beyond_float32", "bfloat16"],
)
def test_weights_that_are_not_exactly_the_networks_are_refused(
    file: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    state = load_file(file)
    state.pop(name, None)
    if tensor is not None:
        state[name] = tensor
    save_file(state, file)
    untouched = net()
    before = untouched[0].weight.clone()
    with pytest.raises(ModelError, match=message):
        load_weights(untouched, file)
    assert torch.equal(untouched[0].weight, before)


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "gone"])
def test_a_damaged_file_is_refused(file: Path, damage: str) -> None:
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "pickle":
        torch.save(net().state_dict(), file)
    else:
        file.unlink()
    with pytest.raises(ModelError, match="missing or damaged"):
        load_weights(net(), file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.json", "b.bin"):
        (tmp_path / name).write_text(name)
    write_manifest(tmp_path, ["b.bin", "a.json"])
    return tmp_path


def test_the_identity_of_a_folder_is_the_digest_of_its_manifest(folder: Path) -> None:
    stated = json.loads((folder / MANIFEST).read_bytes())
    assert stated == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.json", "b.bin")}
    assert check_manifest(folder, {"a.json"}, set()) == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", '["a.json"]', "3", "null", '"a"', "{}", '{"a.json": 1}', '{"a.json": null}'])
def test_a_manifest_that_does_not_vouch_for_the_files_is_refused(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(ModelError):
        check_manifest(folder, {"a.json"}, set())


@pytest.mark.parametrize("name", ["../a.json", "/etc/hostname", "sub/a.json", "", "."])
def test_a_manifest_cannot_point_outside_its_folder(folder: Path, name: str) -> None:
    stated = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps({**stated, name: stated["a.json"]}))
    with pytest.raises(ModelError):
        check_manifest(folder, {"a.json"}, set())


def test_an_unlisted_file_that_would_be_read_is_refused(folder: Path) -> None:
    check_manifest(folder, {"a.json"}, {"late.json"})
    (folder / "late.json").write_text("{}")
    with pytest.raises(ModelError, match="incomplete"):
        check_manifest(folder, {"a.json"}, {"late.json"})
