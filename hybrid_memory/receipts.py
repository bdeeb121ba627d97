"""Sign receipts of forgetting with a key of this machine, and check them later.

Flow:    forget -> [receipts] -> Receipt; whoever has the key can check one, years later and without the memory
Imports: errors, types.

HMAC-SHA256 (RFC 2104) over the receipt as canonical JSON: it shows that a holder of the key wrote these very
words. It is no public signature, because who can check one could also have written it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hybrid_memory.errors import ConfigError, InputError
from hybrid_memory.types import Json, Receipt

__all__ = ["check", "key_in", "sign"]

METHOD = "hmac-sha256"
LEAST_BYTES = 16


def key_in(file: Path) -> bytes:
    """Return the key in a file; a file that is not there yet is made, with 32 random bytes, for its owner only.

    Raises:
        ConfigError: the file cannot be read or made, or holds fewer than 16 bytes.
    """
    try:
        if not file.exists():
            _make(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"the key for receipts cannot be read from {file} ({error}); set forget.key_file to a file of this user"
        ) from error
    if len(key) < LEAST_BYTES:
        raise ConfigError(
            f"the key in {file} has {len(key)} bytes, at least {LEAST_BYTES} are needed; make a longer one"
        )
    return key


def sign(receipt: Receipt, key: bytes) -> Receipt:
    """Return the receipt with its signature: method, first 8 digits of the key's SHA-256, and the HMAC, in hex."""
    return replace(receipt, signature=f"{METHOD}:{_name(key)}:{_digest(receipt.to_json(), key)}")


def check(receipt: Receipt | Mapping[str, Json], key: bytes) -> bool:
    """Tell whether a receipt (or its JSON, read again) is word for word what was signed with this key.

    Raises:
        InputError: it is no receipt, it was never signed, or signed with another key.
    """
    data = receipt.to_json() if isinstance(receipt, Receipt) else dict(receipt)
    parts = str(data.get("signature") or "").split(":")
    if len(parts) != 3 or parts[0] != METHOD:
        raise InputError("this is no signed receipt; set forget.key_file before forgetting to get signed ones")
    if parts[1] != _name(key):
        raise InputError(
            f"the receipt was signed with key {parts[1]}, this one is {_name(key)}; give the right key file"
        )
    return hmac.compare_digest(parts[2], _digest(data, key))


def _make(file: Path) -> None:
    """Put the key in place whole: who comes second takes the first one's."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as made:
        made.write(secrets.token_hex(32) + "\n")
    with suppress(FileExistsError):
        os.link(aside, file)
    aside.unlink()


def _name(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:8]


def _digest(data: Mapping[str, Json], key: bytes) -> str:
    said = {name: value for name, value in data.items() if name != "signature"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
