from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.registry import Registry


def test_an_object_and_a_lazy_target_are_found_by_name() -> None:
    registry = Registry[object]("things")
    registry.add("pi", 3.14)
    registry.add("join", "os.path:join")
    assert registry.get("pi") == 3.14
    assert registry.get("join") is os.path.join
    assert list(registry) == ["join", "pi"]


def test_a_lazy_target_is_imported_only_when_asked_for() -> None:
    registry = Registry[object]("things")
    registry.add("never", "this.module.does_not_exist:x")
    assert list(registry) == ["never"]
    with pytest.raises(ModuleNotFoundError):
        registry.get("never")


def test_decorator_registers_and_returns_the_thing() -> None:
    registry = Registry[type]("things")

    @registry.register("box")
    class Box:
        pass

    assert registry.get("box") is Box


def test_a_taken_name_is_refused() -> None:
    registry = Registry[int]("things")
    registry.add("one", 1)
    with pytest.raises(ValueError, match="'one' is taken"):
        registry.add("one", 2)
    assert registry.get("one") == 1


def test_an_unknown_name_names_the_nearest() -> None:
    registry = Registry[int]("fusions of a test")
    registry.add("concat", 1)
    with pytest.raises(KeyError, match="Did you mean 'concat'"):
        registry.get("conca")
    with pytest.raises(KeyError) as caught:
        registry.get("zzz")
    assert "Did you mean" not in str(caught.value)


def test_an_installed_package_adds_through_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "plugin_of_a_test.py").write_text("ANSWER = 42\n")
    about = tmp_path / "plugin_of_a_test-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-a-test\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[medmm.things]\nanswer = plugin_of_a_test:ANSWER\n")
    code = "from medmm.registry import Registry; r = Registry('things'); print(list(r), r.get('answer'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['answer'] 42"
