"""What the numbers say, in sentences a clinician can act on; nothing here measures anything new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medmm.results import PREVALENCE_ARM, Arm, Calibration, Comparison, Results, Value

_TELLING = 0.1
"""A perfect model's calibration error by chance above which a sample is too small to vouch for calibration."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One finding: `good`, `bad`, or `open` when the data cannot tell."""

    tone: Literal["good", "bad", "open"]
    text: str


def verdict(results: Results) -> list[Sentence]:
    """The findings, most important first."""
    full = results.arms[0]
    sentences = [_discrimination(full), *_calibration(full), _against_trivial(results)]
    sentences += [_against_single(c) for c in results.comparisons if c.second != PREVALENCE_ARM and c.metric == _ranking(full)]
    return sentences


def headline_metrics(arm: Arm) -> list[str]:
    """Names of the metrics that belong in the first table."""
    wanted = (_ranking(arm), "f1_macro", "auprc" if "auprc" in arm.metrics else "auprc_macro", "brier", "log_loss")
    return [name for name in wanted if name in arm.metrics]


def number(value: Value | None, digits: int = 3) -> str:
    """A value with its interval, or why there is none."""
    if value is None or value.value is None:
        return "undefined"
    interval = "" if value.low is None or value.high is None else f" [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{value.value:.{digits}f}{interval}"


def _ranking(arm: Arm) -> str:
    return "auroc" if "auroc" in arm.metrics else "auroc_macro"


def _discrimination(full: Arm) -> Sentence:
    value = full.metrics[_ranking(full)]
    samples = f"{full.n} samples of {full.patients} patients"
    if value.value is None or value.low is None:
        return Sentence("open", f"How well it separates the classes cannot be told from {samples}: {value.reason or 'too few'}.")
    text = f"It separates the classes with an AUROC of {number(value)} on {samples}"
    if value.low > 0.5:
        return Sentence("good", f"{text}: better than chance.")
    if value.high is not None and value.high < 0.5:
        return Sentence("bad", f"{text}: WORSE than chance.")
    return Sentence("open", f"{text}: chance (0.5) cannot be ruled out.")


def _calibration(full: Arm) -> list[Sentence]:
    return [_calibration_of(label, found) for label, found in full.calibration.items()]


def _calibration_of(label: str, found: Calibration) -> Sentence:
    if found.p_value is None or found.ece_null_high is None:
        return Sentence("open", f"Calibration of {label} cannot be judged.")
    p = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    text = f"{p}; error {found.ece:.3f}, by chance alone up to {found.ece_null_high:.3f}"
    if not found.calibrated:
        return Sentence("bad", f"The probabilities of {label} are MISCALIBRATED ({text}). Recalibrate before use.")
    if found.ece_null_high > _TELLING:
        return Sentence("open", f"The probabilities of {label} show no sign of error, but so few samples could hide one ({text}).")
    return Sentence("good", f"The probabilities of {label} are compatible with being calibrated ({text}).")


def _against_trivial(results: Results) -> Sentence:
    found = next((c for c in results.comparisons if c.second == PREVALENCE_ARM and c.metric == "log_loss"), None)
    if found is None or found.high is None or found.low is None or found.difference is None:
        return Sentence("open", "It cannot be compared with giving everybody the class frequencies.")
    text = f"log-loss difference {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    if found.high < 0:
        return Sentence("good", f"Its probabilities are better than giving everybody the class frequencies ({text}).")
    if found.low > 0:
        return Sentence("bad", f"Its probabilities are WORSE than giving everybody the class frequencies ({text}).")
    return Sentence("open", f"Its probabilities are not proven better than giving everybody the class frequencies ({text}).")


def _against_single(found: Comparison) -> Sentence:
    if found.low is None or found.high is None or found.difference is None:
        return Sentence("open", f"Using everything cannot be compared with {found.second} alone.")
    text = f"difference in {found.metric} {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], n = {found.n}"
    if found.low > 0:
        return Sentence("good", f"Using everything is better than {found.second} alone ({text}).")
    if found.high < 0:
        return Sentence("bad", f"Using everything is WORSE than {found.second} alone ({text}).")
    return Sentence("open", f"Using everything is not proven better than {found.second} alone ({text}).")
