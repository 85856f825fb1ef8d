"""mayflyd --restore: a backup takes the ledger's place, or nothing changes at all."""
import json
import os
import signal
import subprocess
import sys

import pytest

from mayfly import BUILD, ROOT, Daemon, Repository

sys.path.insert(0, str(ROOT / "tests" / "crash"))
import points  # noqa: E402

POINTS = sorted(p for p in points.all_points() if p.startswith("ledger.restore."))


@pytest.fixture
def shop():
    """Stopped. The backup knows one project, the ledger two."""
    d = Daemon()
    d.start()
    bare = Repository(d.folder).bare
    d.ok("project", "add", "first", bare)
    d.copy = d.folder / "copy.db"
    d.ok("backup", d.copy)
    d.ok("project", "add", "second", bare)
    d.stop()
    yield d
    d.clean()


def restore(daemon, path, status=0, **env):
    done = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--state", daemon.state, "--restore", path],
                          capture_output=True, text=True, timeout=60, check=False, env={**daemon.env, **env})
    assert "Sanitizer" not in done.stderr and done.returncode == status, done
    return done.stdout + done.stderr


def projects(daemon):
    return sorted(project["name"] for project in json.loads(daemon.ok("project", "list", "--json"))["projects"])


def content(daemon):
    """Each file that is not the daemon's own business, by its bytes."""
    return {path.name: path.read_bytes() for path in daemon.state.iterdir()
            if path.is_file() and path.name not in ("lock", "gitconfig", "ledger.db.reserve")}


def test_a_running_daemon_keeps_its_ledger(shop):
    shop.start()
    words = restore(shop, shop.copy, 1)
    assert "already uses the state folder" in words and "stop it first" in words
    assert projects(shop) == ["first", "second"] and not list(shop.state.glob("ledger.before*"))


def test_the_backup_takes_the_place_and_is_held(shop):
    words = restore(shop, shop.copy)
    assert "will be held" in words and "mayfly unfreeze" in words and "ledger.before-1" in words
    assert (shop.state / "ledger.db").stat().st_mode & 0o777 == 0o600
    shop.start()
    assert projects(shop) == ["first"]
    assert "mayfly unfreeze" in shop.ok("status")
    shop.ok("unfreeze")
    shop.stop()
    # and back: what was kept is a ledger like any other
    words = restore(shop, shop.state / "ledger.before-1" / "ledger.db")
    assert "ledger.before-2" in words and "will be held" in words
    shop.start()
    assert projects(shop) == ["first", "second"] and "unfreeze" in shop.ok("status")


def kill_over_wal(daemon):
    """Its last commits stand in the WAL only."""
    other = daemon.folder / "other"
    other.mkdir()
    daemon.start()
    daemon.ok("project", "add", "third", Repository(other).bare)
    daemon.kill()
    assert (daemon.state / "ledger.db-wal").stat().st_size > 0


def test_a_killed_daemons_last_words_are_kept(shop):
    """They are in what was kept, and do not come over the backup."""
    kill_over_wal(shop)
    restore(shop, shop.copy)
    shop.start()
    assert projects(shop) == ["first"]
    shop.stop()
    restore(shop, shop.state / "ledger.before-1" / "ledger.db")
    shop.start()
    assert projects(shop) == ["first", "second", "third"]


def test_a_ledger_that_does_not_open_is_put_aside(shop):
    kill_over_wal(shop)
    (shop.state / "ledger.db").write_bytes(b"spoilt" * 10000)
    wal = (shop.state / "ledger.db-wal").read_bytes()
    assert "ledger.before-1" in restore(shop, shop.copy)
    assert (shop.state / "ledger.before-1" / "ledger.db").read_bytes().startswith(b"spoilt")
    assert (shop.state / "ledger.before-1" / "ledger.db-wal").read_bytes() == wal
    shop.start()
    assert projects(shop) == ["first"]


def test_a_new_machine_has_only_the_backup_and_the_key(shop):
    for path in shop.state.glob("ledger.*"):
        path.unlink()
    words = restore(shop, shop.copy)
    assert "held" in words and "before" not in words.replace("The one before", "")
    shop.start()
    assert projects(shop) == ["first"] and "unfreeze" in shop.ok("status")


@pytest.fixture
def stranger():
    d = Daemon()
    d.start()
    d.ok("backup", d.folder / "copy.db")
    d.stop()
    yield d
    d.clean()


def test_what_does_not_open_changes_nothing(shop, stranger):
    whole = shop.copy.read_bytes()
    bad = shop.folder / "bad.db"
    damaged = bytearray(whole)
    for at in range(4096, len(damaged), 512):
        damaged[at] ^= 0xff
    before = content(shop)
    for data, word in ((b"", "not a ledger"), (b"dear diary" * 1000, ""), (whole[:len(whole) // 2], ""), (bytes(damaged), "")):
        bad.write_bytes(data)
        words = restore(shop, bad, 1)
        assert "cannot be restored" in words and word in words, words
        assert content(shop) == before
    for path, word in ((shop.folder, "no plain file"), (shop.folder / "nowhere.db", "No such file"),
                       (shop.state / "ledger.db", "the ledger itself"),
                       (stranger.folder / "copy.db", "The key file is not the one")):
        words = restore(shop, path, 1)
        assert word in words, words
        assert content(shop) == before
    (shop.state / "key").rename(shop.folder / "key")
    words = restore(shop, shop.copy, 1)
    assert "key" in words and "missing" in words
    (shop.folder / "key").rename(shop.state / "key")
    assert content(shop) == before and not list(shop.state.glob("ledger.before*"))
    shop.start()
    assert projects(shop) == ["first", "second"] and "unfreeze" not in shop.ok("status")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_only_the_owner_restores(shop):
    before = content(shop)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BUILD / "orchestrator" / "mayflyd",
                           "--state", shop.state, "--restore", shop.copy], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "run this as that user" in done.stderr, done
    (shop.folder / "empty").mkdir()
    os.chown(shop.folder / "empty", 65534, 65534)
    done = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--state", shop.folder / "empty", "--restore", shop.copy],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "run this as that user" in done.stderr, done
    assert content(shop) == before and not os.listdir(shop.folder / "empty")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_changes_nothing(shop):
    small = shop.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        for path in shop.state.iterdir():
            if path.is_file():
                (small / path.name).write_bytes(path.read_bytes())
        with open(small / "fill", "wb", buffering=0) as fill, pytest.raises(OSError):
            while True:
                fill.write(bytes(4096))
        def there():
            return {path.name: path.read_bytes() for path in small.iterdir() if path.name != "lock"}
        before = there()
        done = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--state", small, "--restore", shop.copy],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and "No space left" in done.stderr, done
        assert there() == before
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_points_are_known():
    assert len(POINTS) >= 4


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_nothing_is_lost(shop, point):
    kill_over_wal(shop)
    restore(shop, shop.copy, -signal.SIGKILL, MAYFLY_CRASH=f"{point}:1")
    done = point == "ledger.restore.named"
    shop.start()  # whoever does not notice finds all of the ledger, or the backup
    assert projects(shop) == (["first"] if done else ["first", "second", "third"])
    assert ("unfreeze" in shop.ok("status")) == done
    assert not (shop.state / "ledger.restoring").exists()
    shop.stop()
    restore(shop, shop.copy)
    assert sorted(path.name for path in shop.state.glob("ledger.restoring*")) == []
    shop.start()
    assert projects(shop) == ["first"] and "unfreeze" in shop.ok("status")
    kept = [path for path in shop.state.glob("ledger.before-*")]
    assert kept and all((path / "ledger.db").stat().st_size > 0 for path in kept)
