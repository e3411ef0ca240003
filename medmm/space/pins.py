"""What a Space installs: the versions that run here, as far as its builder lets them stand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from medmm.errors import DependencyError

PYTHON = "3.12"
"""The one version of Python that plain and ZeroGPU Spaces both have and everything here supports."""

_ZERO_GPU_TORCH = "2.11.0"  # the newest that ZeroGPU runs
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # without it, Linux gets gigabytes of CUDA
_BUILDER = ("gradio", ("mcp", "oauth"))  # the builder of Spaces installs gradio with these extras on top
_LOOSE = {"medmm", "setuptools"}  # the one lies beside this file; of the other, each torch has its own limit
_TARGET = {
    "implementation_name": "cpython", "os_name": "posix", "platform_machine": "x86_64", "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.0", "python_version": PYTHON, "sys_platform": "linux",
}  # fmt: skip


def requirements(*, zero_gpu: bool) -> str:
    """The text of requirements.txt.

    Args:
        zero_gpu: With the torch that ZeroGPU runs and the package that asks for its devices, instead of torch for the CPU.

    Raises:
        DependencyError: If what the page needs is not installed here.
    """
    found = _closure("medmm", "demo")
    for name in _left_to_the_builder(found) | _LOOSE:
        found.pop(name, None)
    if zero_gpu:
        found["torch"] = _ZERO_GPU_TORCH
    lines = [f"{name}=={version}" for name, version in sorted(found.items())]
    head = ["spaces>=0.51"] if zero_gpu else [f"--extra-index-url {_CPU_INDEX}"]
    made = f"# Versions that run together, on {sys.version_info.major}.{sys.version_info.minor} where this was made."
    return "\n".join([made, *head, *lines]) + "\n"


def installed(name: str) -> str:
    """Version of an installed package, without the label of its build.

    Raises:
        DependencyError: If it is not installed.
    """
    try:
        return Version(distribution(name).version).public
    except PackageNotFoundError:
        msg = f"Expected {name} to be installed, as a Space needs it; it is not. Install with: pip install 'medmm[demo]'."
        raise DependencyError(msg) from None


def _closure(name: str, *extras: str) -> dict[str, str]:
    """Versions here of a package and of all that it needs on a Space; what torch needs is left to torch."""
    found: dict[str, str] = {}
    pending = [(name, extras)]
    while pending:
        name, extras = pending.pop()
        known = canonicalize_name(name) in found
        if known and not extras:
            continue
        found[canonicalize_name(name)] = installed(name)
        if name != "torch":
            pending += [(r.name, tuple(sorted(r.extras))) for r in _requires(name, extras)]
    return found


def _left_to_the_builder(found: dict[str, str]) -> set[str]:
    """What the builder demands in another version than ours, and what such a package itself is strict about."""
    name, extras = _BUILDER
    loose: set[str] = set()
    for requirement in _requires(name, extras):
        wanted = canonicalize_name(requirement.name)
        if wanted in found and not requirement.specifier.contains(found[wanted]):
            loose |= {wanted, *(canonicalize_name(r.name) for r in _requires(wanted, ()))}
    return loose


def _requires(name: str, extras: tuple[str, ...]) -> Iterator[Requirement]:
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        if _applies(requirement.marker, extras):
            yield requirement


def _applies(marker: Marker | None, extras: tuple[str, ...]) -> bool:
    return marker is None or any(marker.evaluate({**_TARGET, "extra": extra}) for extra in ("", *extras))
