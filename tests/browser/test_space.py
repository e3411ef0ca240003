from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_bundle_serves_the_page_of_its_own_package(
    bundle: Path, serve: Callable[..., Any], visitor: Callable[[str], Any], tmp_path: Path
) -> None:
    visit = visitor(serve(tmp_path / "temp", str(bundle / "app.py")).url)
    assert visit.page.locator(".mm-example").count() == 1  # the installed package has more
    visit.open_example(0)
    answer = visit.run()
    assert "Calibrated probability" in answer
    assert "Model phantom" in answer
    assert visit.hosts == {visit.page.url.split("/")[2]}
