"""Commands about a PACS: find a study, pull it into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from medmm.cli.apps import JsonOption, OutOption, app
from medmm.cli.console import errors_as_json, print_json
from medmm.errors import InputError

Kind: TypeAlias = Literal["dicomweb", "dimse"]

find_app = typer.Typer(no_args_is_help=True, help="List studies of a PACS.")
pull_app = typer.Typer(no_args_is_help=True, help="Fetch one study from a PACS into a folder.")
app.add_typer(find_app, name="find")
app.add_typer(pull_app, name="pull")

UrlArgument = Annotated[str, typer.Argument(help="Root of the DICOMweb service; credentials come from MEDMM_PACS_* variables.")]
NodeArgument = Annotated[str, typer.Argument(help="HOST:PORT of the DICOM node.")]
CalledOption = Annotated[str, typer.Option("--aet", help="The node's application entity title.")]
CallingOption = Annotated[str, typer.Option("--calling", help="Our application entity title, as the node knows it.")]
StudyOption = Annotated[str, typer.Option("--study", help="StudyInstanceUID.")]
SecondsOption = Annotated[float, typer.Option(min=1, help="Time for all of it.")]
PatientOption = Annotated[str, typer.Option("--patient", help="PatientID.")]
AccessionOption = Annotated[str, typer.Option("--accession", help="AccessionNumber.")]
DateOption = Annotated[str, typer.Option("--date", help="StudyDate: 20210131 or 20210101-20210131.")]
ModalityOption = Annotated[str, typer.Option("--modality", help="A modality the study holds.")]
LimitOption = Annotated[int, typer.Option(min=1, help="List at most so many.")]


@find_app.command("dicomweb")
def find_dicomweb(
    url: UrlArgument,
    patient: PatientOption = "",
    accession: AccessionOption = "",
    date: DateOption = "",
    modality: ModalityOption = "",
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Over DICOMweb (QIDO-RS)."""
    with errors_as_json(as_json):
        _find("dicomweb", {"url": url}, (patient, accession, date, modality), limit, as_json)


@find_app.command("dimse")
def find_dimse(
    node: NodeArgument,
    called: CalledOption,
    calling: CallingOption = "MEDMM",
    patient: PatientOption = "",
    accession: AccessionOption = "",
    date: DateOption = "",
    modality: ModalityOption = "",
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Over DIMSE (C-FIND)."""
    with errors_as_json(as_json):
        settings = {**_node(node), "called": called, "calling": calling}
        _find("dimse", settings, (patient, accession, date, modality), limit, as_json)


@pull_app.command("dicomweb")
def pull_dicomweb(
    url: UrlArgument, study: StudyOption, out: OutOption, seconds: SecondsOption = 600, as_json: JsonOption = False
) -> None:
    """Over DICOMweb (WADO-RS)."""
    with errors_as_json(as_json):
        _pull("dicomweb", {"url": url, "seconds": seconds}, study, out, seconds, as_json)


@pull_app.command("dimse")
def pull_dimse(
    node: NodeArgument,
    called: CalledOption,
    study: StudyOption,
    out: OutOption,
    calling: CallingOption = "MEDMM",
    move: Annotated[
        int | None, typer.Option(help="Fetch by C-MOVE to this port of ours instead of C-GET.", min=1, max=65535)
    ] = None,
    host: Annotated[str, typer.Option(help="Address of ours that --move listens on.")] = "127.0.0.1",
    seconds: SecondsOption = 600,
    as_json: JsonOption = False,
) -> None:
    """Over DIMSE (C-GET, or C-MOVE with --move)."""
    with errors_as_json(as_json):
        settings = {**_node(node), "called": called, "calling": calling, "move_port": move, "move_host": host}
        _pull("dimse", settings, study, out, seconds, as_json)


def _find(kind: Kind, settings: dict[str, Any], terms: tuple[str, str, str, str], limit: int, as_json: bool) -> None:
    from medmm.sources.pacs.apart import Service, find
    from medmm.sources.pacs.pull import Query

    studies = find(Service(kind, settings), Query(*terms), limit)
    if as_json:
        print_json([study.to_dict() for study in studies])
        return
    for study in studies:
        count = "" if study.instances is None else f"{study.instances} instances"
        typer.echo("  ".join(filter(None, [study.uid, study.date, "/".join(study.modalities), count, study.description])))
    typer.echo(f"{len(studies)} studies{' (there may be more: --limit)' if len(studies) == limit else ''}", err=True)


def _pull(kind: Kind, settings: dict[str, Any], study: str, out: Path, seconds: float, as_json: bool) -> None:
    from medmm.sources.pacs.apart import Service, pull

    pulled = pull(Service(kind, settings), study, out, seconds=seconds)
    if as_json:
        print_json(pulled.to_dict())
    else:
        typer.echo(f"{pulled.instances} instances, {pulled.bytes:,} bytes")
        typer.echo("They identify their patient: medmm deid removes what headers say.")


def _node(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        msg = "Expected HOST:PORT, as in pacs.example.org:11112; got something else."
        raise InputError(msg)
    return {"host": host, "port": int(port)}
