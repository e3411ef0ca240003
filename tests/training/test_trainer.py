"""The engine on a regression small enough to be followed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from medmm.errors import DeviceError
from medmm.training import TrainConfig
from medmm.training.trainer import Progress, Trainer

PLAIN = TrainConfig(epochs=3, batch_size=8, learning_rate=0.1, warmup=0.0, schedule="constant", clip=0.0, ema=0.0, weight_decay=0.0)


class Regression:
    """A mean of squares, so that parts of a batch add up to it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
        self.x = torch.randn(32, 5, generator=torch.Generator().manual_seed(1))
        self.y = self.x @ torch.arange(5.0)[:, None]
        self.steps: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.x)

    def begin_epoch(self, seed: int) -> None:
        pass

    def loss(self, chosen: list[int]) -> torch.Tensor:
        self.steps.append(chosen)
        return functional.mse_loss(self.model(self.x[chosen]), self.y[chosen])


def run(config: TrainConfig, checkpoint: Path, **options: Any) -> tuple[Regression, Progress]:
    objective = Regression()
    trainer = Trainer(objective.model, objective, config)
    return objective, trainer.run(checkpoint, None, dict, log=lambda *_: None, **{"on_progress": lambda _: None} | options)


def curve(progress: Progress) -> list[float]:
    return [row["loss/train"] for row in progress.history]


def test_steps_in_parts_learn_what_whole_steps_learn(tmp_path: Path) -> None:
    whole, of_whole = run(PLAIN, tmp_path / "a")
    parted, of_parts = run(replace(PLAIN, batch_size=2, accumulate=4), tmp_path / "b")
    assert curve(of_parts) == pytest.approx(curve(of_whole), rel=1e-5)
    for a, b in zip(whole.model.parameters(), parted.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert {len(part) for part in parted.steps} == {2}
    assert {len(step) for step in whole.steps} == {8}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adamw", lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.0)),
        ("adam", lambda p: torch.optim.Adam(p, 0.1)),
        ("radam", lambda p: torch.optim.RAdam(p, 0.1)),
        ("sgd", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9)),
    ],
)
def test_an_optimizer_moves_weights_as_torch_does_and_goes_on_after_a_stop(name: Any, make: Any, tmp_path: Path) -> None:
    config = replace(PLAIN, optimizer=name, learning_rate=0.1 if name != "sgd" else 0.001)
    ours, straight = run(config, tmp_path / "a")
    theirs = Regression()
    optimizer = make(theirs.model.parameters())
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate
    for chosen in ours.steps:
        optimizer.zero_grad()
        theirs.loss(chosen).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)

    def stop(done: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "b", on_progress=stop)
    again, resumed = run(config, tmp_path / "b")
    assert resumed.history == straight.history
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), again.model.parameters(), strict=True))


def test_clipping_bounds_a_step(tmp_path: Path) -> None:
    before = Regression().model
    config = replace(PLAIN, epochs=1, batch_size=32, optimizer="sgd", momentum=0.0, learning_rate=1.0)
    moved = [run(replace(config, clip=clip), tmp_path / str(clip))[0].model for clip in (0.01, 0.0)]
    vectors = [nn.utils.parameters_to_vector(model.parameters()).detach() for model in (before, *moved)]
    lengths = [float((vector - vectors[0]).norm()) for vector in vectors[1:]]
    assert lengths[0] == pytest.approx(0.01, rel=1e-3)
    assert lengths[1] > 1


def test_the_average_remembers_as_many_epochs_as_it_is_told(tmp_path: Path) -> None:
    objective = Regression()
    trainer = Trainer(objective.model, objective, replace(PLAIN, ema=2.0))
    expected = [p.detach().clone() for p in objective.model.parameters()]
    decay, inner = 1 - 1 / (2.0 * 4 + 1), trainer.objective.loss
    seen: list[list[torch.Tensor]] = []

    def watched(chosen: list[int]) -> torch.Tensor:
        seen.append([p.detach().clone() for p in objective.model.parameters()])
        return inner(chosen)

    objective.loss = watched  # type: ignore[method-assign]
    trainer.run_epoch(0)
    states = [*seen[1:], [p.detach() for p in objective.model.parameters()]]
    expected = states[0]  # torch's average begins with the first step
    for state in states[1:]:
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, state, strict=True)]
    for a, b in zip(trainer.averaged.parameters(), expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_nearly_what_single_precision_learns(precision: Any, tmp_path: Path) -> None:
    _, single = run(PLAIN, tmp_path / "a")
    ours, half = run(replace(PLAIN, precision=precision), tmp_path / "b")
    assert curve(half) == pytest.approx(curve(single), rel=0.05)
    assert curve(half) != curve(single)
    assert all(p.dtype == torch.float32 for p in ours.model.parameters())


def test_a_scaled_loss_goes_on_with_its_scale_after_a_stop(tmp_path: Path) -> None:
    config = replace(PLAIN, precision="fp16")
    objective = Regression()
    trainer = Trainer(objective.model, objective, config)
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 128.0})
    trainer.save(tmp_path / "c", Progress(epoch=1))
    resumed = Trainer(objective.model, objective, config)
    assert resumed.resume(tmp_path / "c").epoch == 1
    assert resumed.scaler.get_scale() == 128.0


def test_fp16_is_refused_for_what_a_cpu_cannot_compute_in_it() -> None:
    objective = Regression()
    objective.model.append(nn.LSTM(1, 1))
    with pytest.raises(DeviceError, match="LSTM on a CPU"):
        Trainer(objective.model, objective, replace(PLAIN, precision="fp16"))
