"""A model made smaller: quantised, pruned, in half precision; how far its answers move is measured before it is kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from medmm.card import with_compression
from medmm.device import choose_device
from medmm.disk import appearing
from medmm.ensemble import classifier_of
from medmm.errors import CohortError, MedmmError, ModelError, TaskError
from medmm.inference import Predictor
from medmm.model import Classifier
from medmm.model_folder import ModelFolder, load_model_folder, save_model_folder
from medmm.packed import Int8Linear, Packing, pack, unpack, with_int8_layers
from medmm.sources.cohort import Case, read_cohort
from medmm.sources.jail import read_ahead
from medmm.transforms.batch import Sample
from medmm.types import OnProgress

_WEIGHTS = "model.safetensors"
_SEEN = "split.csv"  # whom the weights saw, which is as true of the small model


@dataclass(frozen=True, slots=True)
class Compressed:
    """What a compression came to.

    Attributes:
        bytes_before, bytes_after: Of the file of weights.
        int8_layers: Linear layers that are computed with eight-bit weights.
        studies, failed: That both models answered; that could not be read.
        largest_change: Of any probability of any study from any subset of its modalities.
        changed_calls: Studies whose decision from all they have is another.
        time_ratio: Median over studies of the network's time after to that before.
    """

    bytes_before: int
    bytes_after: int
    int8_layers: int
    studies: int
    failed: int
    largest_change: float
    changed_calls: int
    time_ratio: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def compress(
    model: str | Path, out: str | Path, packing: Packing, check: str | Path, *,
    split: str | None = None, tolerance: float = 0.05, device: str = "cpu", on_progress: OnProgress = lambda *_: None,
) -> Compressed:  # fmt: skip
    """Write a smaller model folder, if its probabilities stay where they were on the studies of a cohort.

    Calibration and thresholds are kept, which `tolerance` justifies: no probability they give moved further. What was
    measured of the model before is not kept, as it is of other weights.

    Args:
        model: Model folder.
        out: New folder.
        packing: What is done.
        check: Cohort table whose studies both models answer; its labels are not looked at.
        split: Side of it; all when None.
        tolerance: Largest change of a probability.
        device: Where both are computed.
        on_progress: Told after each study.

    Raises:
        TaskError: If nothing is to be done.
        ModelError: If the model is unsound or small already, or a probability moves further.
        CohortError: If no study can be answered.
        StoreError: If there is something at `out`.
    """
    if packing == Packing():
        msg = "Expected something to do: int8, a share to prune, or float16 or bfloat16; got none of them."
        raise TaskError(msg)
    model, opened = Path(model), load_model_folder(model, choose_device(device))
    if opened.packing is not None:
        msg = "Expected a model as it was trained; this one was compressed before. Start from the original."
        raise ModelError(msg)
    cases = _cases(opened, check, split)
    with appearing(Path(out)) as folder:
        small = replace(opened, model=_packed(opened.model, packing), packing=packing)
        found = _compared(Predictor(opened), Predictor(small), cases, on_progress)
        if found["largest_change"] > tolerance:
            msg = (
                f"Expected probabilities within {tolerance:g} of the model's; one of {found['studies']} studies moved by "
                f"{found['largest_change']:.3f}. Compress less, or allow more with --tolerance."
            )
            raise ModelError(msg)
        _save(small, model, folder, found)
        before, after = ((place / _WEIGHTS).stat().st_size for place in (model, folder))
    return Compressed(before, after, **found)


def _packed(model: Classifier, packing: Packing) -> Classifier:
    """The same with the weights that a packed file gives back."""
    small = classifier_of(model.config)
    if packing.int8:
        with_int8_layers(small)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    small.load_state_dict(unpack(pack(state, packing), small.state_dict()))
    return small.to(model.device).eval()


def _cases(opened: ModelFolder, check: str | Path, split: str | None) -> list[Case]:
    config, table = opened.model.config, opened.preprocessor.tabular
    cohort = read_cohort(check, labels=config.labels, kind=config.kind, fields=() if table is None else table.fields)
    return [case for case in cohort.cases if split in (None, case.split)]


def _compared(large: Predictor, small: Predictor, cases: Sequence[Case], on_progress: OnProgress) -> dict[str, Any]:
    """What both say of every study that can be read."""
    changes: list[float] = []
    ratios: list[float] = []
    calls = 0
    for sample in _samples(large.folder, cases, on_progress):
        (before, slow), (after, fast) = _timed(large, sample), _timed(small, sample)
        pairs = [(before[p].probabilities, after[p].probabilities) for p in before]
        changes.append(max(abs(b[label] - a[label]) for b, a in pairs for label in b))
        calls += before[sample.modalities].called != after[sample.modalities].called
        ratios.append(fast / slow)
    if not changes:
        msg = f"Expected studies that the model can answer; none of {len(cases)} is one. Check paths and --split."
        raise CohortError(msg)
    layers = sum(isinstance(layer, Int8Linear) for layer in small.folder.model.modules())
    return {
        "int8_layers": layers, "studies": len(changes), "failed": len(cases) - len(changes), "largest_change": max(changes),
        "changed_calls": calls, "time_ratio": median(ratios),
    }  # fmt: skip


def _samples(opened: ModelFolder, cases: Sequence[Case], on_progress: OnProgress) -> Iterator[Sample]:
    with closing(read_ahead([case.reading(opened.preprocessor.modalities) for case in cases])) as studies:
        for done, (_, study) in enumerate(studies):
            on_progress("comparing", done + 1, len(cases))
            try:
                if not isinstance(study, MedmmError):
                    yield opened.preprocessor.prepare(study)[0]
            except MedmmError:
                continue  # counted by its absence


def _timed(predictor: Predictor, sample: Sample) -> tuple[Any, float]:
    start = time.perf_counter()
    return predictor.answers(sample), time.perf_counter() - start


def _save(small: ModelFolder, source: Path, folder: Path, found: dict[str, Any]) -> None:
    card = with_compression(small.card, list(_told(small, found)))
    save_model_folder(
        folder, small.model, small.preprocessor, small.calibrators, small.thresholds, card=card, prevalence=small.prevalence,
        packing=small.packing,
    )  # fmt: skip
    if (source / _SEEN).is_file():
        shutil.copyfile(source / _SEEN, folder / _SEEN)
    load_model_folder(folder, small.model.device)  # what was written gives what was compared


def _told(small: ModelFolder, found: dict[str, Any]) -> Iterable[str]:
    """Sentences for the card."""
    packing = small.packing or Packing()
    yield f"Made from the model `{small.digest[:12]}`:"
    if packing.pruned:
        yield f"the smallest {packing.pruned:.0%} of the {packing.pruned_by} of each large weight set to zero (magnitude pruning);"
    if packing.int8:
        yield f"large weights as 8-bit integers, {found['int8_layers']} linear layers computed with them (dynamic quantisation);"
    if packing.stored != "float32":
        yield f"other weights stored as {packing.stored}."
    yield (
        f"On {found['studies']} studies no probability of a label moved by more than {found['largest_change']:.2g} and "
        f"{found['changed_calls']} decisions changed, so calibration and thresholds are those of that model."
    )
