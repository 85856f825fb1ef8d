"""mayfly backup: taken while everything goes on; put back, the ledger is held until somebody looked."""
import hashlib
import http.server
import json
import os
import signal
import socketserver
import sqlite3
import stat
import subprocess
import threading
import time

import pytest

from mayfly import BUILD, Daemon, Repository, UnixConnection, wait_until


@pytest.fixture
def lonely():
    d = Daemon({"clocks": {"delete_after_close": "1s"}})
    yield d
    d.clean()


@pytest.fixture
def shop(lonely):
    lonely.start()
    lonely.repository = Repository(lonely.folder)
    lonely.repository.push("main", lonely.repository.product("hello"))
    lonely.ok("project", "add", "shop", lonely.repository.bare)
    lonely.ok("up", "shop", "main")
    return lonely


def check_copy(path):
    """The projects that a whole backup knows."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT value FROM value WHERE name = 'copied'").fetchone() == ("1",)
        return [name for name, in db.execute("SELECT name FROM project")]
    finally:
        db.close()


def test_backups_are_whole_while_pushes_go_on(shop):
    folder, over = shop.folder / "backups", threading.Event()
    folder.mkdir()

    def busy():
        n = 0
        while not over.is_set():
            shop.api("POST", "/v1/projects/shop/push", {"branch": f"b{n % 5}", "commit": f"{n:040x}"})
            shop.api("POST", "/v1/environments/main--shop/extend", {"by_ms": 1000})
            n += 1

    pusher = threading.Thread(target=busy)
    pusher.start()
    try:
        for n in range(5):
            done = json.loads(shop.ok("backup", folder / f"{n}.db", "--json"))
            data = (folder / f"{n}.db").read_bytes()
            assert done["size"] == len(data) and done["sha256"] == hashlib.sha256(data).hexdigest()
            assert done["not_included"] == [f"{shop.state}/key", f"{shop.state}/key.signing"]
            assert check_copy(folder / f"{n}.db") == ["shop"]
    finally:
        over.set()
        pusher.join()
    assert sorted(os.listdir(folder)) == [f"{n}.db" for n in range(5)]
    assert not (shop.state / "backup").exists()
    assert "installation.backup-made" in shop.ok("events", "--json", "-n", "1000")


def test_what_is_there_is_replaced_only_with_force(shop):
    path = shop.folder / "copy.db"
    path.write_text("dear")
    done = shop.mayfly("backup", path)
    assert done.returncode == 5 and "--force" in done.stderr and path.read_text() == "dear"
    words = shop.ok("backup", path, "--force")
    assert f"{shop.state}/key.signing" in words and "mayfly unfreeze" in words
    assert check_copy(path) == ["shop"]
    for other in (shop.folder, shop.state / "api.sock"):
        done = shop.mayfly("backup", other, "--force")
        assert done.returncode == 5 and "no plain file" in done.stderr
    done = shop.mayfly("backup", shop.folder / "nowhere" / "copy.db")
    assert done.returncode == 1 and "No such file" in done.stderr
    assert shop.mayfly("backup", path, "--force", "--socket", shop.folder / "none").returncode == 3
    assert check_copy(path) == ["shop"]
    assert not list(shop.folder.glob("copy.db.*"))


def test_the_daemons_own_folder_takes_none(shop):
    state = shop.state
    (state / "deeper").mkdir()
    before = sorted(os.listdir(state))
    for name in ("ledger.db", "copy.db", "deeper/copy.db", "deeper/../copy.db"):
        done = shop.mayfly("backup", "--force", state / name)
        assert done.returncode == 5 and "own folder" in done.stderr, done.stderr
    assert sorted(os.listdir(state)) == before and not os.listdir(state / "deeper")
    (state / "deeper").rmdir()
    assert shop.api("GET", "/v1/status")[0] == 200


def test_clients_that_leave_and_a_killed_daemon_leave_nothing(shop):
    for n in range(6):
        connection = UnixConnection(shop.socket, 30)
        connection.request("GET", "/v1/backup")
        if n % 2:
            time.sleep(0.02 * n)  # the copy is being made
            connection.close()
            continue
        answer = connection.getresponse()
        if answer.status == 200:
            assert len(answer.read(100)) == 100 and answer.getheader("Mayfly-Backup")
        connection.close()
        answer.close()
    wait_until(lambda: shop.mayfly("backup", shop.folder / "copy.db", "--force").returncode == 0, 20,
               "a backup after clients that left")
    shop.kill()
    left = shop.state / "backup"
    left.mkdir()
    (left / "ledger.db.part").write_text("half")
    shop.start()
    assert not left.exists()
    shop.ok("backup", shop.folder / "copy.db", "--force")


class FalseDaemon(socketserver.ThreadingUnixStreamServer):
    """Answers as mayflyd does, but for what it says about the bytes of a backup."""
    daemon_threads = True

    def __init__(self, path, head, data, hold=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                if self.path == "/v1/backup" and head:
                    self.send_header("Mayfly-Backup", head)
                self.end_headers()
                self.wfile.write(data if self.path == "/v1/backup" else b'{"state_dir":"/s","installation":"i"}')
                if self.path == "/v1/backup" and hold:
                    self.wfile.flush()
                    hold.wait(30)

            def address_string(self):
                return "unix"

            def log_message(self, *words):
                pass

        super().__init__(str(path), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_what_did_not_arrive_whole_gets_no_name(tmp_path):
    data = b"SQLite format 3" * 1000
    digest = hashlib.sha256(data).hexdigest()
    for n, (head, good) in enumerate([(f"{len(data)} {digest}", True), (f"{len(data) + 1} {digest}", False),
                                      (f"{len(data)} {digest[::-1]}", False), (None, False), ("", False)]):
        copy = tmp_path / f"{n}.db"
        with FalseDaemon(tmp_path / f"{n}.sock", head, data) as daemon:
            done = subprocess.run([BUILD / "orchestrator" / "mayfly", "backup", copy, "--socket",
                                   tmp_path / f"{n}.sock"], capture_output=True, text=True, timeout=30, check=False)
            daemon.shutdown()
        assert (done.returncode == 0) == good, (head, done)
        assert copy.exists() == good and not list(tmp_path.glob("*.db.*"))
        if not good:
            assert "did not arrive whole" in done.stderr


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_an_interrupted_backup_leaves_no_file(tmp_path, number):
    hold, path = threading.Event(), tmp_path / "d.sock"
    with FalseDaemon(path, "100000 0", b"x" * 50000, hold) as daemon:
        client = subprocess.Popen([BUILD / "orchestrator" / "mayfly", "backup", tmp_path / "copy.db", "--socket", path],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        part = wait_until(lambda: [p for p in tmp_path.glob("copy.db.*") if p.stat().st_size > 0], 20, "first bytes")
        assert stat.S_IMODE(part[0].stat().st_mode) == 0o600
        client.send_signal(number)
        assert client.wait(20) == 130
        hold.set()
        daemon.shutdown()
    assert not list(tmp_path.glob("copy.db*"))


def test_a_stop_while_a_backup_is_sent_is_clean(shop):
    """The file is whole or not there, and the daemon's log has no word of a sanitizer."""
    for n in range(4):
        copy = shop.folder / f"{n}.db"
        client = subprocess.Popen([BUILD / "orchestrator" / "mayfly", "backup", copy], env=shop.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.05 * n)
        shop.stop()
        _, words = client.communicate(timeout=30)
        assert copy.exists() == (client.returncode == 0), words
        if copy.exists():
            assert check_copy(copy) == ["shop"]
        assert not list(shop.folder.glob(f"{n}.db.*")) and not (shop.state / "backup").exists()
        shop.start()


def put_back(daemon, copy):
    """By hand, as somebody does who does not know mayflyd --restore (test_restore.py)."""
    (daemon.state / "ledger.db").write_bytes(copy.read_bytes())
    for tail in ("-wal", "-shm"):
        (daemon.state / f"ledger.db{tail}").unlink(missing_ok=True)


def test_a_ledger_that_was_put_back_is_held_until_somebody_looked(shop):
    repository, copy = shop.repository, shop.folder / "copy.db"
    repository.push("doomed", repository.product("doomed"))
    shop.ok("up", "shop", "doomed")
    shop.ok("backup", copy)
    repository.push("newer", repository.product("newer"))
    shop.ok("up", "shop", "newer")
    shop.ok("pin", "main--shop", "--reason", "demo")
    newer = {r["uid"] for r in shop.show("newer--shop")["resources"]}
    shop.stop()
    put_back(shop, copy)
    verify = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--verify-log", "--state", shop.state],
                            capture_output=True, text=True, timeout=30, check=False)
    assert "held" in verify.stdout and "mayfly unfreeze" in verify.stdout, verify
    for branch in ("doomed", "newer"):  # nobody tells the daemon
        repository.git("update-ref", "-d", f"refs/heads/{branch}", cwd=repository.bare)

    shop.start()
    status = shop.ok("status")
    assert "backup" in status and "mayfly unfreeze" in status
    wait_until(lambda: shop.show("doomed--shop")["closed_ms"], 20, "the comparison")
    time.sleep(2)  # it is due since a second
    assert shop.show("doomed--shop")["state"] == "ready"
    assert shop.get("doomed--shop")[1] == "doomed" and shop.get("main--shop")[1] == "hello"
    found = {o["uid"] for o in json.loads(shop.ok("orphans", "--look", "--json"))["orphans"]}
    assert found and found <= newer
    done = shop.mayfly("orphans", "--remove", sorted(found)[0], "--young")
    assert done.returncode == 5 and "backup" in done.stderr

    shop.ok("unfreeze")
    assert "unfreeze" not in shop.ok("status")
    wait_until(lambda: [e["label"] for e in shop.environments()] == ["main--shop"], 60, "the removal")
    assert shop.get("main--shop")[1] == "hello"
    shop.ok("orphans", "--remove", *sorted(found), "--young", "--wait")
    assert "agree" in shop.ok("orphans", "--look")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_else_gets_no_byte(shop):
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "curl", "-s",
                           "--unix-socket", shop.socket, "http://mayfly/v1/backup"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert json.loads(done.stdout)["error"]["code"] == "forbidden"
