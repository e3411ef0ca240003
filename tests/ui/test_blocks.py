"""What the page refuses to be launched as."""

from __future__ import annotations

import sys

import pytest

from medmm.errors import DependencyError, MedmmError
from medmm.ui.blocks import check_mcp


def test_an_mcp_server_needs_its_package_and_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    check_mcp(login=False)
    with pytest.raises(MedmmError, match="no login"):
        check_mcp(login=True)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(DependencyError, match=r"mcp.*pip install 'medmm\[mcp\]'"):
        check_mcp(login=False)
