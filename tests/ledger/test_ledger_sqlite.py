"""What SQLite alone must stand: processes, forks, damage, locks, and the bytes that stay in a file."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boundary.ledger import Entry, LedgerDamaged, LedgerInvalid, LedgerUnavailable, open_ledger
from boundary.ledger.lines import user_key

MILK = Entry("shown", "milk", "home", 1_700_000_000_000_000, "s1", 0, "crowd", False)


def bytes_of(path: Path) -> bytes:
    """Read a database and its log in another process: to close the file in this one drops SQLite's locks."""
    files = [str(file) for file in path.parent.iterdir() if file.name.startswith(path.name)]
    return subprocess.run(["cat", *files], check=True, capture_output=True).stdout


def test_nothing_of_a_forgotten_user_is_left_in_the_file(tmp_path: Path) -> None:
    """Neither id, key nor slates of the forgotten stand anywhere in the file or its log."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    draw = random.Random(4)
    names = [f"user-number-{place}" for place in range(400)]
    for step, name in enumerate(draw.sample(names * 6, len(names) * 6)):  # in any order, so that pages are split
        slate = MILK._replace(slate_id=f"slate-of-{name}-{step}", item_id="x" * draw.randint(0, 150), at=step)
        assert ledger.append(name, [slate], expected_turn=ledger.read(name, 0)[1])
    kept = bytes_of(path)
    assert all(user_key(name) in kept for name in names)
    for name in names[::8]:
        assert ledger.forget(name) == 6
        left = bytes_of(path)
        assert user_key(name) not in left
        assert f"slate-of-{name}-".encode() not in left
    assert all(user_key(name) in left for name in names[1::8])
    assert all(name.encode() not in left.replace(b"slate-of-" + name.encode(), b"") for name in names)
    ledger.close()


def test_a_second_process_sees_what_the_first_wrote(tmp_path: Path) -> None:
    """What is appended here is read there, and the turn moved there is stale here."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = open_ledger(url)
    _, turn = ledger.read("ann", 0)
    code = (
        "import sys; from boundary.ledger import *; ledger = open_ledger(sys.argv[1]);"
        "entry = Entry('shown', 'tea', 'home', 5, 's', 0, 'crowd', False);"
        "print(ledger.append('ann', [entry], expected_turn=ledger.read('ann', 0)[1]))"
    )
    told = subprocess.run([sys.executable, "-c", code, url], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "True"
    assert not ledger.append("ann", [MILK], expected_turn=turn)
    assert [entry.item_id for entry in ledger.read("ann", 0)[0]] == ["tea"]
    ledger.close()


def test_many_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Five processes that all find no file make one ledger of it."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    code = (
        "import sys; from boundary.ledger import *; sys.stdin.read(1); ledger = open_ledger(sys.argv[1]);"
        "entry = Entry('shown', 'tea', 'home', 5, 's', 0, 'crowd', False)\n"
        "while not ledger.append('ann', [entry], expected_turn=ledger.read('ann', 0)[1]): pass"
    )
    command = [sys.executable, "-c", code, url]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(5)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"x")
        worker.stdin.flush()
    assert [worker.communicate()[1] for worker in workers] == [b""] * 5
    ledger = open_ledger(url)
    assert len(ledger.read("ann", 0)[0]) == 5
    ledger.close()


def in_a_child(work: str, ledger_url: str, tmp_path: Path) -> str:
    """Run a program that forks with an open ledger; give what it prints."""
    code = (
        "import os, sys; from boundary.ledger import *; ledger = open_ledger(sys.argv[1]);"
        "entry = Entry('shown', 'tea', 'home', 5, 's', 0, 'crowd', False);"
        "print(ledger.append('ann', [entry], expected_turn=ledger.read('ann', 0)[1]), flush=True)\n"
        f"if os.fork() == 0:\n    {work}\n    os._exit(0)\n"
        "os.wait(); print(len(ledger.read('ann', 0)[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code, ledger_url], check=True, capture_output=True, text=True)
    return done.stdout


def test_a_fork_leaves_both_sides_whole(tmp_path: Path) -> None:
    """Parent and child go on with the same ledger object."""
    work = "print(ledger.append('ann', [entry], expected_turn=ledger.read('ann', 0)[1]), flush=True)"
    assert in_a_child(work, f"sqlite:///{tmp_path}/ledger.db", tmp_path).split() == ["True", "True", "2"]


def test_a_ledger_in_memory_does_not_cross_a_fork(tmp_path: Path) -> None:
    """The child is told to use a file; the parent keeps what it has."""
    work = "try: ledger.read('ann', 0)\n    except LedgerError as error: print('file' in str(error), flush=True)"
    assert in_a_child(work, "sqlite://", tmp_path).split() == ["True", "True", "1"]


def test_another_writer_is_waited_for_and_then_told(tmp_path: Path) -> None:
    """A lock held by somebody else ends in one line within the timeout, and goes away with the lock."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}", timeout=0.1)
    _, turn = ledger.read("ann", 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(LedgerUnavailable, match=r"is locked by another process for 0.1 s: try again"):
        ledger.append("ann", [MILK], expected_turn=turn)
    assert time.monotonic() - started < 5
    assert ledger.read("ann", 0) == ([], turn)
    other.execute("ROLLBACK")
    other.close()
    assert ledger.append("ann", [MILK], expected_turn=turn)
    ledger.close()


def test_forget_says_when_a_reader_keeps_the_log(tmp_path: Path) -> None:
    """A reader in the way is told; once it is gone, forgetting again leaves no bytes."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}", timeout=0.1)
    ledger.append("ann", [MILK], expected_turn=ledger.read("ann", 0)[1])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM lines").fetchall()
    with pytest.raises(LedgerUnavailable, match=r"cannot empty its log for 0.1 s: forget once more"):
        ledger.forget("ann")
    assert ledger.read("ann", 0)[0] == []
    other.execute("ROLLBACK")
    other.close()
    assert ledger.forget("ann") == 0
    assert user_key("ann") not in bytes_of(path)
    ledger.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A missing folder and a folder in place of a file end in one line with the mend."""
    for path in (tmp_path / "no" / "ledger.db", tmp_path):
        with pytest.raises(LedgerUnavailable, match="check its folder, permissions and free space") as caught:
            open_ledger(f"sqlite:///{path}")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """Noise in place of a database is damage, and stays as it is."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"noise " * 1000)
    with pytest.raises(LedgerDamaged, match=r"ledger.db is damaged .*: move it away"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == b"noise " * 1000


def test_damage_is_told_and_mended_without_a_restart(tmp_path: Path) -> None:
    """A ledger whose file was spoilt says so, and works once the file is moved away."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    for place in range(200):
        ledger.append(f"user-{place}", [MILK], expected_turn=1)
    ledger.close()
    spoil = "import sys; file = open(sys.argv[1], 'r+b'); file.seek(4096); file.write(b'x' * 40960)"
    subprocess.run([sys.executable, "-c", spoil, str(path)], check=True)
    ledger = open_ledger(f"sqlite:///{path}")
    with pytest.raises(LedgerDamaged, match=r"ledger.db is damaged .*: move it away"):
        ledger.read_block([f"user-{place}" for place in range(200)], 0)
    for file in list(tmp_path.iterdir()):
        file.rename(tmp_path / f"spoilt-{file.name}")
    assert ledger.append("ann", [MILK], expected_turn=ledger.read("ann", 0)[1])
    ledger.close()


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """A foreign database is refused and not touched."""
    path = tmp_path / "shop.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE orders(id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerInvalid, match="another program's database"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_newer_layout_is_named(tmp_path: Path) -> None:
    """A ledger written by a newer program is not guessed at."""
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=2")
    other.close()
    with pytest.raises(LedgerDamaged, match="has layout 2, this program reads 1"):
        open_ledger(f"sqlite:///{path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_only_be_read_is_named(tmp_path: Path) -> None:
    """Reading works, writing ends in one line."""
    path = tmp_path / "ledger.db"
    open_ledger(f"sqlite:///{path}").close()
    path.chmod(0o400)
    ledger = open_ledger(f"sqlite:///{path}")
    with pytest.raises(LedgerUnavailable, match="permissions"):
        ledger.append("ann", [MILK], expected_turn=1)
