from __future__ import annotations

from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medmm.errors import DependencyError
from medmm.space.pins import installed, requirements


def pins(text: str) -> dict[str, str]:
    return dict(line.split("==") for line in text.splitlines() if "==" in line)


def test_every_requirement_of_the_page_is_pinned_to_what_runs_here() -> None:
    found = pins(requirements(zero_gpu=False))
    needed = {
        canonicalize_name(r.name) for r in map(Requirement, requires("medmm") or []) if not r.marker or "demo" in str(r.marker)
    }
    unpinned = needed - set(found)
    assert unpinned <= {"pydantic"}  # the builder has its own wish
    assert {name: v for name, v in found.items() if version(name).partition("+")[0] != v} == {}
    assert "medmm" not in found


def test_what_the_builder_demands_is_left_to_it() -> None:
    found = pins(requirements(zero_gpu=False))
    for line in requires("gradio") or []:
        requirement = Requirement(line)
        pinned = found.get(canonicalize_name(requirement.name))
        if pinned and requirement.marker and requirement.marker.evaluate({"extra": "mcp"}):
            assert requirement.specifier.contains(pinned)
    assert "pydantic" not in found
    assert "pydantic-core" not in found


def test_zero_gpu_has_a_torch_it_runs_and_plain_spaces_one_without_cuda() -> None:
    lent, plain = requirements(zero_gpu=True), requirements(zero_gpu=False)
    assert pins(lent)["torch"] == "2.11.0"
    assert "\nspaces>=" in lent
    assert "/whl/cpu" in plain
    assert "/whl/cpu" not in lent
    assert "+" not in plain.partition("\n")[2].replace("extra-index", "")


def test_a_package_that_is_not_here_is_named() -> None:
    with pytest.raises(DependencyError, match="no-such-package"):
        installed("no-such-package")
