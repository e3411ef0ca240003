from __future__ import annotations

import re
from pathlib import Path

import pytest

from medmm.deid.pseudonym import Pseudonyms, make_key, read_key
from medmm.errors import InputError, NoImageError

KEY = b"0123456789abcdef"


def test_one_key_gives_one_answer_in_every_run_and_another_key_another() -> None:
    first, again, other = Pseudonyms(KEY), Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    for ask in (lambda p: p.uid("1.2.3"), lambda p: p.patient("MRN 1"), lambda p: p.days("MRN 1")):
        assert ask(first) == ask(again) != ask(other)
    assert Pseudonyms().uid("1.2.3") != Pseudonyms().uid("1.2.3")


def test_a_uid_is_valid_and_those_of_the_standard_stay() -> None:
    new = {Pseudonyms(KEY).uid(f"1.2.{i}") for i in range(1000)}
    assert len(new) == 1000
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid) for uid in new)
    assert Pseudonyms(KEY).uid("1.2.840.10008.1.4.1.1") == "1.2.840.10008.1.4.1.1"
    assert Pseudonyms(KEY).uid("") == Pseudonyms(KEY).patient("") == ""


def test_dates_move_back_by_one_day_to_ten_years() -> None:
    days = [Pseudonyms(KEY).days(f"patient {i}") for i in range(500)]
    assert -3650 <= min(days) < -3000
    assert -600 < max(days) <= -1


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    key = make_key(file)
    assert read_key(file) == key
    assert len(key) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="not there yet"):
        make_key(file)
    with pytest.raises(NoImageError, match="key file"):
        read_key(tmp_path / "none")
    with pytest.raises(InputError, match="at least 16 bytes; got 3"):
        Pseudonyms(b"abc")
