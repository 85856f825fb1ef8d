"""The ledger of a daemon that runs, is killed, meets other programs at its files, and is verified."""
import json
import os
import sqlite3
import subprocess

import pytest

from mayfly import BUILD, Daemon

MAYFLYD = BUILD / "orchestrator" / "mayflyd"


@pytest.fixture
def lonely():
    d = Daemon()
    yield d
    d.clean()


def verify(daemon):
    """(exit status, everything that was said)"""
    done = subprocess.run([MAYFLYD, "--verify-log", "--state", daemon.state], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def open_files(daemon):
    """What the daemon has open of its ledger."""
    folder = f"/proc/{daemon.process.pid}/fd"
    found = []
    for fd in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{fd}"))
        except OSError:
            continue
    return sorted(name for name in found if "/ledger.db" in name)


def frozen(daemon):
    return json.loads(daemon.ok("status", "--json"))["frozen"]


def read(daemon):
    """Another program that looks into the ledger and goes away again."""
    db = sqlite3.connect(daemon.state / "ledger.db")
    db.execute("SELECT count(*) FROM event").fetchone()
    db.close()


@pytest.mark.parametrize("reader", ("backup", "verify", "another"))
def test_what_is_acknowledged_after_a_reader_is_kept(lonely, reader):
    """The last one to close a database removes its WAL: nobody but the daemon may be that."""
    lonely.start()
    one, two = lonely.folder / "1.db", lonely.folder / "2.db"
    if reader == "backup":
        lonely.ok("backup", one)
    elif reader == "verify":
        assert verify(lonely)[0] == 0
    else:
        read(lonely)
    lonely.ok("freeze", "--reason", "dear")
    state = str(lonely.state)
    assert open_files(lonely) == [f"{state}/ledger.db", f"{state}/ledger.db-shm", f"{state}/ledger.db-wal"]
    lonely.ok("backup", two)
    copy = sqlite3.connect(two)
    assert "dear" in copy.execute("SELECT value FROM value WHERE name = 'frozen'").fetchone()[0]
    copy.close()
    lonely.kill()
    lonely.start()
    assert "dear" in json.dumps(frozen(lonely))
    lonely.ok("unfreeze")
