"""The one door to packages that not every installation has."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, requires
from threading import get_ident
from types import ModuleType
from typing import Any

from medmm.errors import DependencyError

_OF_OTHERS = (
    "huggingface_hub", "ignite", "IPython", "jsonschema", "matplotlib", "mlflow", "optuna", "pandas", "skimage", "sklearn",
    "tensorboard",
)  # fmt: skip
"""What parts of MONAI that medmm does not use would import."""

_unwanted = {"transformers"}
"""What MONAI is told not to find."""


def require(module: str, feature: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: Import name.
        feature: What it is needed for, for the message.
        extra: Extra of medmm that brings it.

    Raises:
        DependencyError: If it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError:
        wanted = _requirement(module.partition(".")[0])
        msg = f"{feature} needs the package {wanted}, which is not installed. Install it with: pip install 'medmm[{extra}]'."
        raise DependencyError(msg) from None


def hub(feature: str) -> ModuleType:
    """The Hub's library, told before its import to report nothing of this machine.

    Args:
        feature: What it is needed for, for the message.

    Raises:
        DependencyError: If it is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return require("huggingface_hub", feature, "space")


def own_process() -> None:
    """Say that this process runs nothing but medmm: MONAI then does without what only its other users need.

    That is half of the time and of the memory of its import where all of it is installed.
    """
    _unwanted.update(_OF_OTHERS)


def monai(module: str) -> Any:
    """A module of MONAI, such as `data`.

    Any import of MONAI imports all of it, and with its network Transchex also Transformers, a third of the time and a sixth
    of the memory of the whole; so MONAI is told that there is none. Transchex cannot be built in such a process.
    """
    with _unseen(*_unwanted):
        return import_module(f"monai.{module}")


@contextmanager
def _unseen(*packages: str) -> Iterator[None]:
    """What this thread imports inside finds no such package, unless it is imported already; other threads find it."""
    finder = _Absent(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Absent(MetaPathFinder):
    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages, self.thread = packages, get_ident()

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in self.packages and get_ident() == self.thread:
            msg = f"No module named {fullname!r}"
            raise ModuleNotFoundError(msg, name=fullname)


def _requirement(name: str) -> str:
    """The requirement as our own metadata states it, so that message and metadata cannot drift apart."""
    try:
        stated = requires("medmm") or []
    except PackageNotFoundError:
        stated = []
    return next((r.partition(";")[0].strip() for r in stated if r.lower().startswith(name.lower())), name)
