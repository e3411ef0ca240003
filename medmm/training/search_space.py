"""What a search may choose from: keys of `TrainConfig` with ranges or lists of values, read from YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ConfigDict, TypeAdapter, ValidationError

from medmm.errors import TaskError
from medmm.training.config import TrainConfig, config_from
from medmm.yaml_text import read_yaml

_FORM = "keys of TrainConfig, each with a list of values, or low and high (with log: true or step)"


class Suggests(Protocol):
    """The part of an Optuna trial that draws values."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...  # noqa: D102
    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float: ...  # noqa: D102
    def suggest_categorical(self, name: str, choices: list[str]) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values, each as JSON text, since a value may be a list or a mapping."""

    texts: tuple[str, ...]

    def suggest(self, trial: Suggests, key: str) -> str:
        """A value as JSON text."""
        return str(trial.suggest_categorical(key, list(self.texts)))

    @property
    def ends(self) -> tuple[str, ...]:
        """Values that stand for all in a check."""
        return self.texts

    @property
    def grid(self) -> tuple[str, ...]:
        """All values as Optuna draws them."""
        return self.texts

    def may_leave(self, config: TrainConfig, key: str) -> bool:
        """Whether a value is the one that a configuration has."""
        return any(config_from(config.to_dict(), [f"{key}={text}"]) == config for text in self.texts)


@dataclass(frozen=True, slots=True)
class Range:
    """A number from `low` to `high`, whole when both are.

    Attributes:
        low, high: Ends, both included.
        log: Whether orders of magnitude are alike.
        step: Distance of the values, None for any.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return all(isinstance(n, int) for n in (self.low, self.high, self.step or 1))

    def suggest(self, trial: Suggests, key: str) -> str:
        """A value as JSON text."""
        if self.whole:
            return str(trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log))
        return str(trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log))

    @property
    def ends(self) -> tuple[str, ...]:
        """Values that stand for all in a check."""
        return str(self.low), str(self.high)

    @property
    def grid(self) -> tuple[float, ...]:
        """All values.

        Raises:
            TaskError: If there is no end of them.
        """
        if self.step is None and not self.whole:
            msg = "Expected lists, whole numbers or ranges with a step in a grid; got a range without one. Add step."
            raise TaskError(msg)
        step = self.step or 1
        return tuple(self.low + i * step for i in range(int((self.high - self.low) / step + 1e-9) + 1))

    def may_leave(self, config: TrainConfig, key: str) -> bool:
        """Whether a value may be the one that a configuration has, steps aside."""
        value: Any = config.to_dict()
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return isinstance(value, (int, float)) and self.low <= value <= self.high


Space = Mapping[str, Choices | Range]
_RANGE = TypeAdapter(Range)


def within(key: str, searched: Iterable[str]) -> list[str]:
    """Those of the searched keys that a key is, or lies within, as `loss_parts.text` within `loss_parts`."""
    return [known for known in searched if f"{key}.".startswith(f"{known}.")]


def read_space(path: str | Path, base: TrainConfig) -> Space:
    """Read a search space, and try every value in it on the configuration.

    Args:
        path: YAML.
        base: What is not searched.

    Raises:
        TaskError: If it is unsound, a key stands twice or within another, is unknown (the message names the nearest), or a
            value does not fit.
    """
    space = {key: _part(key, stated) for key, stated in read_yaml(path, f"a file with {_FORM}").items()}
    if not space:
        msg = f"Expected {_FORM}; there is none. Write at least one."
        raise TaskError(msg)
    for key, part in space.items():
        if doubled := within(key, space.keys() - {key}):
            msg = f"Expected each choice in one place of the space; {key} lies within {doubled[0]}. Leave one out."
            raise TaskError(msg)
        for text in part.ends:
            config_from(base.to_dict(), [f"{key}={text}"])
    return space


def _part(key: str, stated: Any) -> Choices | Range:
    if isinstance(stated, list) and stated:
        return Choices(tuple(json.dumps(value) for value in stated))
    try:
        part = _RANGE.validate_python(stated)
    except ValidationError:
        msg = f"Expected {_FORM}; what {key} holds is neither."
        raise TaskError(msg) from None
    step, log = part.step, part.log
    if not part.low < part.high or (step is not None and step <= 0) or (log and (part.low <= 0 or step is not None)):
        msg = f"Expected low < high, step > 0, and log only of positive numbers without step; {key} breaks that."
        raise TaskError(msg)
    return part
