"""Choices that do nothing by themselves: which needs what beside it, in one table, so that none is taken in silence.

A choice whose partner was not chosen is refused. One that finds nothing to act on here, as an image encoder in a cohort of
notes or the options of another fusion, is warned of, since one file of choices serves several cohorts, commands and models.
Where many trainings are compared, a choice must have an effect in one of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from medmm.encoders import ENCODERS
from medmm.errors import TaskError
from medmm.fusion import FUSIONS
from medmm.pretrained.folder import read_by
from medmm.sections import split_sections
from medmm.sources.cohort import Case
from medmm.training.adapters import Peft
from medmm.training.config import TrainConfig, checked
from medmm.training.search_space import Space, within
from medmm.types import MODALITIES, Modality

Taught = Literal["labels", "teacher", "nothing"]


class IdleWarning(UserWarning):
    """A choice has no effect in this training."""


class Need(NamedTuple):
    """What choices need to have an effect.

    Attributes:
        keys: Of the choices; one of a record stands for all within.
        what: It in words.
        met: Whether a configuration has it.
    """

    keys: tuple[str, ...]
    what: str
    met: Callable[[TrainConfig], bool]


@dataclass(frozen=True, slots=True)
class Use:
    """What a configuration is used for.

    Attributes:
        cases: Of the cohort.
        learns_from: Labels, a teacher's answers beside them, or neither.
        folds: Whether answers are out of fold.
    """

    cases: Sequence[Case]
    learns_from: Taught = "labels"
    folds: bool = False

    @property
    def divides(self) -> bool:
        """Whether the cohort leaves it to the configuration who is in val."""
        return not self.folds and "val" not in {case.split for case in self.cases}

    @property
    def has_sections(self) -> bool:
        """Whether any note that is learned from has several; one without headings has none to leave out."""
        learned = (case for case in self.cases if case.split in ("train", None))
        return any(len(split_sections(case.note_text())) > 1 for case in learned)

    def reads(self, config: TrainConfig) -> frozenset[Modality]:
        """What a model of these choices reads."""
        return present_in(self.cases, config) & set(config.modalities)


_OF_LABELS = (
    "fusion", "fusion_options", "believable", "tasks", "task_weights", "judge", "judge_on", "smoothing", "loss_parts", "loss",
    "focal_gamma", "adjustment", "class_weights", "effective_beta", "vote", "modality_dropout", "mixup", "adversarial",
    "members",
)  # fmt: skip
_OF_SEVERAL = ("vote", "modality_dropout", "judge_on", "loss_parts.fused")
_OF_EACH = ("encoder_options", "frozen", "unfreeze", "peft", "layer_decay", "loss_parts", "augmentation", "gradient_checkpointing")
_OF_ONE: dict[Modality, tuple[str, ...]] = {
    "image": ("image_encoder", "image_source", "images", "voxels", "adversarial.image"),
    "text": ("text_encoder", "text_source", "note_sections", "max_tokens", "adversarial.text"),
    "audio": ("audio_encoder", "audio_source", "audio_seconds"),
    "tabular": ("tabular_encoder",),
}
_OF_FRESH: dict[Modality, tuple[str, ...]] = {"image": ("image_source", "voxels"), "text": ("text_source", "max_tokens")}
_SHAPE = tuple(f"augmentation.image.{key}" for key in ("rotation", "scale", "shift", "crop", "flip"))

_PARTNERS = (
    Need(("task_weights",), "tasks", lambda c: bool(c.tasks)),
    Need(("focal_gamma",), "loss=focal", lambda c: c.loss == "focal"),
    Need(("adjustment",), "loss=logit_adjusted", lambda c: c.loss == "logit_adjusted"),
    Need(("effective_beta",), "class_weights=effective", lambda c: c.class_weights == "effective"),
    Need(("momentum",), "optimizer=sgd or optimizer=rmsprop", lambda c: c.optimizer in ("sgd", "rmsprop")),
    Need(("text_encoder",), "text_source=null", lambda c: c.text_source is None or c.text_encoder == "huggingface"),
    Need(("pretrained_rate",), "the source of an encoder that learns, such as text_source", lambda c: _learns_on(c)),
    Need(("adversarial",), "adversarial.method", lambda c: c.adversarial.method is not None),
    Need(("adversarial.steps",), "adversarial.method=pgd", lambda c: c.adversarial.method == "pgd"),
    Need(("augmentation.text.synonym_groups",), "augmentation.text.synonyms", lambda c: c.augmentation.text.synonyms > 0),
    Need(("augmentation.audio.stretch",), "augmentation.audio.stretches", lambda c: c.augmentation.audio.stretches > 0),
    Need(("augmentation.audio.band",), "augmentation.audio.bands", lambda c: c.augmentation.audio.bands > 0),
)
_SWITCHES = (
    Need(("augmentation",), "augment=true", lambda c: c.augment),
    Need(_SHAPE, "augmentation.image.chance", lambda c: c.augmentation.image.chance > 0),
    Need(("augmentation.image.chance",), "turns, scales, crops, shifts or flips", lambda c: _moves(c)),
    Need(("augmentation.audio.bands",), "an audio encoder of log-mel frames", lambda c: _hears_mels(c)),
    Need(("voxels",), "an image encoder that takes any shape", lambda c: not hasattr(_encoder(c, "image"), "contract")),
    Need(("vote",), "a fusion of features", lambda c: FUSIONS.get(c.fusion).joins == "features"),
)
"""What may be off on purpose, over a file that has more to say about it."""


def refuse_idle(configs: Sequence[TrainConfig]) -> None:
    """Refuse choices whose partner was not chosen.

    Args:
        configs: All that a command trains with.

    Raises:
        TaskError: If a key differs from its default and has an effect in none of them; it names what the key needs.
    """
    for keys, what in _idle(_partners(configs), configs):
        named = " and ".join(keys)
        msg = f"Expected {what} beside {named}, which without does nothing. Choose that too, or leave {named} at its default."
        raise TaskError(msg)


def warn_of_idle(configs: Sequence[TrainConfig], use: Use, stated: TrainConfig | None = None, space: Space | None = None) -> None:
    """Warn, once for all, of choices that find nothing to act on in what they are used for.

    Args:
        configs: All that a command trains with.
        use: What for.
        stated: The choices as they were before what is compared took their place.
        space: What is searched in their place.
    """
    replaced: list[tuple[list[str], str]] = []
    if stated is not None:
        replaced = _replaced(stated, configs) if space is None else _overruled(stated, space)
    if found := [*replaced, *_idle(_occasions(configs, use), configs)]:
        told = "; ".join(f"{' and '.join(keys)} without {what}" for keys, what in found)
        warnings.warn(f"Some choices have no effect here: {told}. Leave them out, or look for what is missing.", IdleWarning, 2)


def without_idle(config: TrainConfig) -> TrainConfig:
    """The same training without the choices that `refuse_idle` refuses."""
    values, plain = config.to_dict(), TrainConfig().to_dict()
    for keys, _ in _idle(_partners([config]), [config]):
        for key in keys:
            _put_back(values, plain, key.split("."))
    return checked(values)


def present_in(cases: Sequence[Case], config: TrainConfig) -> frozenset[Modality]:
    """Modalities that any of the cases has."""
    there = {"image": any(c.images for c in cases), "text": any(c.note for c in cases), "audio": any(c.audio for c in cases),
             "tabular": bool(config.tabular)}  # fmt: skip
    return frozenset(name for name in MODALITIES if there[name])


def _partners(configs: Sequence[TrainConfig]) -> list[Need]:
    """The table, with what depends on names that only the configurations know."""
    columns = sorted({name for config in configs for name in config.units})
    return [*_PARTNERS, *map(_of_unit, columns), *(need for name in MODALITIES for need in _of_encoder(name))]


def _of_unit(name: str) -> Need:
    return Need((f"units.{name}",), f"{name} in tabular or believable", lambda c: name in c.tabular or name in c.believable)


def _of_encoder(name: Modality) -> tuple[Need, Need]:
    sizes = (f"peft.{name}.rank", f"peft.{name}.alpha")
    return (
        Need(sizes, f"another peft.{name}.kind than ia3", lambda c: name not in c.peft or c.peft[name].kind != "ia3"),
        Need((f"layer_decay.{name}",), f"an encoder of {name} that is not frozen", lambda c: name not in c.frozen),
    )


def _occasions(configs: Sequence[TrainConfig], use: Use) -> list[Need]:
    """What choices find to act on."""
    return [
        *(_of_reading(name, use) for name in MODALITIES),
        *map(_of_fresh, _OF_FRESH),
        Need(_OF_SEVERAL, "several modalities to read", lambda c: len(use.reads(c)) > 1),
        Need(("fusion", "fusion_options"), "several modalities or tasks", lambda c: len(use.reads(c)) > 1 or bool(c.tasks)),
        *map(_of_fusion, sorted({name for config in configs for name in config.fusion_options})),
        *_SWITCHES,
        Need(_OF_LABELS, "labels to learn from", lambda _: use.learns_from != "nothing"),
        Need(("distill_temperature", "distill_weight"), "a teacher (medmm distill)", lambda _: use.learns_from == "teacher"),
        Need(("patience", "judge", "judge_on"), "validation cases, which folds leave none of", lambda _: not use.folds),
        Need(("nested",), "folds", lambda _: use.folds),
        Need(("fractions",), "patients to divide", lambda _: use.divides),
        Need(("augmentation.text.sections",), "notes with several sections, under headings", lambda _: use.has_sections),
    ]


def _of_reading(name: Modality, use: Use) -> Need:
    keys = (*_OF_ONE[name], *(f"{key}.{name}" for key in _OF_EACH))
    return Need(keys, f"{name} to read", lambda c: name in use.reads(c))


def _of_fresh(name: Modality) -> Need:
    what = f"an encoder of {name} other than that of init, which comes with its own input and weights"
    return Need(_OF_FRESH[name], what, lambda c: c.init is None or name not in read_by(c.init))


def _of_fusion(name: str) -> Need:
    return Need((f"fusion_options.{name}",), f"fusion={name}", lambda c: c.fusion == name)


def _idle(needs: Sequence[Need], configs: Sequence[TrainConfig]) -> list[tuple[list[str], str]]:
    """Stated keys of which no configuration has what they need, and what that is."""
    stated = sorted({key for config in configs for key in _stated(config)})
    found = []
    for need in needs:
        keys = [key for key in stated if any(f"{key}.".startswith(f"{known}.") for known in need.keys)]
        if keys and not any(need.met(config) for config in configs):
            found.append((keys, need.what))
    return found


def _replaced(stated: TrainConfig, configs: Sequence[TrainConfig]) -> list[tuple[list[str], str]]:
    """Keys whose stated value none of the configurations has; a seed that also divides the patients still does."""
    keys = {"fusion", "modalities", *(["seed"] if stated.split_seed is not None else [])} & set(_stated(stated))
    joining = [config for config in configs if len(config.modalities) > 1 and not config.tasks] or configs
    trained = {key: [_in_any_order(getattr(c, key)) for c in (joining if key == "fusion" else configs)] for key in keys}
    return [([key], "it among what is compared") for key in sorted(keys) if _in_any_order(getattr(stated, key)) not in trained[key]]


def _overruled(stated: TrainConfig, space: Space) -> list[tuple[list[str], str]]:
    """Keys whose stated value a search cannot draw; a seed that is searched is also that of the search and of the patients."""
    lost = [searched for searched, part in space.items() if searched != "seed" and not part.may_leave(stated, searched)]
    return [([key], "it among what is compared") for key in sorted(_stated(stated)) if within(key, lost)]


def _in_any_order(value: Any) -> Any:
    return frozenset(value) if isinstance(value, tuple) else value


def _stated(config: TrainConfig) -> Iterator[str]:
    """Keys that differ from their defaults, with dots into records; a list of modalities has one key for each."""
    sizes = {key: value for key, value in asdict(Peft()).items() if key != "kind"}
    default = dict(_flat(TrainConfig().to_dict() | {"peft": dict.fromkeys(MODALITIES, sizes)}))
    return (key for key, value in _flat(config.to_dict()) if key not in default or default[key] != value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if prefix + key in ("frozen", "gradient_checkpointing"):
            value = dict.fromkeys(value, True)
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _put_back(values: dict[str, Any], plain: Mapping[str, Any], path: Sequence[str]) -> None:
    """Give the value at the end of a path its default, or take it out where there is none."""
    key, *rest = path
    if rest and key in plain and isinstance(values[key], dict):
        _put_back(values[key], plain[key], rest)
    elif key in plain:
        values[key] = plain[key]
    else:
        values.pop(key, None)


def _learns_on(config: TrainConfig) -> bool:
    """Whether an encoder that came with weights goes on learning as a whole."""
    still = {*config.frozen, *config.peft}
    knows = [name for name in MODALITIES if config.source(name) is not None or config.encoder(name) == "huggingface"]
    return any(name in config.modalities and name not in still for name in knows)


def _encoder(config: TrainConfig, name: Modality) -> Any:
    return ENCODERS[name].get(config.encoder(name))


def _hears_mels(config: TrainConfig) -> bool:
    return getattr(_encoder(config, "audio"), "features", "mel") == "mel"


def _moves(config: TrainConfig) -> bool:
    image = config.augmentation.image
    return any((image.rotation, image.scale, image.shift, image.crop, image.flip))
