"""Mixup of what encoders say (Zhang et al. 2018, on features as Verma et al. 2019): every modality joins the same two studies.

Inputs of different kinds cannot be averaged, their features can. The label is soft: the loss of a mixed study is the
same mixture of the losses of both labels, whatever the loss, which for cross-entropy is that of the mixed label.
"""

from __future__ import annotations

import torch

from medmm.fusion import Features, Present


def partners(present: Present) -> torch.Tensor:
    """(B,) another study for each, drawn among those with the same modalities; itself where there is no other."""
    pattern = torch.stack([mask.long() << bit for bit, mask in enumerate(present.values())]).sum(0)
    partner = torch.arange(len(pattern), device=pattern.device)
    for kind in set(pattern.tolist()):
        rows = torch.nonzero(pattern == kind)[:, 0]
        order = rows[torch.randperm(len(rows)).to(rows.device)]
        partner[order] = order.roll(1)
    return partner


def draw_share(alpha: float) -> float:
    """Share of the first study, at least a half, from Beta(alpha, alpha)."""
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    return max(share, 1 - share)


def mixed(features: Features, partner: torch.Tensor, share: float) -> Features:
    """Features of each study, mixed with those of its partner; a token is real where it is in one of both."""
    found = {}
    for name, encoded in features.items():
        tokens = encoded.tokens * encoded.mask[..., None]
        found[name] = encoded._replace(
            tokens=share * tokens + (1 - share) * tokens[partner],
            mask=encoded.mask | encoded.mask[partner],
            pooled=share * encoded.pooled + (1 - share) * encoded.pooled[partner],
        )
    return found
