"""The comparison of everything that was trained on one cohort: its document, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from medmm.report import figures
from medmm.report.canvas import on_paper
from medmm.report.markdown import escape
from medmm.report.words import number
from medmm.results import Intervals, Value

Outcome = Literal["better", "worse", "not_shown", "reference", "undefined"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Difference(_Strict):
    """A row minus another in one metric, on the same samples.

    Attributes:
        value: Difference with its interval, patients resampled for both alike.
        p_value, adjusted_p: Of no difference, by bootstrap; corrected for the number of rows (Holm).
        outcome: Whether a difference is shown: its interval leaves out zero and the corrected p is below 1 - level.
    """

    value: Value
    p_value: float | None
    adjusted_p: float | None
    outcome: Outcome


class AblationRow(_Strict):
    """What one way of answering came to.

    Attributes:
        name: Unique.
        what: `model` for what was trained here, `baseline` for the rows it has to beat.
        modalities: Inputs it reads.
        fusion: Layer that joins them, empty for one input.
        seeds: Of the trainings that are averaged.
        metrics: Mean over the seeds, with an interval that resamples patients.
        spread: Standard deviation over the seeds, for more than one.
        differences: Metric to difference from the reference row; empty for the reference itself.
        beyond: Of a model, metric to difference from the best baseline; p values are corrected for the number of models.
        given: The same models where they are given some of their modalities only, e.g. `text`: metrics, as above.
        parameters: Trainable numbers.
        milliseconds: Of the network for one study, median.
    """

    name: str
    what: Literal["model", "baseline"]
    modalities: tuple[str, ...] = ()
    fusion: str = ""
    seeds: tuple[int, ...] = ()
    metrics: dict[str, Value]
    spread: dict[str, float] = {}
    differences: dict[str, Difference] = {}
    beyond: dict[str, Difference] = {}
    given: dict[str, dict[str, Value]] = {}
    parameters: int | None = None
    milliseconds: float | None = None


class Ablation(_Strict):
    """Content of `ablation.json`.

    Attributes:
        medmm, disclaimer: Version, and what no result may be used for.
        task, cohort_sha256, split: What was measured; `out-of-fold` when folds were used.
        n, patients: Samples that every row answered, and of how many patients, or of how many of what intervals resample.
        intervals: How intervals were made.
        reference: Row the differences are from: the best single modality in `endpoint`.
        baseline: The best of the baselines in `endpoint`; empty in results made before models were compared with it.
        endpoint: Metric that chose them.
        rows: Models, then baselines.
        notes: What a reader must know.
    """

    medmm: str
    disclaimer: str
    task: str
    cohort_sha256: str
    split: str
    n: int
    patients: int
    intervals: Intervals
    reference: str
    baseline: str = ""
    endpoint: str
    rows: tuple[AblationRow, ...]
    notes: tuple[str, ...] = ()


def render_ablation(ablation: Ablation) -> str:
    """The table as Markdown, best row first, baselines below.

    Args:
        ablation: Content of `ablation.json`.
    """
    names = list(ablation.rows[0].metrics)
    drawn = ablation.intervals.method.partition(" bootstrap")[0] + "s"
    others = [name for name in (ablation.reference, ablation.baseline) if name]
    compared = [cell for other in others for cell in (f"{ablation.endpoint} minus {other}", "p")]
    head = ["row", *names, *compared, "parameters", "ms a study"]
    lines = [f"| {' | '.join(map(escape, head))} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(_cells(row, names, ablation))} |" for row in _ranked(ablation)]
    notes = "".join(f"- {escape(note)}\n" for note in ablation.notes)
    return (
        f"# {escape(ablation.task)}: what is worth having\n\n{ablation.disclaimer}\n\n"
        f"{ablation.n} samples of {ablation.patients} {escape(drawn)}, {escape(ablation.split)}. Means over seeds; "
        f"{ablation.intervals.level:.0%} intervals resample {escape(drawn)}. p values are corrected for the number of rows (Holm); "
        f"a difference is in bold where it is shown.\n\n" + "\n".join(lines) + f"\n\n{_render_given(ablation, names)}{notes}"
    )


def _render_given(ablation: Ablation, names: Sequence[str]) -> str:
    """How models of several modalities answer where some are missing; empty when nobody was asked that."""
    rows = [(row, given) for row in _ranked(ablation) for given in row.given]
    if not rows:
        return ""
    lines = [f"| {' | '.join(map(escape, ['row', 'given', *names]))} |", "|" + " --- |" * (len(names) + 2)]
    lines += [f"| {' | '.join([escape(r.name), given, *(number(r.given[given][n]) for n in names)])} |" for r, given in rows]
    return "The same models, given only some of what they read:\n\n" + "\n".join(lines) + "\n\n"


def draw_ablation(ablation: Ablation) -> str:
    """The endpoint of every row with its interval, as a file of SVG."""
    shown = {row.name: row.metrics[ablation.endpoint] for row in _ranked(ablation)}
    return on_paper(figures.forest_figure(shown, ablation.endpoint))


def _ranked(ablation: Ablation) -> Sequence[AblationRow]:
    def key(row: AblationRow) -> tuple[bool, float]:
        value = row.metrics[ablation.endpoint]
        sign = -1.0 if value.better == "higher" else 1.0
        return row.what == "baseline", float("inf") if value.value is None else sign * value.value

    return sorted(ablation.rows, key=key)


def _cells(row: AblationRow, names: Sequence[str], ablation: Ablation) -> list[str]:
    found = [row.differences] + [row.beyond] * bool(ablation.baseline)
    compared = [cell for differences in found for cell in _compared(differences.get(ablation.endpoint))]
    size = "" if row.parameters is None else f"{row.parameters:,}"
    time = "" if row.milliseconds is None else f"{row.milliseconds:.1f}"
    return [escape(row.name), *(number(row.metrics[n]) for n in names), *compared, size, time]


def _compared(difference: Difference | None) -> tuple[str, str]:
    """A difference, in bold where it is shown, and its corrected p value."""
    if difference is None:
        return "", ""
    moved, p = number(difference.value), difference.adjusted_p
    return f"**{moved}**" if difference.outcome in ("better", "worse") else moved, "" if p is None else f"{p:.3f}"
