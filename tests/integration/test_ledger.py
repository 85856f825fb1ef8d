"""The ledger of a daemon that runs, is killed, meets other programs at its files, and is verified."""
import json
import os
import shutil
import sqlite3
import subprocess

import pytest

from mayfly import BUILD, Daemon, Repository

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


def edit(daemon, *statements):
    """Somebody with a database tool, and no respect for triggers. The daemon is stopped."""
    db = sqlite3.connect(daemon.state / "ledger.db")
    for trigger, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def some_events(daemon, n=5):
    for i in range(n):
        daemon.ok("freeze", "--reason", str(i))
        daemon.ok("unfreeze")
    return max(e["number"] for e in json.loads(daemon.ok("events", "--json", "-n", "1000"))["events"])


def test_what_was_cut_off_is_told_ever_after(lonely):
    lonely.start()
    last = some_events(lonely)
    lonely.stop()
    edit(lonely, f"DELETE FROM event WHERE number > {last - 3}")
    lost = f"events {last - 2} to {last} are missing"
    for _ in range(2):
        status, words = verify(lonely)
        assert status == 1 and f"{lost}, the newest ones" in words and "The next start will be held" in words
    lonely.start()
    assert f"{lost}, noticed at 20" in verify(lonely)[1]
    lonely.ok("unfreeze")
    lonely.stop()
    lonely.start()
    status, words = verify(lonely)
    assert status == 1 and f"{lost}, noticed at 20" in words and "held" not in words


def test_no_change_hides_another(lonely):
    lonely.start()
    some_events(lonely)
    assert verify(lonely) == (0, "Every event and every receipt is as it was written\n")
    lonely.stop()
    copy = "time_ms, environment_id, project_id, kind, actor, trace, text, data, chain FROM event WHERE number = 2"
    edit(lonely, "UPDATE event SET text = text || char(0) || 'evil' WHERE number = 3",
         f"INSERT INTO event SELECT 0, {copy}", "UPDATE event SET actor = 'nobody' WHERE number = 5")
    status, words = verify(lonely)
    assert status == 1
    assert "an event 0" in words and "event 3 has more in it" in words and "event 5 does not follow" in words


def test_a_running_daemon_is_verified_without_a_word_to_it(lonely):
    """Nothing is written, and nothing changes for the daemon, however often somebody looks."""
    lonely.start()
    some_events(lonely)
    before = {name: (lonely.state / name).read_bytes() for name in ("ledger.db", "ledger.db-wal", "ledger.anchor")}
    for _ in range(3):
        assert verify(lonely)[0] == 0
    assert before == {name: (lonely.state / name).read_bytes() for name in before}
    some_events(lonely)
    lonely.kill()
    assert verify(lonely)[0] == 0  # its WAL lies there
    lonely.start()
    assert verify(lonely)[0] == 0 and not frozen(lonely)
    lonely.stop()
    assert verify(lonely)[0] == 0
    lonely.start()


def test_a_lost_key_is_said(lonely):
    lonely.start()
    lonely.stop()
    (lonely.state / "key").rename(lonely.folder / "away")
    for _ in range(2):
        status, words = verify(lonely)
        assert status == 1 and "is missing" in words
        lonely.start(wait=False)
        assert lonely.process.wait(30) == 1
        assert f"'{lonely.state}/key' is missing" in lonely.log_text() and not (lonely.state / "key").exists()
    (lonely.folder / "away").rename(lonely.state / "key")
    lonely.start()
    assert not frozen(lonely)


def test_a_receipt_that_was_taken_out_is_missed(lonely):
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello"))
    lonely.ok("project", "add", "shop", repository.bare)
    ids = []
    for _ in range(2):
        lonely.ok("up", "shop", "main")
        ids.append(lonely.show("main--shop")["id"])
        lonely.ok("down", "main--shop", "--wait")
    assert verify(lonely)[0] == 0
    lonely.stop()
    edit(lonely, f"DELETE FROM receipt WHERE environment_id = '{ids[1]}'")
    status, words = verify(lonely)
    assert status == 1 and f"the receipt of {ids[1]} is missing" in words
    lonely.start()
    for name in ("main--shop", ids[1]):  # and the older one is not shown in its place
        done = lonely.mayfly("receipt", name)
        assert done.returncode == 4 and "its receipt is missing" in done.stderr, done
    assert "The signature holds" in lonely.ok("receipt", ids[0])


def test_a_folder_that_was_put_back_is_held(lonely):
    """Ledger and anchor are of the same day and agree with each other."""
    lonely.start()
    some_events(lonely)
    lonely.stop()
    old = lonely.folder / "old"
    shutil.copytree(lonely.state, old)
    lonely.start()
    some_events(lonely)
    lonely.stop()
    shutil.rmtree(lonely.state)
    shutil.copytree(old, lonely.state)
    lonely.state.chmod(0o711)
    assert "The next start will be held: the state folder was copied" in verify(lonely)[1]
    lonely.start()
    assert "the state folder was copied" in json.dumps(frozen(lonely))
    assert "mayfly unfreeze" in lonely.log_text()
    lonely.ok("unfreeze")
    lonely.kill()
    lonely.start()
    assert not frozen(lonely)


def fill(folder):
    """Takes the disk's last byte."""
    with open(folder / "filler", "ab", buffering=0) as filler:
        for size in (65536, 4096, 1):
            try:
                while filler.write(b"x" * size):
                    pass
            except OSError:
                continue


@pytest.fixture
def small_disk():
    """A daemon with a file system of its own."""
    d = Daemon()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=0711", "none", d.folder],
                                      check=False).returncode:
        shutil.rmtree(d.folder)
        pytest.skip("no file system can be mounted here")
    d.configure({})
    try:
        yield d
        d.clean()
    finally:
        subprocess.run(["umount", "-l", d.folder], check=False)
        shutil.rmtree(d.folder)


@pytest.mark.parametrize("end", ("kill", "stop"))
def test_a_restart_on_a_full_disk_serves(small_disk, end):
    """Previews answer, what is known is shown, what cannot be stored is refused; with room all is well."""
    daemon = small_disk.start()
    repository = Repository(daemon.folder)
    repository.push("main", repository.product("hello"))
    daemon.ok("project", "add", "shop", repository.bare)
    daemon.ok("up", "shop", "main")
    for _ in range(2):
        getattr(daemon, end)()
        fill(daemon.state)
        daemon.start()
        assert daemon.get("main--shop")[1] == "hello"
        assert [e["label"] for e in daemon.environments()] == ["main--shop"]
    for i in range(50):  # the WAL has some room left
        done = daemon.mayfly("pin", "main--shop", "--reason", f"demo {i}")
        if done.returncode:
            break
    assert done.returncode and "ledger" in done.stderr, done
    (daemon.state / "filler").unlink()
    daemon.ok("pin", "main--shop", "--reason", "at last")
    daemon.kill()
    daemon.start()
    assert "at last" in json.dumps(daemon.show("main--shop")) and not frozen(daemon)
