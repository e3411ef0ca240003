"""The folder: page, package, models and examples, checked, and there as a whole or not at all.

README.md           header for the Hub, disclaimer, attributions
app.py              what the Space starts
requirements.txt    versions that run together
medmm/              the package, with the chosen models and examples
bundle.json         sha256 of all other files: what was checked is what is pushed
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medmm.device import choose_device
from medmm.disk import appearing, replace_bytes, sha256_of
from medmm.errors import CohortError
from medmm.model_folder import load_model_folder
from medmm.shelf import Example, example_cohort, examples, find_model, model_names
from medmm.space import front
from medmm.space.checks import check_example, check_licence, check_size, files_of
from medmm.space.package import copy_package
from medmm.space.pins import requirements
from medmm.table import read_rows
from medmm.weights import MANIFEST

DIGESTS = "bundle.json"


@dataclass(frozen=True, slots=True)
class Built:
    """What `build` wrote.

    Attributes:
        models: Names of the models in it.
        examples: How many example studies.
        files, bytes: Number and size of all files.
    """

    models: tuple[str, ...]
    examples: int
    files: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def build(out: Path, model: str | None = None, *, zero_gpu: bool = False) -> Built:
    """Write a folder that runs as a Gradio Space.

    Args:
        out: New or empty folder.
        model: Name of a shipped model, or a model folder; all shipped ones when None.
        zero_gpu: For a Space that is lent a GPU for each answer.

    Raises:
        ModelError: If a model folder is incomplete, altered or unsound.
        LicenceError: If a model or an example may not be passed on.
        PhiError: If an example names somebody.
        TooLargeError: If it would be more than a Space takes.
        StoreError: If `out` holds something or cannot be written.
    """
    folders = [find_model(name) for name in ([model] if model else model_names())]
    models = [_checked(folder) for folder in folders]
    chosen = _made_for([m.name for m in models])
    for example in chosen:
        check_example(example)
    with appearing(out) as bundle:
        copy_package(bundle)
        assets = bundle / "medmm" / "assets"
        for folder, shipped in zip(folders, models, strict=True):
            _copy_model(folder, assets / "models" / shipped.name)
        _write_examples(chosen, assets / "examples")
        only = models[0].name if model else None
        _write(bundle / "app.py", front.app(only, zero_gpu=zero_gpu))
        _write(bundle / "README.md", front.readme(models, chosen))
        _write(bundle / "requirements.txt", requirements(zero_gpu=zero_gpu))
        _write(bundle / ".gitattributes", front.LARGE_FILES)
        _write(bundle / DIGESTS, json.dumps(digests(bundle), indent=1) + "\n")
        files, size = check_size(bundle)
    return Built(tuple(m.name for m in models), len(chosen), files, size)


def digests(bundle: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle but the list itself, by its path within."""
    files = [file for file in files_of(bundle) if file != bundle / DIGESTS]
    return {file.relative_to(bundle).as_posix(): sha256_of(file) for file in files}


def _checked(folder: Path) -> front.Shipped:
    """A model that opens, reproduces its golden output and may be passed on."""
    opened = load_model_folder(folder, choose_device("cpu"))
    return front.Shipped(opened.name, check_licence(opened.card), opened.card)


def _made_for(names: Sequence[str]) -> list[Example]:
    """The shipped examples made for these models; all of them when none is."""
    return [example for example in examples() if example.model in names] or examples()


def _copy_model(folder: Path, out: Path) -> None:
    """Only what the manifest lists: a training run leaves more beside it, such as who is in which split."""
    out.mkdir(parents=True)
    for name in (MANIFEST, *json.loads((folder / MANIFEST).read_bytes())):
        shutil.copyfile(folder / name, out / name)


def _write_examples(chosen: Sequence[Example], folder: Path) -> None:
    folder.mkdir(parents=True)
    for example in chosen:
        shutil.copyfile(example.path, folder / example.path.name)
    entries = [asdict(example) | {"path": example.path.name} for example in chosen]
    _write(folder / "examples.json", json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    table, shipped = example_cohort(), {example.path.name for example in chosen}
    if table is not None and {row["image"] for row in read_rows(table, CohortError)} <= shipped:
        shutil.copyfile(table, folder / table.name)
    licence = chosen[0].path.with_name("LICENSE.md") if chosen else None
    if licence is not None and licence.is_file():
        shutil.copyfile(licence, folder / licence.name)


def _write(path: Path, text: str) -> None:
    replace_bytes(path, text.encode())
