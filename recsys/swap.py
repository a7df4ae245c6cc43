"""How does a directory change under its readers? A draft is written beside it, and both trade places at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

AT_CWD, EXCHANGE = -100, 2  # of renameat2(2)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one writer at a time change the directory, and clear away what a killed one left beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in path.parent.glob(f".{glob_safe(path.name)}.draft-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextlib.contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give an empty directory that takes the place of ``path`` when the block ends well; the old one is removed.

    Call it under ``locked``. Readers that hold files of the old directory open, or mapped, keep reading those.
    """
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.draft-"))
    try:
        yield draft
        if not path.exists():
            draft.rename(path)
        elif not _exchange(draft, path):
            old = draft.with_name(draft.name + "-old")
            path.rename(old)
            draft.rename(path)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def link_tree(source: Path, target: Path, *, skip: frozenset[str] = frozenset()) -> None:
    """Fill a directory with the files of another without copying them; names in ``skip`` are left out."""
    for entry in source.iterdir():
        if entry.name in skip:
            continue
        if entry.is_dir():
            (target / entry.name).mkdir()
            link_tree(entry, target / entry.name)
            continue
        try:
            os.link(entry, target / entry.name)
        except OSError:
            shutil.copy2(entry, target / entry.name)


def inode(path: Path) -> tuple[int, int] | None:
    """Return what names a directory as long as it is not replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def glob_safe(name: str) -> str:
    """Return a name in a form that a glob takes as it stands.

    Example:
        >>> glob_safe("a[b]*")
        'a[[]b][*]'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _exchange(one: Path, other: Path) -> bool:
    """Let two directories trade names in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(AT_CWD, os.fsencode(one), AT_CWD, os.fsencode(other), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:
        return False
    raise OSError(code, os.strerror(code), str(other))
