"""The units on a freshly booted Debian: a minimal root, mayfly installed into it, systemd as its first process.

The root: systemd_root.py. Where that cannot be had the tests skip and say why.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

import systemd_root
from mayfly import BUILD, GIT_ENV, ROOT, wait_until

RELEASE = pathlib.Path(os.environ.get("MAYFLY_RELEASE", ROOT / "build" / "release"))
READY = "6c1f0a9e0f7c4d1b8a52d3b7f04e9a11"  # units/mayfly.catalog
WEB, DOOR = 8200, 8150


def children(pid):
    return [int(n) for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children") for n in task.read_text().split()]


class Machine:
    """A booted root; its network is its own."""

    def __init__(self, folder):
        self.root = pathlib.Path(folder) / "root"
        self.root.mkdir()
        self.log = pathlib.Path(folder) / "boot.log"
        subprocess.run(["tar", "-C", self.root, "-xf", systemd_root.CACHE, "--exclude=./dev/*"], check=True)
        subprocess.run(["meson", "install", "-C", RELEASE, "--no-rebuild", "--quiet", "--destdir", self.root], check=True)
        shutil.copy(BUILD / "tests" / "integration" / "server", self.root / "usr" / "local" / "bin" / "product")
        (self.root / "etc" / "hostname").write_text("mayfly-test\n")

    def boot(self):
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "-D", self.root, f"--machine=mayfly-test-{os.getpid()}", "--register=no",
             "--keep-unit", "--private-network", "--console=pipe", "-b"], stdin=subprocess.DEVNULL, stdout=open(self.log, "wb"),
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.leader = wait_until(self.find_leader, 20, "the first process of the container")
            wait_until(lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), 40, "its boot")
        except AssertionError:
            self.end()
            pytest.skip("systemd-nspawn cannot boot here: " + self.log.read_text(errors="replace").strip()[-300:])

    def find_leader(self):
        assert self.process.poll() is None, "systemd-nspawn ended"
        for pid in children(self.process.pid):
            if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                return pid
        return None

    def end(self):
        self.process.send_signal(signal.SIGTERM)  # systemd-nspawn shuts the container down
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def run(self, *words, **more):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", **GIT_ENV}
        return subprocess.run(["nsenter", "-t", str(self.leader), "-a", "--", *map(str, words)], capture_output=True, text=True,
                              timeout=120, check=False, env=environment, **more)

    def ok(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr, self.journal())
        return done.stdout

    def journal(self, *words):
        return self.run("journalctl", "-u", "mayflyd", "--no-pager", "-n", "60", *words).stdout

    def show(self, name, unit="mayflyd"):
        return self.ok("systemctl", "show", unit, "-p", name, "--value").strip()

    def visit(self, port=WEB, host="main--shop.preview.localhost"):
        """What the preview answers: 'STATUS text'."""
        return self.run("python3", "-c", f"""
import http.client
c = http.client.HTTPConnection("127.0.0.1", {port}, timeout=10)
c.request("GET", "/", headers={{"Host": "{host}"}})
a = c.getresponse()
print(a.status, a.read().decode())
""").stdout.strip()

    def product(self):
        """The preview's process (it has a child for each connection); empty when there is none."""
        return self.run("pgrep", "-o", "-x", "product").stdout.strip()

    def settled(self):
        return self.show("ActiveState") == "active" and self.run("mayfly", "status").returncode == 0


@pytest.fixture(scope="module")
def machine():
    if os.geteuid() != 0:
        pytest.skip("booting a container needs root")
    missing = [p for p in ("systemd-nspawn", "mmdebstrap", "nsenter", "meson") if not shutil.which(p)]
    if missing:
        pytest.skip("not installed: " + ", ".join(missing))
    if not (RELEASE / "orchestrator" / "mayflyd").exists():
        pytest.skip(f"{RELEASE} is not built; that is what gets installed")
    try:
        systemd_root.make()
    except systemd_root.NoRoot as error:
        pytest.skip(str(error))
    folder = tempfile.mkdtemp(prefix="mayfly-machine-", dir="/var/tmp")
    try:
        yield from booted(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def booted(folder):
    m = Machine(folder)
    (m.root / "etc" / "mayfly").mkdir(exist_ok=True)
    (m.root / "etc" / "mayfly" / "mayflyd.yaml").write_text(
        f"listen: 127.0.0.1:{DOOR}\nfront: haproxy\nfront_listen: 127.0.0.1:{WEB}\nclocks: {{delete_after_close: 1s}}\n")
    drop_in = m.root / "etc" / "systemd" / "system" / "mayflyd.service.d"
    drop_in.mkdir()
    (drop_in / "test.conf").write_text("[Service]\nWatchdogSec=6\n")
    m.boot()
    try:
        yield m
    finally:
        m.end()


def test_users_and_folders_are_made_at_boot(machine):
    assert machine.ok("getent", "group", "mayfly").startswith("mayfly:")
    assert machine.ok("stat", "-c", "%a %U", "/var/lib/mayfly", "/etc/mayfly").split("\n")[:2] == ["711 root", "755 root"]


def test_it_starts_as_installed(machine):
    """Nobody has written a configuration yet."""
    machine.ok("mv", "/etc/mayfly/mayflyd.yaml", "/root/mayflyd.yaml")
    machine.ok("systemd-tmpfiles", "--create", "mayfly.conf")
    machine.ok("systemctl", "start", "mayflyd")
    assert json.loads(machine.ok("mayfly", "status", "--json"))["gateway"] == f"127.0.0.1:{DOOR}"
    machine.ok("systemctl", "stop", "mayflyd")
    machine.ok("mv", "/root/mayflyd.yaml", "/etc/mayfly/mayflyd.yaml")


def test_the_unit_holds(machine):
    done = machine.run("systemd-analyze", "verify", "--man=no", "mayflyd.service")
    assert done.returncode == 0 and "mayfly" not in done.stderr, done.stderr


def test_start_ends_when_the_daemon_is_ready(machine):
    machine.ok("systemctl", "enable", "mayflyd")
    machine.ok("systemctl", "start", "mayflyd")  # Type=notify: back when READY=1 was sent
    assert machine.show("ActiveState") == "active" and machine.show("Type") == "notify"
    assert "process " + machine.show("MainPID") in machine.ok("mayfly", "status")
    status = json.loads(machine.ok("mayfly", "status", "--json"))
    assert status["gateway"] == f"127.0.0.1:{WEB}" and status["state_dir"] == "/var/lib/mayfly"
    machine.ok("journalctl", "--update-catalog")
    assert "ledger" in machine.journal("-x", f"MESSAGE_ID={READY}")


def test_watchdog_is_fed(machine):
    first = int(machine.show("WatchdogTimestampMonotonic"))
    assert first > 0
    wait_until(lambda: int(machine.show("WatchdogTimestampMonotonic")) > first, 10, "a watchdog notification")


def test_push_becomes_a_preview(machine):
    machine.ok("git", "init", "-q", "--bare", "-b", "main", "/srv/shop.git")
    machine.ok("git", "init", "-q", "-b", "main", "/srv/shop")
    machine.ok("cp", "/usr/local/bin/product", "/srv/shop/product")
    (machine.root / "srv" / "shop" / "score.yaml").write_text(json.dumps({
        "apiVersion": "score.dev/v1b1", "metadata": {"name": "web"}, "service": {"ports": {"http": {"port": 8080}}},
        "containers": {"main": {"image": ".", "command": ["./product"], "variables": {"PORT": "8080", "TEXT": "hello"},
                                "resources": {"limits": {"memory": "64M"}}}}}))
    machine.ok("git", "-C", "/srv/shop", "add", "-A")
    machine.ok("git", "-C", "/srv/shop", "commit", "-q", "-m", "one")
    machine.ok("mayfly", "project", "add", "shop", "/srv/shop.git")
    machine.ok("mayfly", "hook", "install", "/srv/shop.git", "--project", "shop")
    machine.ok("git", "-C", "/srv/shop", "push", "-q", "/srv/shop.git", "main")
    wait_until(lambda: machine.visit() == "200 hello", 40, "the preview's answer")
    assert machine.visit(DOOR) == "200 hello"


def test_limits_are_applied_or_said_not_to_be(machine):
    known = machine.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split()
    said = "limits are not applied" in machine.ok("mayfly", "logs", "main--shop")
    assert said != ("memory" in known)


def test_restart_leaves_previews_answering(machine):
    before, pid = machine.product(), machine.show("MainPID")
    answers, over = [], threading.Event()

    def visitor():
        while not over.is_set():
            answers.append(machine.visit())
    thread = threading.Thread(target=visitor)
    thread.start()
    machine.ok("systemctl", "restart", "mayflyd")
    wait_until(machine.settled, 20, "the daemon's return")
    over.set()
    thread.join()
    assert machine.show("MainPID") != pid
    assert answers and set(answers) == {"200 hello"}
    assert machine.product() == before != ""


def test_killed_daemon_is_started_again(machine):
    before, pid = machine.product(), machine.show("MainPID")
    machine.ok("systemctl", "kill", "-s", "KILL", "--kill-who=main", "mayflyd")
    wait_until(lambda: machine.show("MainPID") not in (pid, "0") and machine.settled(), 20, "another daemon")
    assert int(machine.show("NRestarts")) >= 1
    assert machine.visit() == machine.visit(DOOR) == "200 hello"
    assert machine.product() == before


def test_hanging_daemon_is_ended_by_the_watchdog(machine):
    before, pid = machine.product(), machine.show("MainPID")
    machine.ok("kill", "-STOP", pid)
    assert machine.visit() == "200 hello"  # it is not in the way
    wait_until(lambda: machine.show("MainPID") not in (pid, "0") and machine.settled(), 30, "another daemon")
    assert "atchdog" in machine.journal()
    assert machine.visit(DOOR) == "200 hello" and machine.product() == before


def test_reload_takes_a_good_file_and_leaves_a_bad_one(machine):
    config = machine.root / "etc" / "mayfly" / "mayflyd.yaml"
    good = config.read_text()
    pid = machine.show("MainPID")
    config.write_text(good + "nonsense: 1\n")
    machine.ok("systemctl", "reload", "mayflyd")
    wait_until(lambda: "nonsense" in machine.journal(), 10, "the fault in the journal")
    config.write_text(good)
    machine.ok("systemctl", "reload", "mayflyd")
    assert machine.settled() and machine.show("MainPID") == pid


def test_stop_is_clean_and_previews_go_on(machine):
    before = machine.product()
    machine.ok("systemctl", "stop", "mayflyd")
    assert (machine.show("ActiveState"), machine.show("Result"), machine.show("ExecMainStatus")) == ("inactive", "success", "0")
    assert machine.visit() == "200 hello" and machine.product() == before
    machine.ok("systemctl", "start", "mayflyd")
    assert machine.visit(DOOR) == "200 hello"


def test_down_leaves_nothing(machine):
    machine.ok("mayfly", "down", "main--shop", "--wait")
    assert machine.product() == ""
    assert "var/lib/mayfly" not in machine.ok("cat", "/proc/self/mounts")
    names = machine.ok("find", "/var/lib/mayfly/providers", "-name", "[er]???????????????????*").split()
    assert not names
    assert machine.ok("ip", "netns", "list").strip() == ""
    processes = [line for line in machine.ok("ps", "-eo", "args").split("\n") if "/var/lib/mayfly" in line]
    assert all(line.startswith(("/usr/bin/mayflyd", "haproxy")) for line in processes), processes
    machine.ok("systemctl", "stop", "mayflyd")
