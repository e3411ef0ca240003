"""A pretrained folder: encoders with everything that gives them meaning, checked when it is opened.

pretraining.json     architecture, preprocessing, objectives, cohort digest, every choice, what each epoch came to
weights.safetensors  weights of the encoders and of the objectives' heads
tokenizer.json       note tokenizer, when notes are read
split.csv            which patients were seen, so that nobody is measured on them unawares
sha256.json          digests of all of these
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from medmm.disk import replace_bytes
from medmm.encoders.volumes import OverVolumes
from medmm.errors import ModelError, TaskError
from medmm.model import MultimodalClassifier, network_of
from medmm.pretrained.config import PretrainedConfig
from medmm.pretrained.network import PretrainedNetwork
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer
from medmm.types import MODALITIES, Modality
from medmm.weights import check_manifest, load_weights, save_weights, write_manifest

FORMAT = 1
_REQUIRED = {"pretraining.json", "weights.safetensors", "split.csv"}
_OPTIONAL = {"tokenizer.json"}


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """An opened pretrained folder.

    Attributes:
        network: In evaluation mode.
        preprocessor: Recipe of its inputs.
        patients: Who was seen.
        about: What `pretraining.json` says.
        digest: SHA-256 of the manifest: the identity of these weights.
    """

    network: PretrainedNetwork
    preprocessor: Preprocessor
    patients: frozenset[str]
    about: dict[str, Any]
    digest: str

    def reading(self, planned: Preprocessor) -> Preprocessor:
        """What was planned for a cohort, with the recipes and the tokenizer these encoders know.

        How many images of a study and which sections of a note are read stays as planned.

        Raises:
            TaskError: If the cohort has nothing that they read.
        """
        known: dict[str, Any] = {name: reader for name, reader in self.preprocessor.readers.items() if name in planned.readers}
        if not known:
            msg = f"Expected training cases with {' or '.join(self.preprocessor.readers)}, which init reads; there are none."
            raise TaskError(msg)
        if self.preprocessor.image is not None and planned.image is not None:
            known["image"] = replace(self.preprocessor.image, volumes=planned.image.volumes)
        if self.preprocessor.text is not None and planned.text is not None:
            recipe = replace(self.preprocessor.text.recipe, sections=planned.text.sections)
            known["text"] = NoteTokenizer.from_json(self.preprocessor.text.to_json(), recipe)
        return replace(planned, **known)

    def start(self, model: MultimodalClassifier) -> None:
        """Give a classifier's encoders these weights; those of modalities that were not pretrained stay as they are.

        Raises:
            TaskError: If an encoder is of another make.
        """
        for name in self.shared(model.config.modalities):
            _fill(model.encoders[name], self.network.encoders[name], name)

    def shared(self, modalities: Sequence[Modality]) -> list[Modality]:
        """Those whose encoders are here."""
        return [name for name in modalities if name in self.network.encoders]

    def told(self, modalities: Sequence[Modality]) -> str:
        """What of a classifier of these modalities started here and what did not, as a sentence for its card."""
        loaded = self.shared(modalities)
        fresh = [name for name in modalities if name not in loaded]
        unused = [name for name in self.network.encoders if name not in loaded]
        opened = self.about.get("opened")
        origin = (
            f"published as {opened['name']}, licence {opened['licence']}" if opened else ", ".join(self.network.config.objectives)
        )
        words = f"The encoders of {' and '.join(loaded)} started from pretrained weights `{self.digest[:12]}` "
        words += f"({origin}); fusion and heads started at random"
        words += f", so did the encoders of {' and '.join(fresh)}" if fresh else ""
        return words + (f"; pretrained but not used: {' and '.join(unused)}." if unused else ".")


def save_pretrained(folder: Path, network: PretrainedNetwork, preprocessor: Preprocessor, about: dict[str, Any]) -> None:
    """Write a pretrained folder beside its `split.csv`; the manifest comes last, so an interrupted write is not one."""
    save_weights(network, folder / "weights.safetensors")
    content = {"format": FORMAT, "network": network.config.to_dict(), **about}
    replace_bytes(folder / "pretraining.json", (json.dumps(content, indent=2) + "\n").encode())
    if preprocessor.text is not None:
        replace_bytes(folder / "tokenizer.json", preprocessor.text.to_json().encode())
    write_manifest(folder, [name for name in _REQUIRED | _OPTIONAL if (folder / name).exists()])


def load_pretrained(folder: str | Path, device: torch.device) -> Pretrained:
    """Open a pretrained folder, refusing anything incomplete, altered or unsound.

    Raises:
        ModelError: With the reason.
    """
    folder = Path(folder)
    if not (folder / "pretraining.json").is_file():
        msg = "Expected a folder written by `medmm pretrain`; it holds no pretraining.json. Is pretraining finished?"
        raise ModelError(msg)
    digest = check_manifest(folder, _REQUIRED, _OPTIONAL)
    about = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    if about.get("format") != FORMAT:
        msg = f"Expected pretrained folder format {FORMAT}; got {about.get('format')!r}. Use the medmm version that wrote it."
        raise ModelError(msg)
    network = network_of(PretrainedNetwork, PretrainedConfig.from_dict(about["network"]))
    load_weights(network, folder / "weights.safetensors")
    with (folder / "split.csv").open(newline="", encoding="utf-8") as file:
        patients = frozenset(row["patient_id"] for row in csv.DictReader(file) if row["split"] != "test")
    preprocessor = _read_preprocessor(folder, network.config)
    return Pretrained(network.to(device).eval(), preprocessor, patients, about, digest)


def read_by(folder: str | Path) -> frozenset[Modality]:
    """What the encoders of a pretrained folder read; nothing where it is none, of which opening it tells."""
    try:
        network = json.loads((Path(folder) / "pretraining.json").read_text(encoding="utf-8"))["network"]
        return frozenset(name for name in MODALITIES if network.get(name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def _read_preprocessor(folder: Path, config: PretrainedConfig) -> Preprocessor:
    readers: dict[str, Any] = {name: side.recipe for name, side in config.sides.items()}
    if config.text is not None:
        content = (folder / "tokenizer.json").read_text(encoding="utf-8")
        readers["text"] = NoteTokenizer.from_json(content, config.text.recipe)
    return Preprocessor(**readers)


def _fill(target: Any, source: Any, name: Modality) -> None:
    """Weights of one encoder to another; only one of them may pool over several images."""
    if isinstance(source, OverVolumes) and not isinstance(target, OverVolumes):
        source = source.encoder
    elif isinstance(target, OverVolumes) and not isinstance(source, OverVolumes):
        target = target.encoder
    given, wanted = source.state_dict(), target.state_dict()
    shapes = [{key: tensor.shape for key, tensor in state.items()} for state in (given, wanted)]
    different = sorted({key for key, _ in shapes[0].items() ^ shapes[1].items()})
    if different:
        msg = (
            f"Expected the encoder of {name} to be the pretrained one; {len(different)} of its {len(wanted)} tensors differ, "
            f"first {different[0]}. Choose {name}_encoder and encoder_options as in pretraining.json."
        )
        raise TaskError(msg)
    target.load_state_dict(given)
