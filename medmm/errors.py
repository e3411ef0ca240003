"""Every error medmm raises on purpose: one tree, one stable code a leaf.

    MedmmError
    |-- InputError                  something handed in cannot be used
    |   |-- NoImageError            E_NO_IMAGE             nothing readable as an image
    |   |-- CorruptError            E_CORRUPT              bytes do not follow their own format
    |   |-- TruncatedError          E_TRUNCATED            fewer bytes than the header promises
    |   |-- ArchiveError            E_ARCHIVE              unsafe or unreadable zip
    |   |-- TooLargeError           E_TOO_LARGE            over a size limit
    |   |-- BudgetError             E_BUDGET               reading took too much time or memory
    |   |-- TransferSyntaxError     E_TRANSFER_SYNTAX      pixel encoding we do not decode
    |   |-- MultipleSeriesError     E_MULTI_SERIES         no rule picks one series
    |   |-- GeometryError           E_GEOMETRY             no or contradictory geometry
    |   |   |-- MissingSlicesError      E_MISSING_SLICES       gap of whole slices
    |   |   |-- IrregularSpacingError   E_IRREGULAR_SPACING    uneven slice distances
    |   |   `-- DuplicatePositionError  E_DUPLICATE_POSITION   two slices in one place
    |   |-- MaskError               E_MASK                 no segmentation of this study
    |   |-- NotHounsfieldError      E_NOT_HU               intensities are not in HU
    |   |-- NonFiniteError          E_NONFINITE            NaN or infinity
    |   |-- TextError               E_TEXT                 note missing, no text, or far too long
    |   |-- AudioError              E_AUDIO                recording cannot be decoded or is too long
    |   |-- ValuesError             E_VALUES               tabular value not a number or not believable
    |   |-- PhiError                E_PHI                  would reveal who the patient is
    |   |-- LicenceError            E_LICENCE              no right to it is stated, or its licence not accepted
    |   |-- ScopeError              E_OUT_OF_SCOPE         study is not what the model was made for
    |   |-- MissingModalityError    E_MISSING_MODALITY     nothing the model can use
    |   |-- CohortError             E_COHORT               cohort table breaks its contract
    |   |-- PredictionsError        E_PREDICTIONS          predictions table breaks its contract
    |   |-- TaskError               E_TASK                 task file breaks its contract
    |   `-- LeakageError            E_LEAKAGE              a patient stands on both sides of a split
    |-- ModelError                  E_MODEL_INTEGRITY      model folder incomplete, altered or unsound
    |-- DeviceError                 E_DEVICE               requested device not available
    |-- StoreError                  E_STORE                run folder belongs to another run
    |-- RemoteError                 E_REMOTE               a PACS or the Hub cannot be reached, refuses, or sends less
    |-- DependencyError             E_DEPENDENCY           an optional package or program is not installed
    |-- PluginError                 E_PLUGIN               what an installed package adds to medmm is broken
    |-- CancelledError              E_CANCELLED            stopped before there was an answer, as asked
    `-- WorkerError                 E_WORKER               the working process died or ran out of time

Catch `MedmmError` to go on with the next study, a leaf to react to one cause:

    try:
        study = medmm.open_study(path)
    except medmm.errors.MissingSlicesError as error:
        log(error.code)

A message says what was expected, what came and what to do. It never holds a path, a patient
identifier or the text of a note, so it can be logged and shown.
"""

from __future__ import annotations


class MedmmError(Exception):
    """Root of the tree. `code` is stable and meant for machines."""

    code = "E_INTERNAL"

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0]) if self.args else self.code


class InputError(MedmmError):
    """Something handed in cannot be used."""

    code = "E_INPUT"


class NoImageError(InputError):
    """Nothing readable as an image was found."""

    code = "E_NO_IMAGE"


class CorruptError(InputError):
    """The bytes do not follow their own format."""

    code = "E_CORRUPT"


class TruncatedError(InputError):
    """There are fewer bytes than the header promises."""

    code = "E_TRUNCATED"


class ArchiveError(InputError):
    """A zip is unreadable or unsafe to read."""

    code = "E_ARCHIVE"


class TooLargeError(InputError):
    """The input is over a size limit of `medmm.settings.Limits`."""

    code = "E_TOO_LARGE"


class BudgetError(InputError):
    """Reading the input took more time or memory than `medmm.settings.Limits` allows."""

    code = "E_BUDGET"


class TransferSyntaxError(InputError):
    """The pixels are encoded in a way that is not decoded here."""

    code = "E_TRANSFER_SYNTAX"


class MultipleSeriesError(InputError):
    """Several series are equally good candidates."""

    code = "E_MULTI_SERIES"


class GeometryError(InputError):
    """The geometry is absent or contradicts itself."""

    code = "E_GEOMETRY"


class MissingSlicesError(GeometryError):
    """Whole slices are absent from a series."""

    code = "E_MISSING_SLICES"


class IrregularSpacingError(GeometryError):
    """Slice distances are uneven."""

    code = "E_IRREGULAR_SPACING"


class DuplicatePositionError(GeometryError):
    """Different slices claim the same position."""

    code = "E_DUPLICATE_POSITION"


class MaskError(InputError):
    """A segmentation is none, or belongs to another study."""

    code = "E_MASK"


class NotHounsfieldError(InputError):
    """Intensities are not, or not safely, Hounsfield units."""

    code = "E_NOT_HU"


class NonFiniteError(InputError):
    """NaN or infinity where a number is needed."""

    code = "E_NONFINITE"


class TextError(InputError):
    """A note is missing, is no text, or is far too long."""

    code = "E_TEXT"


class AudioError(InputError):
    """A recording cannot be decoded or is over a limit."""

    code = "E_AUDIO"


class ValuesError(InputError):
    """A tabular value is not a number or not believable."""

    code = "E_VALUES"


class PhiError(InputError):
    """The input would reveal who the patient is."""

    code = "E_PHI"


class LicenceError(InputError):
    """Nothing states that it may be passed on, or its licence was not accepted."""

    code = "E_LICENCE"


class ScopeError(InputError):
    """The study is not of the kind the model was made for."""

    code = "E_OUT_OF_SCOPE"


class MissingModalityError(InputError):
    """The study holds nothing that the model can use."""

    code = "E_MISSING_MODALITY"


class CohortError(InputError):
    """A cohort table breaks its contract."""

    code = "E_COHORT"


class PredictionsError(InputError):
    """A predictions table breaks its contract."""

    code = "E_PREDICTIONS"


class TaskError(InputError):
    """A task file breaks its contract."""

    code = "E_TASK"


class LeakageError(InputError):
    """A patient stands on both sides of a split."""

    code = "E_LEAKAGE"


class ModelError(MedmmError):
    """A model folder is incomplete, altered or numerically unsound."""

    code = "E_MODEL_INTEGRITY"


class DeviceError(MedmmError):
    """The requested device is not available."""

    code = "E_DEVICE"


class StoreError(MedmmError):
    """A run folder belongs to another run or cannot be written."""

    code = "E_STORE"


class RemoteError(MedmmError):
    """A PACS or the Hub cannot be reached, refuses, or sends less than it lists."""

    code = "E_REMOTE"


class DependencyError(MedmmError):
    """An optional package or program is not installed."""

    code = "E_DEPENDENCY"


class PluginError(MedmmError):
    """What an installed package adds to medmm cannot be loaded, or its name is taken."""

    code = "E_PLUGIN"


class CancelledError(MedmmError):
    """The work was stopped before there was an answer, because somebody asked for that."""

    code = "E_CANCELLED"


class WorkerError(MedmmError):
    """The process doing the work died or ran out of time."""

    code = "E_WORKER"


def error_of(code: str, message: str) -> MedmmError:
    """The error a code stands for, as when it happened in another process."""
    classes: list[type[MedmmError]] = [MedmmError]
    for known in classes:  # grows while it is walked: the whole tree
        classes += known.__subclasses__()
    error = next((known for known in classes if known.code == code), MedmmError)(message)
    error.code = code  # also one that a plug-in made up
    return error
