"""Everything that can be chosen of a run, read off `TrainConfig` and the registries, so that none is forgotten."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from medmm.encoders import ENCODERS
from medmm.fusion import FUSIONS
from medmm.training.config import TrainConfig

_WIDTH = 120
_LONGEST = 60  # characters of a default that are shown
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One key.

    Attributes:
        key: As `--set` takes it.
        takes: Its values, in words.
        default: As JSON text.
        about: What it is.
    """

    key: str
    takes: str
    default: str
    about: str


def choices() -> list[Choice]:
    """Every key of a configuration, those within records too."""
    return list(_choices_of(TrainConfig, "", _registered()))


def encoder_options() -> dict[str, str]:
    """Options with their defaults, as JSON text, of every encoder, named `modality.encoder`."""
    return {f"{modality}.{name}": _options(part) for modality, registry in ENCODERS.items() for name, part in registry.working()}


def fusion_options() -> dict[str, str]:
    """Options with their defaults, as JSON text, of every fusion layer that has any."""
    return {name: options for name, part in FUSIONS.working() if (options := _options(part))}


def _options(part: Any) -> str:
    """Arguments that need not be given."""
    stated = [p for p in inspect.signature(part).parameters.values() if p.default is not p.empty]
    return ", ".join(f"{p.name}={json.dumps(p.default, default=str)}" for p in stated)


def render() -> str:
    """All of it as text."""
    lines = ["Every choice with its default, for --set KEY=VALUE or a file of --config; values are JSON.", ""]
    for choice in choices():
        lines += [f"{choice.key} = {choice.default}", *_indented(choice.takes), *_indented(choice.about)]
    lines += ["", "Options of encoders: --set encoder_options.MODALITY.OPTION=VALUE", ""]
    for name, stated in encoder_options().items():
        lines += [name, *_indented(stated or "none")]
    lines += ["", "Options of fusion layers: --set fusion_options.FUSION.OPTION=VALUE", ""]
    for name, stated in fusion_options().items():
        lines += [name, *_indented(stated)]
    return "\n".join(lines)


def _registered() -> dict[str, str]:
    """Keys whose values are names in a registry."""
    names = {"fusion": FUSIONS} | {f"{modality}_encoder": registry for modality, registry in ENCODERS.items()}
    return {key: " | ".join(registry) for key, registry in names.items()}


def _choices_of(record: type[Any], prefix: str, registered: Mapping[str, str]) -> Iterator[Choice]:
    hints, about = get_type_hints(record, include_extras=True), _about(record)
    for entry in fields(record):
        hint, key = hints[entry.name], f"{prefix}{entry.name}"
        within, step = _record_in(hint)
        if within is not hint:
            yield Choice(key, registered.get(key) or _takes(hint), _default(entry), about.get(entry.name, ""))
        if within is not None:
            yield from _choices_of(within, f"{key}{step}", {})


def _record_in(hint: Any) -> tuple[type[Any] | None, str]:
    """The record that a key holds, by itself, by modality or in a list, and what leads from the key to its own keys."""
    within = get_args(hint)
    value, step = {dict: (within[-1:], ".MODALITY."), tuple: (within[:1], "[]."), None: ((hint,), ".")}.get(
        get_origin(hint), ((None,), "")
    )
    return (value[0], step) if isinstance(value[0], type) and is_dataclass(value[0]) else (None, "")


def _default(entry: Field[Any]) -> str:
    if entry.default_factory is not MISSING:
        value = entry.default_factory()
    elif entry.default is not MISSING:
        value = entry.default
    else:
        return "(must be stated)"
    text = json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _takes(hint: Any) -> str:
    """Values of a type, in words."""
    origin, within = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_takes(within[0])}{_bounds(within[1:])}"
    if origin is Literal:
        return " | ".join(word or '""' for word in within)
    if origin in (Union, UnionType):
        return " | ".join("null" if part is NoneType else _takes(part) for part in within)
    if origin is tuple:
        return f"list of {_takes(within[0])}" if within[-1] is Ellipsis else f"[{', '.join(map(_takes, within))}]"
    if origin is dict:
        return f"{{{_takes(within[0])}: {_takes(within[1])}}}"
    return {bool: "true | false", int: "whole number", float: "number", str: "text", Any: "value"}.get(hint, "record")


def _bounds(constraints: tuple[Any, ...]) -> str:
    stated = [part for constraint in constraints for part in getattr(constraint, "metadata", ())]
    found = [f"{sign} {getattr(part, name):g}" for part in stated for name, sign in _SIGNS.items() if hasattr(part, name)]
    return f" {' and '.join(found)}" if found else ""


def _about(record: type[Any]) -> dict[str, str]:
    """What the docstring of a record says of each of its attributes."""
    text = (inspect.getdoc(record) or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    for names, words in re.findall(r"^    ([\w, ]+): (.+(?:\n        .+)*)", text, flags=re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(words.split()))
    return found


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
