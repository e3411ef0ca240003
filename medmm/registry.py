"""Names to things that come in families: fusions, encoders, and what plug-ins add to them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from medmm.errors import PluginError

T = TypeVar("T")


class Registry(Generic[T]):
    """Look up by name, load on first use.

    Targets may be objects or `"module:attribute"` strings, imported when asked for. Packages add
    to a registry through entry points of the group `medmm.<family>`; one that is broken does harm to
    nobody but those who ask for it.

    Args:
        family: Plural noun used in messages and as entry-point group, e.g. `fusions`.
        fits: Whether what a package adds is of this family.
    """

    def __init__(self, family: str, fits: Callable[[object], bool] = lambda _: True) -> None:
        self.family, self._fits = family, fits
        self._targets: dict[str, T | str] = {}

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
            PluginError: If a package added it that cannot be loaded, or took a name that was taken.
        """
        if plugins := self._plugins.get(name):
            return self._added(name, plugins)
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
        return iter(sorted({*self._targets, *self._plugins}))

    def working(self) -> Iterator[tuple[str, T]]:
        """Every name with its thing, without what a broken package added."""
        for name in self:
            try:
                found = self.get(name)
            except PluginError:
                continue
            yield name, found

    @cached_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=f"medmm.{self.family}"):
            found.setdefault(point.name, []).append(point)
        return found

    def _added(self, name: str, plugins: list[EntryPoint]) -> T:
        """What a package added under a name that nobody else uses."""
        packages = " and ".join(sorted(point.dist.name if point.dist else point.module for point in plugins))
        if name in self._targets or len(plugins) > 1:
            msg = f"Expected a new name among {self.family}; {name!r} of {packages} is taken. Rename it there, or uninstall that."
            raise PluginError(msg)
        try:
            target = cast("T", plugins[0].load())
        except Exception as error:  # a foreign module does anything when it is imported
            msg = f"Expected {name!r} among {self.family} from {packages}; loading it ended with {type(error).__name__}."
            raise PluginError(f"{msg} Mend or uninstall that package.") from None
        if not self._fits(target):
            msg = f"Expected {name!r} of {packages} to be one of the {self.family}; it is something else. Mend or uninstall it."
            raise PluginError(msg)
        return target
