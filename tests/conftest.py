"""What tests share: a small cohort with known truth, a model trained on it, and real patients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.shelf import examples

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and threads that wait for one another's turn spin
TINY = ["--set", "voxels=13824", "--set", "width=32", "--epochs", "3", "--labels", "negative,positive"]
"""Choices that make `medmm train` a matter of seconds."""


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cohort of 60 synthetic patients as DICOM series: cohort.csv, truth.json, images/, masks/."""
    from medmm.sources.phantom import make_phantom

    folder = tmp_path_factory.mktemp("phantom")
    make_phantom(folder, 60, seed=5, matrix=48)
    return folder


@pytest.fixture(scope="session")
def tiny_model(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder trained for three epochs on `phantom`: works in every way, knows little."""
    out = tmp_path_factory.mktemp("model") / "tiny"
    run_medmm("train", phantom / "cohort.csv", "--out", out, *TINY, check=True)
    return out


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Space with the model `phantom`."""
    out = tmp_path_factory.mktemp("space") / "bundle"
    run_medmm("space", "build", out, "--model", "phantom", check=True)
    return out


@pytest.fixture(scope="session")
def patient_zip() -> Path:
    """A real patient's CT as a zip of DICOM slices, shipped as an example."""
    return next(e.path for e in examples() if e.model == "sts51")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of more real data beside the checkout, or named by MEDMM_TEST_DATA; tests that need it are skipped without."""
    folder = Path(os.environ.get("MEDMM_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "sts51").is_dir():
        pytest.skip("there is no ../shared/data, and MEDMM_TEST_DATA names no folder with sts51/ and dicom/")
    return folder


@pytest.fixture(scope="session")
def imported() -> Callable[..., Any]:
    """Make a run folder of rows of a predictions file, score it, and return the results."""
    from medmm.evaluation.exchange import import_predictions
    from medmm.evaluation.files import score_to_folder

    def write(folder: Path, rows: list[dict[str, Any]]) -> Any:
        table, task = folder / "made.jsonl", folder / "task.yaml"
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        labels = "[a, b, c]" if "p__a" in rows[0] else "['no', 'yes']"
        task.write_text(f"name: lungs\nlabels: {labels}\nintervals: {{replicates: 100}}\n", encoding="utf-8")
        import_predictions(table, folder, task)
        return score_to_folder(folder, None, None, None)

    return write


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory, imported: Callable[..., Any]) -> Path:
    """A folder with two measured runs of the same 40 patients below it, `good` and `nested/poor`, and files that are none."""
    root = tmp_path_factory.mktemp("runs")
    for name, strength in (("good", 3.0), ("nested/poor", 0.5)):
        rng = np.random.default_rng(0)
        folder = root / name
        folder.mkdir(parents=True)
        rows = []
        for i in range(40):
            y = bool(rng.random() < 0.5)
            p = float(1 / (1 + np.exp(-strength * (2 * y - 1) - rng.normal())))
            row = {"sample_id": f"<b>s{i}", "split": "test", "pattern": "image", "label": "yes" if y else "no"}
            rows.append(row | {"p__no": 1 - p, "p__yes": p})
        imported(folder, rows)
    (root / "other.json").write_text('{"schema": "another"}', encoding="utf-8")
    (root / "metrics.json").write_text('{"schema": "medmm.metrics/2", "cut off', encoding="utf-8")
    return root


@pytest.fixture
def install_plugin(tmp_path: Path) -> Callable[[str], Path]:
    """Install a package of `tests/plugin` into a folder to put on PYTHONPATH, as pip would, and return it."""

    def install(name: str) -> Path:
        source, site = Path(__file__).parent / "plugin" / name, tmp_path / "site"
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        about = site / f"{project['name']}-{project['version']}.dist-info"
        about.mkdir(parents=True)
        for module in source.glob("*.py"):
            shutil.copy(module, site)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
        groups = project["entry-points"].items()
        lines = [f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in points.items()) for group, points in groups]
        (about / "entry_points.txt").write_text("\n".join(lines))
        return site

    return install


@pytest.fixture(scope="session")
def build_bert() -> Callable[..., Path]:
    """Function that writes a tiny Hugging Face BERT in hub layout, by default in single precision and without a head."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

    def build(folder: Path, dtype: Any = None, *, head: bool = False) -> Path:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        alphabet = [chr(c) for c in range(33, 127)]
        trainer = trainers.WordPieceTrainer(vocab_size=250, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(["no weight loss lesion of 24 mm man 61"] * 3, trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
        ).save_pretrained(folder)
        torch.manual_seed(1)
        size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
        config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=40, **size)
        (BertForMaskedLM if head else BertModel)(config).to(dtype or torch.float32).save_pretrained(folder)
        return folder

    return build


@pytest.fixture(scope="session")
def alive() -> Callable[[int], bool]:
    """Whether a child process is still there."""

    def check(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return check


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Headless Chromium: the system's, else playwright's own."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        except Exception as error:
            if os.environ.get("MEDMM_REQUIRE_BROWSER"):
                raise
            pytest.skip(f"no Chromium here: {type(error).__name__}")
        yield browser
        browser.close()


def run_medmm(*arguments: object, check: bool = False, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "medmm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check)
