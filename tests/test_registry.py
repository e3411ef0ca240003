from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., str]:
    """Install a package with one module and these entry points of `things`, and run code that has their registry."""
    (tmp_path / "plugin_of_a_test.py").write_text("ANSWER = 42\n")
    (tmp_path / "broken_of_a_test.py").write_text("import no_such_package_of_a_test\n")

    def run(points: str, code: str, package: str = "plugin-of-a-test") -> str:
        about = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[medmm.things]\n{points}\n")
        code = f"from medmm.registry import Registry; r = Registry('things', lambda t: t == 42); r.add('pi', 42); {code}"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    return run


def test_an_installed_package_adds_through_an_entry_point(ask: Callable[..., str]) -> None:
    assert ask("answer = plugin_of_a_test:ANSWER", "print(list(r), r.get('answer'))") == "['answer', 'pi'] 42"


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ("answer = broken_of_a_test:ANSWER", "ended with ModuleNotFoundError"),
        ("answer = no_such_module_of_a_test:ANSWER", "ended with ModuleNotFoundError"),
        ("answer = plugin_of_a_test:QUESTION", "ended with AttributeError"),
        ("answer = plugin_of_a_test", "something else"),
    ],
)
def test_a_broken_package_is_named_by_who_asks_for_it_and_by_nobody_else(ask: Callable[..., str], point: str, told: str) -> None:
    said = ask(point, "print(list(r), list(r.working()), r.get('pi')); r.get('answer')")
    assert said.startswith("['answer', 'pi'] [('pi', 42)] 42")
    last = said.splitlines()[-1]
    assert last.startswith("medmm.errors.PluginError")
    assert told in last
    assert "'answer'" in last
    assert "plugin-of-a-test" in last


def test_a_name_that_is_taken_is_refused_when_it_is_asked_for(ask: Callable[..., str]) -> None:
    assert ask("pi = plugin_of_a_test:ANSWER", "print(list(r), list(r.working()))") == "['pi'] []"
    assert ask("e = plugin_of_a_test:ANSWER", "print(list(r), [n for n, _ in r.working()])", "second") == "['e', 'pi'] ['e']"
    said = ask("e = plugin_of_a_test:ANSWER", "print(list(r)); r.get('e')", "third")
    assert said.startswith("['e', 'pi']")
    assert "'e' of second and third is taken" in said
