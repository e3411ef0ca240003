"""`medmm eval report`: measured results in the forms that readers and other programs want."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medmm.disk import replace_bytes
from medmm.errors import InputError, PredictionsError
from medmm.evaluation.files import read_results
from medmm.results import Results, RunComparison

_METRICS, _COMPARISON = "metrics.json", "comparison.json"


def publish(source: Path, formats: Sequence[str], out: Path | None = None, images: Path | None = None) -> list[Path]:
    """Write what was measured, in each of the formats.

    Args:
        source: Run folder with `metrics.json` or `comparison.json`, or one of these files.
        formats: Of `html`, `md`, `csv`, `card`, `junit`; a comparison has the first two.
        out: Folder to write; else where the source lies.
        images: Cohort table whose studies are shown beside the worst cases.

    Returns:
        The files written.

    Raises:
        InputError: If there is no such format.
        PredictionsError: If there is nothing measured to read.
    """
    file = source if source.is_file() else _measured_in(source)
    folder = out or file.parent
    content = read_comparison(file) if file.name == _COMPARISON else read_results(file)
    forms = _forms_of_comparison(content) if isinstance(content, RunComparison) else _forms_of(content, images)
    unknown = [name for name in formats if name not in forms]
    if unknown:
        msg = f"Expected formats among {', '.join(forms)}; got {', '.join(unknown)}. Name one of these."
        raise InputError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in formats:
        file_name, write = forms[name]
        write(folder / file_name)
        written.append(folder / file_name)
    return written


def read_comparison(path: Path) -> RunComparison:
    """Read a `comparison.json`.

    Raises:
        PredictionsError: If it is not one of this schema version.
    """
    try:
        return RunComparison.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        msg = "Expected a comparison.json of this schema version; it is missing or another. Run `medmm eval compare` again."
        raise PredictionsError(msg) from None


Form = tuple[str, Callable[[Path], None]]
"""File name, and what writes it."""


def _forms_of(results: Results, images: Path | None) -> Mapping[str, Form]:
    from medmm.report.card_block import render_card_block
    from medmm.report.flat import write_metrics_csv
    from medmm.report.junit import render_junit
    from medmm.report.markdown import render_markdown
    from medmm.report.page import render_report
    from medmm.report.verdict import verdict_cases

    name = results.model.get("name", results.task)
    return {
        "html": ("report.html", _text(lambda: render_report(results, _pictures(results, images)))),
        "md": ("report.md", _text(lambda: render_markdown(results))),
        "csv": ("metrics.csv", lambda path: write_metrics_csv(results, path)),
        "card": ("card_block.md", _text(lambda: render_card_block(name, results))),
        "junit": ("verdict.xml", _text(lambda: render_junit(f"medmm verdict on {results.task}", verdict_cases(results)))),
    }


def _forms_of_comparison(comparison: RunComparison) -> Mapping[str, Form]:
    from medmm.report.markdown import render_comparison_markdown
    from medmm.report.page import render_comparison

    return {
        "html": ("comparison.html", _text(lambda: render_comparison(comparison))),
        "md": ("comparison.md", _text(lambda: render_comparison_markdown(comparison))),
    }


def _text(render: Callable[[], str]) -> Callable[[Path], None]:
    return lambda path: replace_bytes(path, render().encode())


def _pictures(results: Results, images: Path | None) -> dict[str, bytes]:
    if images is None:
        return {}
    from medmm.evaluation.thumbnails import thumbnails

    return thumbnails(images, {case.sample_id for case in results.worst})


def _measured_in(folder: Path) -> Path:
    for name in (_METRICS, _COMPARISON):
        if (folder / name).is_file():
            return folder / name
    msg = f"Expected a folder with {_METRICS} or {_COMPARISON}; there is neither. Run `medmm eval score` or `compare` first."
    raise PredictionsError(msg)
