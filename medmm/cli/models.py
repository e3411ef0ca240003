"""`medmm models`: what ships."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import JsonOption, models_app
from medmm.cli.console import print_json
from medmm.errors import ModelError
from medmm.prediction import DISCLAIMER


@models_app.command("ls")
def models_ls(
    as_json: JsonOption = False,
    encoders: Annotated[bool, typer.Option("--encoders", help="The open CT encoders instead: what their weights expect.")] = False,
) -> None:
    """List the shipped models, or the open encoders whose weights can be used."""
    if encoders:
        _list_encoders(as_json)
        return
    from medmm.shelf import model_names

    names = model_names()
    if as_json:
        print_json(names)
    else:
        typer.echo("\n".join(names))
        typer.echo("Open CT encoders, and what was verified of them: medmm models ls --encoders", err=True)


def _list_encoders(as_json: bool) -> None:
    from medmm.encoders.opened import CONTRACTS

    if as_json:
        print_json([contract.to_dict() for contract in CONTRACTS.values()])
        return
    for contract in CONTRACTS.values():
        recipe = contract.recipe
        grid = f"{' x '.join(map(str, recipe.shape))} voxels of {' x '.join(f'{s:g}' for s in recipe.spacing)} mm along R, A, S"
        low, high = recipe.windows[0]
        values = f"{low:g} to {high:g} HU as {contract.scale[0]:g} to {contract.scale[1]:g}"
        typer.echo(f"{contract.name}: {grid}; {values}; axes {contract.axes}")
        for what, published in (("weights", contract.weights), ("text", contract.text)):
            typer.echo(
                f"  {what}: {published.page}; licence: {published.licence}; revision: {published.revision or 'not published'}"
            )
        typer.echo(f"  verified: {contract.verified}")


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="Name of a shipped model, or a model folder.")]) -> None:
    """Print a model's card."""
    from medmm.shelf import find_model

    try:
        card = (find_model(name) / "card.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        msg = "Expected a model folder with a card.md; there is none that can be read."
        raise ModelError(msg) from None
    typer.echo(card)


@models_app.command("open")
def models_open(
    name: Annotated[str, typer.Argument(help="Of `medmm models ls --encoders`.")],
    weights: Annotated[Path, typer.Argument(help="Published file of weights, .pt or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="New pretrained folder.")],
    text: Annotated[Path, typer.Option(help="Published folder of its text encoder: config.json and tokenizer.")],
    revision: Annotated[str | None, typer.Option(help="Of the weights, to record.")] = None,
) -> None:
    """Make published weights a pretrained folder, for zeroshot, fewshot, eval retrieval and train --init."""
    from medmm.encoders.opened import CONTRACTS
    from medmm.pretrained.opened import open_published

    open_published(name, weights, text, out, revision=revision)
    typer.echo(
        f"Written; licence of the weights: {CONTRACTS[name].weights.licence}. Whom they saw in training is not known here: they"
    )
    typer.echo(f"may know your patients, if those are in a public collection. {DISCLAIMER}")


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="Of `medmm models ls --encoders`.")],
    out: Annotated[Path, typer.Argument(help="Folder to download to.")],
    revision: Annotated[str | None, typer.Option(help="Commit of the weights, where the contract names none.")] = None,
    text_revision: Annotated[str | None, typer.Option(help="Commit of the text encoder's tokenizer, likewise.")] = None,
    accept: Annotated[bool, typer.Option("--accept-licence", help="You accept the licences; without, you are asked.")] = False,
) -> None:
    """Download published weights from the Hub at one commit, once their licence and terms were shown and accepted."""
    from medmm.pretrained.pull import plan_pull, pull

    pulls = plan_pull(name, revision, text_revision)
    for each in pulls:
        typer.echo(f"{each.published.repo} at {each.revision}: {', '.join(each.published.files)}")
        typer.echo(f"  licence: {each.published.licence}; terms: {each.published.page}")
    accepted = accept or (sys.stdin.isatty() and typer.confirm("Do you accept these licences and terms?"))
    files = pull(name, pulls, out, accepted=accepted)
    weights = out / files[0].relative_to(out.resolve())
    typer.echo(f"{len(files)} files. Next: medmm models open {name} {weights} NEW_FOLDER --text {out / 'text'}")
    typer.echo(f"Only what is in the terms is allowed. {DISCLAIMER}")
