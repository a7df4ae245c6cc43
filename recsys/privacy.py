"""How does a log or a report name a shopper without saying who it is? By a keyed hash whose key rotates."""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from boundary.words import MICROSECONDS_A_DAY

DIGEST, KEY = 8, 32  # bytes
ROTATION = MICROSECONDS_A_DAY


class Aliases:
    """Names for shoppers that hold within one rotation of the key, and say nothing to who has no secret.

    Args:
        secret: at least 16 bytes; None draws one that is gone with the process.
        rotation: microseconds after which a shopper gets another name.

    Raises:
        ValueError: a secret that can be guessed, or a rotation that never comes.

    Example:
        >>> aliases = Aliases(b"sixteen bytes or more")
        >>> today, later, tomorrow = (aliases.of("1228", now=hours * 3_600_000_000) for hours in (1, 2, 25))
        >>> today == later, today == tomorrow, "1228" in today
        (True, False, False)
    """

    def __init__(self, secret: bytes | None = None, *, rotation: int = ROTATION) -> None:
        self._secret = secrets.token_bytes(KEY) if secret is None else secret
        if len(self._secret) < KEY // 2:
            raise ValueError(f"`secret` must have at least {KEY // 2} bytes but has {len(self._secret)}")
        if rotation <= 0:
            raise ValueError(f"`rotation` must be above 0 microseconds but got {rotation}")
        self._rotation = rotation
        self._key = lru_cache(maxsize=4)(self._key_of)

    def of(self, user_id: str, *, now: int) -> str:
        """Return the shopper's name at a moment (microseconds UTC): ``~`` and 16 hexadecimal digits."""
        return "~" + keyed_hash(user_id, self._key(now // self._rotation), size=DIGEST)

    def _key_of(self, turn: int) -> bytes:
        return hashlib.blake2b(str(turn).encode(), key=self._secret[:64], digest_size=KEY, person=b"alias").digest()


def keyed_hash(user_id: str, key: bytes, *, size: int = 16) -> str:
    """Return a hash of an id that only the holder of the key can make again, 2 x ``size`` hexadecimal digits.

    Args:
        user_id: any text, lone surrogates included.
        key: at most 64 bytes.
        size: bytes of the hash.
    """
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=size).hexdigest()
