"""Commands about privacy: take out of DICOM and notes what identifies a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from medmm.cli.apps import JsonOption, app
from medmm.cli.console import errors_as_json, print_json, progress
from medmm.errors import InputError


@app.command()
def deid(
    path: Annotated[Path, typer.Argument(help="DICOM folder, zip or file.")],
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
    key: Annotated[Path | None, typer.Option(help="Key file; one key gives one patient the same pseudonym in every run.")] = None,
    new_key: Annotated[Path | None, typer.Option(help="Make a key file first; guard it, it links pseudonyms to patients.")] = None,
    dates: Annotated[Literal["remove", "shift"], typer.Option(help="Remove dates, or shift a patient's all together.")] = "remove",
    keep_patient: Annotated[bool, typer.Option("--keep-patient", help="Keep sex, age up to 90, size and weight.")] = False,
    allow_burned_in: Annotated[bool, typer.Option("--allow-burned-in", help="Also write images that may show text.")] = False,
    note_file: Annotated[Path | None, typer.Option(help="Clinical text to scrub into OUT/note.txt.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write DICOM without what identifies its patient (PS3.15 Basic Profile). Faces and text in pixels stay."""
    with errors_as_json(as_json), progress() as on_progress:
        if key and new_key:
            msg = "Expected --key or --new-key; got both. Give one."
            raise InputError(msg)
        from medmm.deid.dataset import Deidentifier, Policy
        from medmm.deid.pseudonym import Pseudonyms, make_key, read_key
        from medmm.sources.privacy import deidentify
        from medmm.sources.text import read_note

        secret = make_key(new_key) if new_key else read_key(key) if key else None
        deidentifier = Deidentifier(Pseudonyms(secret), Policy(dates, keep_patient, allow_burned_in))
        note = read_note(note_file).text if note_file else None
        done = deidentify(path, out, deidentifier, note=note, on_progress=on_progress)
    if as_json:
        print_json(done.to_dict())
    else:
        for line in _lines(done):
            typer.echo(line)
    if done.refused:
        raise typer.Exit(3)


def _lines(done: Any) -> list[str]:
    lines = [f"{done.written} files written"]
    lines += [f"left out: {files} x {reason}" for reason, files in done.left_out]
    lines += [f"refused: {files} x {code}: {message}" for code, message, files in done.refused]
    if done.note is not None:
        lines.append("replaced in the note: " + (", ".join(f"{count} x {kind}" for kind, count in done.note) or "nothing found"))
    if done.heads:
        lines.append(f"{done.heads} slices show a head: a face can be rendered from them; it was not removed")
    return [*lines, "Headers follow DICOM PS3.15; nobody has looked at the pixels. Check before you share."]
