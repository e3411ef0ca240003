"""What eight-bit linear layers save and cost: `medmm compress --int8` against float32 and torch's own dynamic quantisation.

    python benchmarks/compression.py

All compute the same note of 256 tokens with a BERT of four layers and width 768, with one thread; medians of
alternating runs in one process.
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertModel

from medmm.packed import Packing, pack, unpack, with_int8_layers

LAYERS, TOKENS, RUNS = 4, 256, 9


@torch.inference_mode()
def main() -> None:
    """Print seconds, ratios, bytes and how far the output turned."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = BertModel(BertConfig(num_hidden_layers=LAYERS)).eval()
    ways = {"float32": plain, "medmm, int8": _ours(plain), "torch, dynamic int8": _theirs(plain)}
    ids = torch.randint(0, 30_000, (1, TOKENS))
    outputs = {name: net(ids).last_hidden_state.flatten() for name, net in ways.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, net in ways.items():
            start = time.perf_counter()
            net(ids)
            seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds["float32"])
    print(f"{'':22} {'seconds':>8} {'of float32':>11} {'cosine to it':>13}")
    for name, taken in seconds.items():
        cosine = nn.functional.cosine_similarity(outputs[name], outputs["float32"], dim=0).item()
        print(f"{name:22} {statistics.median(taken):8.3f} {statistics.median(taken) / base:11.2f} {cosine:13.5f}")
    state, packed = plain.state_dict(), pack(plain.state_dict(), Packing(int8=True))
    print(f"bytes on disk: {_bytes(packed) / _bytes(state):.2f} of float32")


def _ours(plain: nn.Module) -> nn.Module:
    small = copy.deepcopy(plain)
    with_int8_layers(small)
    small.load_state_dict(unpack(pack(plain.state_dict(), Packing(int8=True)), small.state_dict()))
    return small


def _theirs(plain: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, which is why it is not used
        return torch.ao.quantization.quantize_dynamic(copy.deepcopy(plain), {nn.Linear}, dtype=torch.qint8)


def _bytes(state: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


if __name__ == "__main__":
    main()
