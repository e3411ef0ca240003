"""Several people use a served page at the same time; `python -m benchmarks.soak` is the same for longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.soak import Held, Tally, soak

pytestmark = pytest.mark.browser
PEOPLE = 8


def test_everybody_gets_his_own_answers_and_nothing_piles_up(serve: Any, tmp_path: Path) -> None:
    server = serve(tmp_path / "server")  # of which nobody else's files go meanwhile
    before = Held.by(server)
    (_, first), (_, second), (tally, after) = soak(server, PEOPLE, rounds=2, each=5)
    assert tally == Tally(requests=2 * PEOPLE * 5, seconds=tally.seconds), tally.reasons
    assert (first.files - before.files, after.files) == (second.files - before.files, before.files)
    # Each person has files and connections, so what is kept of everybody shows; which threads wait for work changes.
    assert second.open_files < first.open_files + PEOPLE
    assert second.threads < first.threads + PEOPLE
    assert after.open_files < before.open_files + PEOPLE
