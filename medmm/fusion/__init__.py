"""Fusion: what the modalities present say, made one.

Contract of a fusion: `contract.Fusion`. Every one works with any subset of modalities that is not
empty, and what stands in for an absent modality does not matter. A new one is a file here, a line
in the registry below (or an entry point `medmm.fusions` of a package) and passes
`tests/fusion/test_contract.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medmm.encoders import Encoded
from medmm.registry import Registry
from medmm.types import Modality

if TYPE_CHECKING:
    import torch

    from medmm.fusion.contract import Fusion

Features = dict[Modality, Encoded]
Present = dict[Modality, "torch.Tensor"]

FUSIONS: Registry[type[Fusion]] = Registry("fusions", callable)
FUSIONS.add("weighted", "medmm.fusion.weighted:WeightedSum")
FUSIONS.add("weighted_per_class", "medmm.fusion.weighted:WeightedSumPerClass")
FUSIONS.add("concat", "medmm.fusion.concat:Concatenation")
FUSIONS.add("projection", "medmm.fusion.projection:SharedProjection")
FUSIONS.add("gated", "medmm.fusion.gated:GatedUnit")
FUSIONS.add("attention", "medmm.fusion.attention:ModalityAttention")
FUSIONS.add("cross_attention", "medmm.fusion.cross_attention:CrossAttention")
FUSIONS.add("transformer", "medmm.fusion.transformer:JointTransformer")
FUSIONS.add("lowrank", "medmm.fusion.lowrank:LowRankTensor")
FUSIONS.add("product_of_experts", "medmm.fusion.product_of_experts:ProductOfExperts")
FUSIONS.add("late", "medmm.fusion.late:LateAverage")
