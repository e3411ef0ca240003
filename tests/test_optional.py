from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medmm.errors import DependencyError
from medmm.optional import _unseen, require

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_an_installed_module_is_returned() -> None:
    assert require("math", "Arithmetic", "model") is math


def test_a_missing_module_says_what_for_and_how_to_install() -> None:
    with pytest.raises(DependencyError) as caught:
        require("package_nobody_has", "Levitation", "demo")
    assert caught.value.message == (
        "Levitation needs the package package_nobody_has, which is not installed. Install it with: pip install 'medmm[demo]'."
    )


def test_the_requirement_in_the_message_is_the_one_of_the_project_file() -> None:
    stated = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["parquet"]
    with pytest.raises(DependencyError) as caught:
        require("pyarrow.module_nobody_has", "Reading Parquet", "parquet")
    assert f"the package {stated[0]}, which" in caught.value.message


def test_monai_comes_without_transformers_which_can_be_imported_after_it() -> None:
    script = (
        "import sys\n"
        "from medmm.optional import monai\n"
        "assert monai('networks.nets').ResNet.__name__ == 'ResNet'\n"
        "assert 'transformers' not in sys.modules\n"
        "import transformers.models.bert.modeling_bert\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)


def test_in_our_own_process_monai_comes_without_what_its_other_users_need() -> None:
    script = (
        "import sys\n"
        "from medmm.optional import monai, own_process\n"
        "own_process()\n"
        "for module in ('data', 'transforms', 'networks.nets', 'networks.nets.swin_unetr'):\n"
        "    monai(module)\n"
        "assert not {'mlflow', 'optuna', 'pandas', 'sklearn', 'transformers'} & set(sys.modules)\n"
        "import pandas\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)


def test_only_the_thread_that_asks_for_it_is_kept_from_a_package_and_only_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "package_imported_by_nobody"  # the standard library's may have been imported by another test
    (tmp_path / f"{name}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def found() -> bool:
        return importlib.util.find_spec(name) is not None

    with ThreadPoolExecutor(1) as other, _unseen(name):
        assert other.submit(found).result()
        with pytest.raises(ModuleNotFoundError, match=name):
            found()
    assert found()
