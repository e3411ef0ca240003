"""`medmm space`: a folder that runs as a hosted page, and the way to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import JsonOption, ModelOption, app
from medmm.cli.console import errors_as_json, print_json

space_app = typer.Typer(no_args_is_help=True, help="The page as a Hugging Face Space.")
app.add_typer(space_app, name="space")


@space_app.command("build")
def space_build(
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
    model: ModelOption = None,
    zero_gpu: Annotated[bool, typer.Option("--zero-gpu", help="For a Space that is lent a GPU for each answer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a folder that runs as a Gradio Space as it is: page, package, models, examples, all checked."""
    with errors_as_json(as_json):
        from medmm.space.build import build

        built = build(out, model, zero_gpu=zero_gpu)
    if as_json:
        print_json(built.to_dict())
        return
    typer.echo(f"{built.files} files, {built.bytes / 1e6:.1f} MB: models {', '.join(built.models)}; {built.examples} examples")
    typer.echo("Try it: install its requirements.txt, run its app.py. Then: medmm space push USER/NAME --bundle " + out.name)


@space_app.command("push")
def space_push(
    space: Annotated[str, typer.Argument(help="USER/NAME on the Hub.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="Folder that medmm space build wrote.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a Space that is new; private otherwise.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create the Space and upload the bundle, with the token in HF_TOKEN. Says only what it would do, unless --yes."""
    with errors_as_json(as_json):
        from medmm.space.push import plan, push

        planned = plan(bundle, space, private=not public)
        url = push(bundle, planned) if yes else None
    if as_json:
        print_json({**planned.to_dict(), "url": url})
        return
    for name, size in planned.files:
        typer.echo(f"{size:>12,}  {name}")
    total = sum(size for _, size in planned.files)
    typer.echo(f"{len(planned.files)} files, {total / 1e6:.1f} MB, Space {space}, {'public' if public else 'private'} when new")
    typer.echo(f"Pushed: {url}" if url else "Nothing was sent. --yes does it.")
