"""`medmm pretrain`: encoders that learn from a cohort without its labels, resumable after a kill at any moment."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import medmm
from medmm.device import choose_device
from medmm.encoders.volumes import own_encoder
from medmm.errors import CohortError, TaskError
from medmm.pretrained import OBJECTIVES
from medmm.pretrained.config import PretrainedConfig
from medmm.pretrained.folder import save_pretrained
from medmm.pretrained.network import PretrainedNetwork
from medmm.sources.cohort import Case, read_cohort
from medmm.table import write_csv
from medmm.training.config import TrainConfig, checked
from medmm.training.data import CachedSamples, Failure, cache_samples, plan_preprocessing
from medmm.training.examples import Varied
from medmm.training.partners import Use, refuse_idle, warn_of_idle
from medmm.training.processes import Together
from medmm.training.run import MIN_TRAIN, RunResult, built, claim_run, read_failures, require_chosen, side_of, write_failures
from medmm.training.split import split_unlabelled
from medmm.training.trackers import tracked
from medmm.training.trainer import Progress, Standing, Trainer
from medmm.transforms.batch import Preprocessor, Sample
from medmm.types import MODALITIES, Modality, OnProgress
from medmm.weights import MANIFEST


@dataclass(frozen=True, slots=True)
class Aims:
    """What pretraining minimises.

    Attributes:
        objectives: Weight of the loss of each.
        image_masked: Share of patches of an image that are hidden.
        mask_patch: Voxels along each axis of a patch.
        text_masked: Share of tokens of a note that are hidden.
    """

    objectives: dict[str, float]
    image_masked: float = 0.6
    mask_patch: int = 8
    text_masked: float = 0.15

    def __post_init__(self) -> None:
        if not self.objectives or not all(0 < weight < math.inf for weight in self.objectives.values()):
            msg = f"Expected objectives of {', '.join(OBJECTIVES)} with weights above 0; got none, or one without weight."
            raise TaskError(msg)
        if not (0 < self.image_masked < 1 and 0 < self.text_masked < 1 and self.mask_patch >= 1):
            msg = "Expected shares of hidden patches and tokens between 0 and 1, and patches of at least one voxel."
            raise TaskError(msg)

    @property
    def reads(self) -> tuple[Modality, ...]:
        """What the objectives need.

        Raises:
            TaskError: If there is none of that name.
        """
        try:
            needed = {name for objective in self.objectives for name in OBJECTIVES.get(objective).reads}
        except KeyError as error:
            raise TaskError(*error.args) from None
        return tuple(name for name in MODALITIES if name in needed)


def pretrain(
    cohort: str | Path,
    out: str | Path,
    aims: Aims,
    config: TrainConfig | None = None,
    *,
    device: str = "auto",
    cache: Path | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> RunResult:
    """Pretrain encoders on a cohort; labels are not looked at.

    Weights are fitted on `train` and kept from the epoch with the lowest loss on held-out patients
    (`val`); `test` is never opened. Run the same command again after an interruption: it goes on
    where it was and ends with the same weights.

    Args:
        cohort: Cohort table.
        out: Run folder; becomes a pretrained folder.
        aims: What is minimised.
        config: What is read, with which encoders, and the optimisation; what concerns labels, fusion and heads is not used, which
            a warning says.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache: Folder for prepared images that several runs share and nobody removes; else one within the run, while it lasts.
        on_progress: Told how far each step is.

    Raises:
        CohortError, LeakageError: If there is nothing to learn from.
        TaskError: If an objective is not known, `config` names an `init`, or a choice has no effect beside the others.
        StoreError: If `out` belongs to another run.
    """
    out = Path(out)
    config = checked(replace(config or TrainConfig(), modalities=aims.reads).to_dict())
    if config.init is not None:
        msg = "Expected no init: pretraining starts at random, or from text_source or image_source. Train with init what it made."
        raise TaskError(msg)
    refuse_idle([config])
    require_chosen(config)
    table = read_cohort(cohort, sections=config.read_sections)
    choices = {"medmm": medmm.__version__, "cohort": table.digest, "aims": asdict(aims), "config": config.to_dict()}
    computing_on = choose_device(device)
    together = Together(computing_on)
    if together.index == 0:
        warn_of_idle([config], Use(table.cases, "nothing"))
    out, config, cache = together.folder(out), together.quiet(config), cache if together.index == 0 else None
    claim_run(out, "pretrain.json", choices)
    if together.from_first((out / MANIFEST).exists):
        return RunResult(out, 0, 0, together.from_first(lambda: read_failures(out)), ())
    preprocessor, sides, failures = _read(table.cases, aims, config, out, cache or out / "cache", on_progress)
    network, progress = _fit(out, aims, config, preprocessor, sides, computing_on, on_progress)
    counts = {"n_train": len(sides["train"]), "n_val": len(sides["val"])}
    about = choices | counts | {"failures": len(failures), "best_epoch": progress.best_epoch, "history": progress.history}
    save_pretrained(out, network, preprocessor, about)
    shutil.rmtree(out / "cache", ignore_errors=True)
    (out / "checkpoint.safetensors").unlink(missing_ok=True)
    return RunResult(out, **counts, failures=tuple(failures), best_epochs=(progress.best_epoch,))


def _read(
    found: Sequence[Case], aims: Aims, config: TrainConfig, out: Path, cache: Path, on_progress: OnProgress
) -> tuple[Preprocessor, dict[str, CachedSamples], list[Failure]]:
    """How studies are prepared, those of train and of val, and what could not be read; who stood on which side is written down."""
    cases = [c for c in split_unlabelled(found, config.fractions, config.division_seed) if c.images or c.note]
    seen = [c for c in cases if c.split in ("train", "val")]
    preprocessor = plan_preprocessing([c for c in seen if c.split == "train"], config, on_progress)
    _refuse_unread(aims, preprocessor)
    _begun(aims, config, preprocessor)  # what fits no network is told before all studies are read
    index, samples, failures = cache_samples(seen, preprocessor, cache, on_progress)
    write_failures(out, failures)
    write_csv(out / "split.csv", ["study_id", "patient_id", "split"],
              [{"study_id": c.study_id, "patient_id": c.patient_id, "split": c.split} for c in cases])  # fmt: skip
    sides = {side: samples.take([i for i, row in enumerate(index) if seen[row].split == side]) for side in ("train", "val")}
    return preprocessor, sides, failures


def _refuse_unread(aims: Aims, preprocessor: Preprocessor) -> None:
    lacking = [name for name in aims.reads if name not in preprocessor.modalities]
    if lacking:
        msg = f"Expected training cases with {' and '.join(aims.reads)} for these objectives; none has {' or '.join(lacking)}."
        raise CohortError(msg)


def _fit(
    out: Path, aims: Aims, config: TrainConfig, preprocessor: Preprocessor, sides: dict[str, CachedSamples],
    device: torch.device, on_progress: OnProgress,
) -> tuple[PretrainedNetwork, Progress]:  # fmt: skip
    if len(sides["train"]) < MIN_TRAIN or not len(sides["val"]):
        msg = f"Expected at least {MIN_TRAIN} readable training studies and one held out; got {len(sides['train'])} and "
        raise CohortError(msg + f"{len(sides['val'])}. Add cases.")
    network = _begun(aims, config, preprocessor).to(device)
    unlabelled = _Unlabelled(network, preprocessor, sides["train"], aims, config)
    trainer = Trainer(network, unlabelled, config, network.encoders)
    with tracked(config.tracker, out) as log:
        progress = trainer.run(
            out / "checkpoint.safetensors", lambda averaged: _judge(averaged, preprocessor, sides["val"], aims, config),
            dict, log=log, on_progress=lambda done: on_progress("pretraining", done, config.epochs),
        )  # fmt: skip
    return network.eval(), progress


def _begun(aims: Aims, config: TrainConfig, preprocessor: Preprocessor) -> PretrainedNetwork:
    """The network with the weights that pretraining begins with."""
    torch.manual_seed(config.seed)
    network = built(PretrainedNetwork, _network_config(aims, config, preprocessor))
    for name in network.config.sides:
        if (source := config.source(name)) is not None:
            own_encoder(network.encoders[name]).load_pretrained(source)
    return network


def _network_config(aims: Aims, config: TrainConfig, preprocessor: Preprocessor) -> PretrainedConfig:
    sides: dict[str, Any] = {name: side_of(name, reader, config) for name, reader in preprocessor.readers.items()}
    hidden_id = preprocessor.text.hidden_id if preprocessor.text is not None else None
    return PretrainedConfig(
        sides.get("image"), sides.get("text"), tuple(aims.objectives), config.width, aims.image_masked, aims.mask_patch,
        aims.text_masked, hidden_id,
    )  # fmt: skip


class _Unlabelled(Varied):
    """The weighted losses of the objectives."""

    def __init__(
        self, network: PretrainedNetwork, preprocessor: Preprocessor, samples: Sequence[Sample], aims: Aims, config: TrainConfig
    ) -> None:
        super().__init__(samples, preprocessor, config)
        self.network, self.aims = network, aims

    def loss(self, chosen: list[int]) -> torch.Tensor:
        """Of these studies."""
        batch = self.preprocessor.collate(self.take(chosen)).to(self.network.device)
        losses = [self.aims.objectives[name] * loss for name, loss in self.network(batch).items()]
        return torch.stack(losses).sum() if losses else next(self.network.parameters()).sum() * 0.0


@torch.no_grad()
def _judge(
    network: PretrainedNetwork, preprocessor: Preprocessor, samples: Sequence[Sample], aims: Aims, config: TrainConfig
) -> Standing:
    """Loss on held-out patients, with the same masks every time."""
    network.eval()
    found: dict[str, list[float]] = defaultdict(list)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for batch in preprocessor.batches(samples, config.batch_size, network.device):
            for name, loss in network(batch).items():
                found[name].append(float(loss))
    silent = [name for name in aims.objectives if name not in found]
    if silent:
        msg = f"Expected held-out studies that {' and '.join(silent)} can be judged on; there are none, or no two in a batch."
        raise CohortError(msg)
    means = {name: sum(losses) / len(losses) for name, losses in found.items()}
    total = sum(aims.objectives[name] * mean for name, mean in means.items())
    return Standing(-total, total, {"val/loss": total, **{f"val/{name}": mean for name, mean in means.items()}})
