"""The jail that hostile inputs are read in, and how they are listed."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medmm.errors import MedmmError
from medmm.settings import LIMITS
from medmm.sources.jail import Jail
from medmm.study import Study

STRICT = replace(LIMITS, seconds=30.0, memory_bytes=2 << 30)
PARENT_MAY_GROW = 300 << 20
WORDS = ("SECRET", "evil", "passwd", "<script", "calc")
"""What hostile inputs hold and no message may."""


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail(STRICT) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder whose name may not be told."""
    made = tmp_path / "SECRET"
    made.mkdir()
    return made


@pytest.fixture
def harmless(jail: Jail, tmp_path: Path) -> Callable[[Path, str], None]:
    """Read a path in a jail of 30 seconds and 2 GB; assert that it ends as stated, and that nothing else happens.

    A vector that ended in E_BUDGET, E_WORKER or E_INTERNAL would have hurt: no vector states these.
    """

    def check(path: Path, code: str) -> None:
        files, peak = sorted(tmp_path.rglob("*")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome = attempt(jail, path)
        if isinstance(outcome, Study):
            told = repr(outcome.summary()) + repr(outcome.notices)
            assert code == ""
            assert all(np.isfinite(v.array).all() and np.isfinite(v.grid.affine).all() for v in outcome.volumes)
        else:
            told = outcome.message
            assert outcome.code == code, told
        assert not [word for word in (*WORDS, str(tmp_path)) if word in told]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < PARENT_MAY_GROW >> 10
        assert sorted(tmp_path.rglob("*")) == files
        assert not (tmp_path.parent / "evil").exists()

    return check


def attempt(jail: Jail, path: Path) -> Study | MedmmError:
    try:
        return jail.open(path)
    except MedmmError as error:
        return error
