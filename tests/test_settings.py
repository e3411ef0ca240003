from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from medmm.settings import LIMITS


def test_limits_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(FrozenInstanceError):
        LIMITS.files = 1


def test_limits_leave_room_for_the_largest_ordinary_ct() -> None:
    assert LIMITS.voxels >= 512 * 512 * 1000
    assert LIMITS.spacing_mm[0] < 0.1 < 10 < LIMITS.spacing_mm[1]
    assert LIMITS.hu[0] < -1024 < 3071 < LIMITS.hu[1]
