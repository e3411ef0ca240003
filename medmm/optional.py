"""The one door to packages that not every installation has."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from types import ModuleType

from medmm.errors import DependencyError


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


def _requirement(name: str) -> str:
    """The requirement as our own metadata states it, so that message and metadata cannot drift apart."""
    try:
        stated = requires("medmm") or []
    except PackageNotFoundError:
        stated = []
    return next((r.partition(";")[0].strip() for r in stated if r.lower().startswith(name.lower())), name)
