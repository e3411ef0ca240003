"""Zips as nobody's honest program writes them."""

from __future__ import annotations

import io
import zipfile


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    """A deflated zip of these members, whatever their names."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    """A member that is a symbolic link; what it holds is where it leads."""
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member
