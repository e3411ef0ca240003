"""New identifiers for old ones: the same key gives the same answer in every run, another key an unrelated one.

Each is a keyed hash (HMAC-SHA-256, RFC 2104), so nobody without the key can try out names, and no
table of who is who is ever written.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from pathlib import Path

from medmm.disk import replace_bytes
from medmm.errors import InputError, NoImageError

_KEY_BYTES = 32
_SHORTEST = 16
_SHIFT_DAYS = 3650
_STANDARD = "1.2.840.10008."  # names of things in the standard, not of anyone's images


class Pseudonyms:
    """Replacements for identifiers under one key.

    Args:
        key: Secret bytes, at least 16; None for a fresh key that is forgotten afterwards.

    Raises:
        InputError: If the key is too short to be secret.
    """

    def __init__(self, key: bytes | None = None) -> None:
        if key is not None and len(key) < _SHORTEST:
            msg = f"Expected a key of at least {_SHORTEST} bytes; got {len(key)}. Let medmm make one: --new-key."
            raise InputError(msg)
        self._key = key or secrets.token_bytes(_KEY_BYTES)

    def uid(self, old: str) -> str:
        """A UID for a UID; those that the standard itself defines stay."""
        if not old or old.startswith(_STANDARD):
            return old
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', old)[:16], version=5).int}"

    def patient(self, old: str) -> str:
        """A patient identifier; the same patient keeps one over all studies."""
        return f"ID-{self._digest('patient', old).hex()[:12].upper()}" if old else ""

    def days(self, patient: str) -> int:
        """By how many days a patient's dates move, into the past: all by the same, so intervals stay true."""
        return -1 - int.from_bytes(self._digest("days", patient)[:8]) % _SHIFT_DAYS

    def _digest(self, what: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{what}\0{value}".encode(), hashlib.sha256)


def read_key(file: Path) -> bytes:
    """Bytes of a key file.

    Raises:
        NoImageError: If there is none.
    """
    try:
        return file.read_bytes().strip()
    except OSError:
        msg = "Expected a readable key file; there is none at the given path. Make one with --new-key."
        raise NoImageError(msg) from None


def make_key(file: Path) -> bytes:
    """Write a fresh key that only its owner may read.

    Raises:
        InputError: If the file is there already: whoever overwrites a key loses what it links.
        StoreError: If the file system refuses.
    """
    if file.exists():
        msg = "Expected --new-key to name a file that is not there yet; it is. Use it with --key, or give another name."
        raise InputError(msg)
    key = secrets.token_hex(_KEY_BYTES).encode()
    file.touch(mode=0o600)
    replace_bytes(file, key)
    file.chmod(0o600)
    return key
