"""From logits to probabilities that mean what they say, fitted on samples that are not scored.

Every method is plain data: `to_dict` is JSON, `load` gives the same map back, nothing is pickled. Plug-ins add
to `recalibrators` through the entry-point group `medmm.recalibrators`.
"""

from __future__ import annotations

from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from medmm.errors import ModelError, TaskError
from medmm.metrics.recalibration.dirichlet import Dirichlet, fit_dirichlet
from medmm.metrics.recalibration.method import Method, Recalibrator, logits_of
from medmm.metrics.recalibration.one_vs_rest import OneVsRest, fit_beta, fit_isotonic, fit_venn_abers
from medmm.metrics.recalibration.scaling import Calibrator, fit_calibrator, fit_platt, fit_temperature, fit_vector
from medmm.registry import Registry
from medmm.types import FloatArray, Kind

__all__ = ["Calibrator", "Method", "Recalibrator", "fit", "fit_calibrator", "load", "logits_of", "recalibrators"]

_ANY: tuple[Kind, ...] = ("binary", "multiclass", "multilabel")
_EXCLUSIVE: tuple[Kind, ...] = ("binary", "multiclass")

recalibrators: Registry[Method] = Registry("recalibrators")
"""Recalibration methods by name."""

recalibrators.add("map_scaling", Method(fit_calibrator, Calibrator.from_dict, _ANY, monotone=True))
recalibrators.add("temperature", Method(fit_temperature, Calibrator.from_dict, _ANY, monotone=True))
recalibrators.add("platt", Method(fit_platt, Calibrator.from_dict, ("binary", "multilabel"), monotone=True))
recalibrators.add("vector", Method(fit_vector, Calibrator.from_dict, ("multiclass",), monotone=False))
recalibrators.add("beta", Method(fit_beta, OneVsRest.from_dict, _ANY, monotone=True))
recalibrators.add("isotonic", Method(fit_isotonic, OneVsRest.from_dict, _ANY, monotone=True))
recalibrators.add("venn_abers", Method(fit_venn_abers, OneVsRest.from_dict, _ANY, monotone=True))
recalibrators.add("dirichlet", Method(fit_dirichlet, Dirichlet.from_dict, _EXCLUSIVE, monotone=False))


def fit(method: str, kind: Kind, target: FloatArray, logits: FloatArray) -> Recalibrator:
    """Fit a method.

    Args:
        method: A name in `recalibrators`.
        kind: Kind of task.
        target: (n, K) one-hot, or 0, 1 and NaN if multilabel.
        logits: (n, K), finite; see `logits_of` where there are only probabilities.

    Raises:
        KeyError: If there is no such method.
        TaskError: If it is not defined for this kind, or there is no sample.
    """
    entry = recalibrators.get(method)
    if kind not in entry.kinds:
        msg = f"Expected a {' or '.join(entry.kinds)} task for recalibration by {method}; got a {kind} one. Choose another method."
        raise TaskError(msg)
    if not len(target):
        msg = "Expected samples to fit a recalibration on; got none."
        raise TaskError(msg)
    with threadpool_limits(limits=1, user_api="blas"):  # sums split over threads would differ in their last digits
        return entry.fit(kind, target, logits)


def load(kind: Kind, content: dict[str, Any]) -> Recalibrator:
    """Rebuild a fitted recalibrator from its `to_dict`.

    Raises:
        ModelError: If the method is not known or the content is unsound.
    """
    try:
        entry = recalibrators.get(content["method"])
    except (KeyError, TypeError):
        msg = f"Expected recalibration by {', '.join(recalibrators)}; got another method. Is its plug-in installed?"
        raise ModelError(msg) from None
    return entry.load(kind, content)
