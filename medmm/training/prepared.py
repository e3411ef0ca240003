"""Images and recordings of cases, prepared once and kept in a folder that several runs may share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medmm.disk import replace_bytes
from medmm.sources.cohort import Case
from medmm.sources.opener import Opener
from medmm.study import Study
from medmm.transforms.batch import Preprocessor, Sample, Tensors
from medmm.types import Modality

_HEAVY: tuple[Modality, ...] = ("image", "audio")  # too large to hold in memory


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case, and the place of its images and recording.

    Attributes:
        case: What to read.
        file: Where they are kept; there once `keep` has met them.
        preprocessor: Recipe.
    """

    case: Case
    file: Path
    preprocessor: Preprocessor

    def open(self, opener: Opener) -> Study:
        """Read what the model reads and is not kept; raises what `Case.open` raises."""
        case = self.case.reading(() if self.file.exists() else self.preprocessor.modalities)
        return case.open(opener)

    def keep(self, study: Study) -> Sample:
        """What `open` read without its images and recording, which are kept.

        Raises:
            InputError: What `Preprocessor.prepare` raises.
        """
        nothing_else = self.file.exists() and not study.modalities & self.preprocessor.modalities
        sample = Sample({}) if nothing_else else self.preprocessor.prepare(study)[0]
        heavy = {name: tensors for name, tensors in sample.inputs.items() if name in _HEAVY}
        if heavy:
            if study.volumes and "image" in heavy:
                replace_bytes(self._digest, study.volumes[0].sha256().encode())
            _store(self.file, heavy)
        return replace(sample, inputs={name: tensors for name, tensors in sample.inputs.items() if name not in _HEAVY})

    def whole(self, sample: Sample) -> Sample:
        """A sample that `keep` returned, with what is kept."""
        return replace(sample, inputs={**_load(self.file), **sample.inputs}) if self.file.exists() else sample

    def image_sha256(self) -> str:
        """Digest of the image that is kept, empty without one."""
        return self._digest.read_text(encoding="ascii") if self._digest.exists() else ""

    @property
    def _digest(self) -> Path:
        return self.file.with_suffix(".sha256")


def prepared_in(cache: Path, cases: Sequence[Case], preprocessor: Preprocessor) -> list[Prepared]:
    """Cases with their places in a folder of `cache` that these cases, prepared like this, have for themselves; it is made."""
    named = f"{preprocessor.image} {preprocessor.audio} {[case.study_id for case in cases]}"
    folder = cache / hashlib.sha256(named.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return [Prepared(case, folder / f"{_contents_of(case)}.safetensors", preprocessor) for case in cases]


def _contents_of(case: Case) -> str:
    """Name of what is kept of a case: cases with the same images and recording share it."""
    return hashlib.sha256(repr((case.images, case.series, case.repair, case.audio)).encode()).hexdigest()


def _store(file: Path, inputs: dict[Modality, Tensors]) -> None:
    from safetensors.torch import save_file

    partial = file.with_suffix(".partial")
    save_file({f"{name}.{i}": t.contiguous() for name, tensors in inputs.items() for i, t in enumerate(tensors)}, partial)
    partial.replace(file)


def _load(file: Path) -> dict[Modality, Tensors]:
    from safetensors.torch import load_file

    stored = load_file(file)
    found: dict[Modality, Tensors] = {}
    for name in _HEAVY:
        if keys := sorted(key for key in stored if key.startswith(f"{name}.")):
            found[name] = tuple(stored[key] for key in keys)
    return found
