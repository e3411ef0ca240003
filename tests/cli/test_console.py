from __future__ import annotations

import os
import signal

import pytest
import typer

from medmm.cli.console import ProgressLines, exit_if_failed, spoken_once, stopping
from medmm.errors import TaskError


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left() -> None:
    now, lines = [0.0], []
    progress = ProgressLines(lines.append, lambda: now[0], every=30)
    for seconds, done in [(0, 100), (10, 110), (29.9, 129), (30, 130), (45, 145), (61, 170), (400, 500)]:
        now[0] = seconds
        progress("predicting", done, 500)
    assert lines == [
        "predicting: 130 of 500, 1 a second, 0:06:10 left",  # what an earlier start did is no speed
        "predicting: 170 of 500, 1.15 a second, 0:04:48 left",
        "predicting: 500 of 500",
    ]


def test_every_step_has_its_own_rate() -> None:
    now, lines = [0.0], []
    progress = ProgressLines(lines.append, lambda: now[0], every=1)
    progress("reading", 0, 2)
    now[0] = 10
    progress("predicting", 0, 4)
    now[0] = 12
    progress("predicting", 2, 4)
    progress("reading", 1, 2)
    assert lines == ["predicting: 2 of 4, 1 a second, 0:00:02 left", "reading: 1 of 2, 0.0833 a second, 0:00:12 left"]


def test_a_first_signal_asks_and_the_handlers_of_before_come_back(capsys) -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("own"))
    try:
        with stopping() as stop:
            assert not stop.event.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.event.is_set(), stop.signal, heard) == (True, signal.SIGTERM, [])
            os.kill(os.getpid(), signal.SIGTERM)  # the second is no longer ours
            assert heard == ["own"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["own", "own"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "once more stops at once" in capsys.readouterr().err


def test_of_several_processes_the_first_speaks_and_errors_are_heard_from_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @spoken_once()
    def command(failed: int) -> None:
        typer.echo("answer")
        typer.echo("progress", err=True)
        exit_if_failed(failed)

    for world, rank in (("1", "1"), ("2", "0")):  # a rank alone says nothing
        monkeypatch.setenv("WORLD_SIZE", world)
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(typer.Exit) as ended:
            command(1)
        assert ended.value.exit_code == 3
        assert capsys.readouterr() == ("answer\n", "progress\n1 studies failed; their reasons are in the run folder.\n")
    monkeypatch.setenv("RANK", "1")
    command(1)  # status 0: the launcher would end the first, which may still be writing
    assert capsys.readouterr() == ("", "")
    with pytest.raises(TaskError), spoken_once():
        raise TaskError("told by each")
