from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from medmm.errors import PhiError
from medmm.ui.lent_gpu import lent_gpu


def double(number: int) -> dict[str, Any]:
    if number < 0:
        msg = "Expected nothing that names the patient; found: name."
        raise PhiError(msg)
    return {"number": 2 * number}


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A ZeroGPU Space as far as its package is seen from here: durations asked for."""
    asked: list[int] = []

    def gpu(*, duration: int) -> Callable[[Any], Any]:
        asked.append(duration)
        return lambda task: task

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    return asked


def test_elsewhere_no_gpu_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "spaces", raising=False)
    assert lent_gpu(double) is None


@pytest.mark.usefixtures("lent")
def test_with_the_package_on_a_plain_space_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU")
    assert lent_gpu(double) is None


def test_a_task_is_declared_when_the_page_is_built_and_answers_as_before(lent: list[int]) -> None:
    task = lent_gpu(double)
    assert len(lent) == 1
    assert task is not None
    assert task(number=2) == {"number": 4}


@pytest.mark.usefixtures("lent")
def test_errors_come_back_as_themselves() -> None:
    task = lent_gpu(double)
    assert task is not None
    with pytest.raises(PhiError, match="name"):
        task(number=-1)
