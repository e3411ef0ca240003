"""Steps of an optimiser, for tests that something can be learned."""

from __future__ import annotations

from collections.abc import Callable

import torch


def losses_of(loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """What the loss came to before each of so many steps."""
    losses = []
    for _ in range(steps):
        found = loss()
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        losses.append(found.item())
    return losses
