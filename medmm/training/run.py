"""What every run of training or pretraining keeps: whose folder it is, and its failures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from medmm.disk import replace_bytes
from medmm.encoders.speech import read_speech
from medmm.encoders.text import read_pretrained
from medmm.errors import MedmmError, StoreError, TaskError
from medmm.model import Config, Network, Side
from medmm.optional import require
from medmm.table import write_csv
from medmm.training.config import TrainConfig
from medmm.training.data import Failure
from medmm.training.trackers import require_tracker
from medmm.types import Modality

MIN_TRAIN = 8
"""Studies that weights are at least fitted on."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run of training or pretraining came to.

    Attributes:
        folder: The model folder, or the pretrained one.
        n_train, n_val: Studies used to fit weights, and to stop (of a classifier also to calibrate and choose thresholds).
        failures: Cases that could not be read.
        best_epochs: Epoch of the kept weights of each network, in the order of training; empty when an already finished run was
            found.
    """

    folder: Path
    n_train: int
    n_val: int
    failures: tuple[Failure, ...]
    best_epochs: tuple[int, ...]


def require_chosen(config: TrainConfig) -> None:
    """Refuse choices whose packages are not installed before anything is read.

    Raises:
        DependencyError: If so.
    """
    if config.peft:
        require("peft", "An adapter", "peft")
    require_tracker(config.tracker)


def claim_run(out: Path, record: str, identity: dict[str, Any]) -> None:
    """Make the run folder ours, or find that it already is.

    Args:
        out: Run folder.
        record: Name of the file that says whose it is.
        identity: What makes a run this run; of `config` every entry counts.

    Raises:
        StoreError: If it belongs to a run with other choices; names the first that differs.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError:
        msg = "Expected a run folder that can be written; it cannot. Give another --out."
        raise StoreError(msg) from None
    file = out / record
    wanted = json.loads(json.dumps(identity))
    if not file.exists():
        replace_bytes(file, (json.dumps(wanted, indent=2) + "\n").encode())
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    flat_found, flat_wanted = {**found, **found.get("config", {})}, {**wanted, **wanted["config"]}
    different = [k for k in flat_wanted if k != "config" and flat_found.get(k) != flat_wanted[k]]
    if different:
        msg = f"Expected a new or the same run; the run folder holds one with another {different[0]}. Give another --out."
        raise StoreError(msg)


def write_failures(out: Path, failures: Sequence[Failure]) -> None:
    """Of a run that goes on."""
    write_csv(out / "failures.csv", [f.name for f in fields(Failure)], map(asdict, failures))


def read_failures(out: Path) -> tuple[Failure, ...]:
    """Of a finished run."""
    with (out / "failures.csv").open(newline="", encoding="utf-8") as file:
        return tuple(Failure(**row) for row in csv.DictReader(file))


def built(build: Callable[[Config], Network], config: Config) -> Network:
    """The network of these choices.

    Raises:
        TaskError: If options fit no network.
    """
    try:
        return build(config)
    except MedmmError:
        raise
    except Exception as error:  # every layer refuses in its own way
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        msg = f"Expected encoders, a fusion and options that fit each other and the inputs; no network can be built: {why}"
        raise TaskError(msg) from None


def side_of(name: Modality, reader: Any, config: TrainConfig, start: Side[Any] | None = None) -> Side[Any]:
    """How a network reads a modality by these choices.

    Args:
        name: Of the modality.
        reader: Its recipe or tokenizer.
        config: Choices.
        start: The pretrained side it starts from, whose options hold when no others are stated.

    Raises:
        TaskError: If another encoder is chosen than the pretrained one.
    """
    encoder, options = config.encoder(name), dict(config.encoder_options.get(name, start.options if start else {}))
    if name == "text" and config.text_source is not None:
        options["config"] = read_pretrained(config.text_source)[1]
    if name == "audio" and config.audio_source is not None:
        options["config"] = read_speech(config.audio_source)
    if start is not None and encoder != start.encoder:
        msg = f"Expected the encoder of {name} that init holds, {start.encoder}; got {encoder}. Set {name}_encoder={start.encoder}."
        raise TaskError(msg)
    return Side(reader.recipe if name == "text" else reader, encoder, options)
