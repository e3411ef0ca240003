"""The model card's block: what the Hub reads back is what was measured."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from medmm.report.card_block import model_index, render_card_block
from medmm.report.words import headline_metrics


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_the_hub_reads_back_every_headline_number(results_of, kind) -> None:
    results = results_of(kind, question="Is it there?")
    card = ModelCard(render_card_block("lungs", results))
    full = results.arms[0]
    assert card.data.model_name == "lungs"
    found = {e.metric_type: e for e in card.data.eval_results}
    assert list(found) == headline_metrics(full)
    for name, e in found.items():
        assert e.metric_value == pytest.approx(full.metrics[name].value, abs=1e-6)
        assert f"{full.metrics[name].low:.3f}" in e.metric_name
        assert (e.dataset_type, e.dataset_split, e.task_name) == (results.task, results.split, "Is it there?")
    assert results.disclaimer in card.text
    assert f"| full | {full.n} |" in card.text


def test_an_undefined_number_is_left_out_for_machines_and_said_to_people(results_of) -> None:
    results = results_of(n=12, one_class=True)
    (entry,) = model_index("lungs", results)
    assert "auroc" not in {m["type"] for m in entry["results"][0]["metrics"]}
    assert "undefined" in render_card_block("lungs", results)
