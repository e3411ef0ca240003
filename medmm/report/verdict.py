"""What the numbers say, in sentences a clinician can act on; nothing here measures anything new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medmm.report.junit import Case, Outcome
from medmm.report.words import difference, equals, interval, number, ranking_metric
from medmm.results import (
    PREVALENCE_ARM,
    Arm,
    Calibration,
    Comparison,
    ConformalSets,
    Gap,
    Heterogeneity,
    Recalibration,
    Results,
    RunComparison,
)

_TELLING = 0.1
"""A perfect model's calibration error by chance above which a sample is too small to vouch for calibration."""

_EACH = 6
"""Up to so many labels get a sentence each about their calibration."""

_PATTERN = "pattern"

Tone = Literal["good", "bad", "open", "beware"]
_OF_MANY: dict[Tone, str] = {
    "bad": "are MISCALIBRATED; recalibrate before use",
    "good": "are compatible with being calibrated",
    "open": "cannot be vouched for on so few samples",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """One finding: `good`, `bad`, `open` when the data cannot tell, `beware` when it bears on all others."""

    tone: Tone
    text: str


def verdict(results: Results) -> list[Sentence]:
    """The findings, most important first, then what to know before believing them."""
    full = results.arms[0]
    ranking = ranking_metric(full.metrics)
    sentences = [_discrimination(full), *_calibration(full), _against_trivial(results)]
    # The tests of a pair share its interval, and so its sentence.
    single = {c.second: c for c in results.comparisons if c.second != PREVALENCE_ARM and c.metric == ranking}
    sentences += map(_against_single, single.values())
    sentences += [_recalibration(r) for r in results.recalibration]
    sentences += [*_groups(results, ranking), *(_sites(h) for h in results.heterogeneity if h.metric == ranking)]
    sentences += [_sets(s) for s in full.conformal]
    sentences.append(_partition(results))
    return sentences + [Sentence("beware", note) for note in results.notes]


def verdict_cases(results: Results) -> list[Case]:
    """The findings as checks: a good one has passed, an open one was skipped."""
    outcome: dict[Tone, Outcome] = {"good": "passed", "bad": "failed", "open": "skipped"}
    return [Case(f"finding {i}", outcome[s.tone], s.text) for i, s in enumerate(verdict(results), 1) if s.tone != "beware"]


def verdict_on_runs(comparison: RunComparison) -> list[Sentence]:
    """Which of two runs is better, metric by metric, then what to know before believing it."""
    first, second = (arm.name for arm in comparison.arms[:2])
    sentences = [_between(c, first, second) for c in comparison.comparisons]
    return sentences + [Sentence("beware", note) for note in comparison.notes]


def _between(found: Comparison, first: str, second: str) -> Sentence:
    p = found.adjusted_p if found.adjusted_p is not None else found.p_value
    chance = "" if p is None else f", p {equals(p)}"
    text = f"in {found.metric} ({difference(found)}{chance}, n = {found.n})."
    said: dict[str, tuple[Tone, str]] = {
        "better": ("good", f"{first} is better than {second} {text}"),
        "worse": ("bad", f"{first} is WORSE than {second} {text}"),
        "non_inferior": ("good", f"{first} is at most {found.margin} worse than {second} {text}"),
        "not_shown": ("open", f"No difference between {first} and {second} is shown {text}"),
    }
    return Sentence(*said[found.outcome])


def _discrimination(full: Arm) -> Sentence:
    samples = f"{full.n} samples of {full.patients} patients"
    value = full.metrics.get(ranking_metric(full.metrics))
    if value is None:
        return Sentence("open", f"How well it separates the classes was not measured on {samples}: the task leaves AUROC out.")
    if value.value is None or value.low is None:
        return Sentence("open", f"How well it separates the classes cannot be told from {samples}: {value.reason or 'too few'}.")
    text = f"It separates the classes with an AUROC of {number(value)} on {samples}"
    if value.low > 0.5:
        return Sentence("good", f"{text}: better than chance.")
    if value.high is not None and value.high < 0.5:
        return Sentence("bad", f"{text}: WORSE than chance.")
    return Sentence("open", f"{text}: chance (0.5) cannot be ruled out.")


def _calibration(full: Arm) -> list[Sentence]:
    found = {label: _calibration_of(label, judged) for label, judged in full.calibration.items()}
    if len(found) <= _EACH:
        return list(found.values())
    labels = {tone: [label for label, sentence in found.items() if sentence.tone == tone] for tone in _OF_MANY}
    return [
        Sentence(tone, f"The probabilities of {len(labels[tone])} of {len(found)} labels {said}: {', '.join(labels[tone])}.")
        for tone, said in _OF_MANY.items()
        if labels[tone]
    ]


def _calibration_of(label: str, found: Calibration) -> Sentence:
    if found.p_value is None or found.ece_null_high is None:
        return Sentence("open", f"Calibration of {label} cannot be judged.")
    text = f"p {equals(found.p_value)}; error {found.ece:.3f}, by chance alone up to {found.ece_null_high:.3f}"
    if not found.calibrated:
        return Sentence("bad", f"The probabilities of {label} are MISCALIBRATED ({text}). Recalibrate before use.")
    if found.ece_null_high > _TELLING:
        return Sentence("open", f"The probabilities of {label} show no sign of error, but so few samples could hide one ({text}).")
    return Sentence("good", f"The probabilities of {label} are compatible with being calibrated ({text}).")


def _against_trivial(results: Results) -> Sentence:
    found = next((c for c in results.comparisons if c.second == PREVALENCE_ARM and c.metric == "log_loss"), None)
    if found is None or found.high is None or found.low is None:
        return Sentence("open", "It cannot be compared with giving everybody the class frequencies.")
    text = f"log-loss difference {difference(found)}"
    if found.high < 0:
        return Sentence("good", f"Its probabilities are better than giving everybody the class frequencies ({text}).")
    if found.low > 0:
        return Sentence("bad", f"Its probabilities are WORSE than giving everybody the class frequencies ({text}).")
    return Sentence("open", f"Its probabilities are not proven better than giving everybody the class frequencies ({text}).")


def _against_single(found: Comparison) -> Sentence:
    if found.low is None or found.high is None:
        return Sentence("open", f"Using everything cannot be compared with {found.second} alone.")
    text = f"difference in {found.metric} {difference(found)}, n = {found.n}"
    if found.low > 0:
        return Sentence("good", f"Using everything is better than {found.second} alone ({text}).")
    if found.high < 0:
        return Sentence("bad", f"Using everything is WORSE than {found.second} alone ({text}).")
    return Sentence("open", f"Using everything is not proven better than {found.second} alone ({text}).")


def _recalibration(found: Recalibration) -> Sentence:
    how = f"Recalibration by {found.method}, fitted on split {found.split} ({found.n} samples),"
    change = next((f" (log-loss {difference(c)})" for c in found.differences if c.metric == "log_loss"), "")
    state = "All numbers here are after it." if found.applied else "The numbers here are without it."
    if found.helped is None:
        return Sentence("open", f"{how} is not shown to help{change}. {state}")
    return Sentence("good" if found.helped else "bad", f"{how} {'helps' if found.helped else 'does NOT help'}{change}. {state}")


def _groups(results: Results, ranking: str) -> list[Sentence]:
    """The widest gap between subgroups, the one between patterns of inputs, and how many groups show nothing."""
    gaps = [g for g in results.gaps if g.metric == ranking]
    patterns = [g for g in gaps if g.column == _PATTERN]
    others = [g for g in gaps if g.column != _PATTERN]
    sentences = [_gap(g) for g in _widest(others) + patterns]
    hidden = [g for g in results.groups if g.suppressed is not None]
    if hidden:
        sentences.append(Sentence("open", f"{len(hidden)} of {len(results.groups)} subgroups are too small to say anything about."))
    return sentences


def _widest(gaps: Sequence[Gap]) -> list[Gap]:
    measured = [g for g in gaps if g.gap.value is not None]
    return [max(measured, key=lambda g: abs(g.gap.value or 0))] if measured else []


def _gap(found: Gap) -> Sentence:
    where = "With inputs" if found.column == _PATTERN else f"In the subgroup {found.column} ="
    text = f"{where} {found.worst} the {found.metric} is lowest, {number(found.gap)} below {found.best}"
    if found.gap.low is not None and found.gap.low > 0:
        return Sentence("bad", f"{text}: it is NOT equally good for everybody.")
    return Sentence("open", f"{text}: that may be chance.")


def _sites(found: Heterogeneity) -> Sentence:
    if found.prediction_low is None or found.prediction_high is None:
        return Sentence("open", f"What to expect at another {found.column} cannot be told from {found.sites}.")
    expected = interval(found.prediction_low, found.prediction_high)
    text = f"At another {found.column} like these {found.sites} expect {found.metric} in{expected}"
    if found.prediction_low > 0.5:
        return Sentence("good", f"{text}: better than chance there too.")
    return Sentence("open", f"{text}: no better than chance cannot be ruled out there.")


def _sets(found: ConformalSets) -> Sentence:
    if found.coverage.value is None or found.coverage.high is None:
        return Sentence("open", f"Whether the prediction sets ({found.method}) keep their promise cannot be told.")
    promise = f"promised to hold the truth in {found.promised:g} of cases"
    text = f"Prediction sets ({found.method}) {promise} do so in {number(found.coverage)}"
    if found.coverage.high < found.promised:
        return Sentence("bad", f"{text}: the promise is BROKEN.")
    return Sentence("good", f"{text}, with {number(found.size, 2)} labels in a set.")


def _partition(results: Results) -> Sentence:
    proof = results.partition
    if proof is None or not proof.overlaps:
        return Sentence("open", "That no patient was used both to fit and to score is not shown here: only one split was seen.")
    shared = [o for o in proof.overlaps if o.patients or o.images]
    if shared:
        named = ", ".join(f"{o.first} and {o.second}" for o in shared)
        return Sentence("bad", f"LEAKAGE: the same patients or images are in {named}. No number here can be believed.")
    images = "nor any image " if any(o.images is not None for o in proof.overlaps) else ""
    unseen = "" if images else " Images were not compared."
    return Sentence("good", f"No patient {images}stands on two sides of the split ({', '.join(proof.samples)}).{unseen}")
