"""Commands about spoken notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medmm.cli.apps import DeviceOption, JsonOption, app
from medmm.cli.console import errors_as_json, exit_if_failed, print_json, progress
from medmm.errors import InputError

if TYPE_CHECKING:
    from medmm.study import Note, Study

_TABLES = (".csv", ".parquet", ".jsonl")


@app.command()
def transcribe(
    target: Annotated[Path, typer.Argument(help="WAV or FLAC, or a cohort table with a column audio.")],
    asr: Annotated[str, typer.Option("--asr", help="Hugging Face speech recogniser: folder or hub name.")],
    out: Annotated[Path | None, typer.Option("--out", help="Table to write, for a cohort.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write down what was dictated, with how sure the recogniser was; a cohort gets its notes from its recordings."""
    from medmm.device import choose_device
    from medmm.dictation import Recogniser

    with errors_as_json(as_json):
        if (target.suffix.lower() in _TABLES) != (out is not None):
            msg = "Expected --out with a cohort table, and none with a recording. Name the table to write, or leave it out."
            raise InputError(msg)
        recogniser = Recogniser(asr, str(choose_device(device)))
        if out is None:
            from medmm.sources.audio import read_recording

            heard = recogniser.transcribe(read_recording(target))
            if as_json:
                print_json({"text": heard.text, "confidence": round(heard.confidence, 4), "seconds": round(heard.seconds, 1)})
            else:
                typer.echo(heard.text)
            return
    from medmm.dictation import transcribe_cohort

    with progress() as on_progress:
        written, failed = transcribe_cohort(target, out, recogniser, on_progress)
    typer.echo(f"{written} notes written down.", err=True)
    exit_if_failed(failed)


def dictated(study: Study, asr: str, device: str) -> Note | None:
    """The note of a study, or what its recording says when it has none.

    Raises:
        InputError: If there is no recording.
    """
    from medmm.device import choose_device
    from medmm.dictation import Recogniser

    if study.note:
        return study.note
    if study.recording is None:
        msg = "Expected --audio with --asr; got no recording. Give one, or leave --asr out."
        raise InputError(msg)
    return Recogniser(asr, str(choose_device(device))).transcribe(study.recording).note
