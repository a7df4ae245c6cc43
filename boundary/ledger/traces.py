"""Does a file that SQLite has open still hold certain bytes, in whatever corner of a page?"""

import os
import threading
from pathlib import Path
from typing import Final

CHUNK: Final = 1 << 20

_descriptors: dict[tuple[int, int], int] = {}
_lock = threading.Lock()


def holds(path: str, needle: bytes) -> bool:
    """Look for bytes anywhere in a file.

    The descriptor stays open for good: closing any descriptor of a file drops every lock that this process
    has on it, those of SQLite included.
    """
    status = Path(path).stat()
    file = status.st_dev, status.st_ino
    with _lock:
        if file not in _descriptors:
            _descriptors[file] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    position, tail = 0, b""
    while chunk := os.pread(_descriptors[file], CHUNK, position):
        if needle in tail + chunk:
            return True
        position, tail = position + len(chunk), chunk[1 - len(needle) :]
    return False
