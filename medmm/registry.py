"""Names to things that come in families: fusions, encoders, and what plug-ins add to them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Registry(Generic[T]):
    """Look up by name, load on first use.

    Targets may be objects or `"module:attribute"` strings, imported when asked for. Packages add
    to a registry through entry points of the group `medmm.<family>`.

    Args:
        family: Plural noun used in messages and as entry-point group, e.g. `fusions`.
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._targets: dict[str, T | str] = {}
        self._plugins_read = False

    def add(self, name: str, target: T | str) -> None:
        """Register under a new name.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self._targets:
            msg = f"Expected a new name among {self.family}; {name!r} is taken."
            raise ValueError(msg)
        self._targets[name] = target

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""

        def decorate(target: T) -> T:
            self.add(name, target)
            return target

        return decorate

    def get(self, name: str) -> T:
        """The thing called `name`.

        Raises:
            KeyError: If there is none; the message names the nearest.
        """
        self._read_plugins()
        if name not in self._targets:
            near = difflib.get_close_matches(name, self._targets, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            msg = f"Expected one of the {self.family} {', '.join(self)}; got {name!r}.{hint}"
            raise KeyError(msg)
        target = self._targets[name]
        if isinstance(target, str):
            module, attribute = target.split(":")
            target = cast("T", getattr(import_module(module), attribute))
            self._targets[name] = target
        return target

    def __iter__(self) -> Iterator[str]:
        self._read_plugins()
        return iter(sorted(self._targets))

    def _read_plugins(self) -> None:
        if not self._plugins_read:
            self._plugins_read = True
            for point in entry_points(group=f"medmm.{self.family}"):
                self.add(point.name, point.value)
