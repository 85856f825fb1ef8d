"""A daemon that may die at any moment, and a client that carries on: what the crash tests drive."""
import fcntl
import http.client
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

import world

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", ROOT / "build" / "clang")).resolve()
TEMPORARY = "/var/tmp"

# The provider's own range, cut small: several installations that begin at once would otherwise choose the
# same free subnet.
SUBNETS = [ipaddress.ip_network(f"198.19.{net}.{part}/27") for net in (255, 223, 191, 159) for part in range(0, 256, 32)]
UID_BASE = 700000  # each installation has user numbers of its own, too: world.py tells by them whose a process is


class Gone(Exception):
    """The daemon did not answer: it is dead, or was killed while answering."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def routes():
    """The subnets that this machine knows the way to, but for the way to everywhere."""
    for line in world.read("/proc/net/route").split("\n")[1:]:
        fields = line.split()
        if fields and int(fields[7], 16):
            address, mask = (socket.inet_ntoa(int(fields[i], 16).to_bytes(4, "little")) for i in (1, 7))
            yield ipaddress.ip_network(f"{address}/{mask}", strict=False)


def subnet_take():
    """(its number, subnet, a file whose lock holds it)"""
    while True:
        taken = list(routes())
        for number, subnet in enumerate(SUBNETS):
            if any(subnet.overlaps(other) for other in taken):
                continue
            lock = open(f"{TEMPORARY}/mayfly-crash-subnet-{number}", "w", encoding="ascii")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, subnet, lock
            except BlockingIOError:
                lock.close()
        time.sleep(0.2)


class Host:
    """One installation: a state folder, a daemon that is started again when it is gone."""

    def __init__(self, front="door", **environment):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-crash-", dir=TEMPORARY))
        self.home.chmod(0o711)
        self.state = self.home / "state"
        self.config = self.home / "mayflyd.yaml"
        self.front = front
        self.port = free_port()
        (self.home / "tmp").mkdir(mode=0o700)
        number, self.subnet, self.subnet_lock = subnet_take()
        door = self.port if front == "door" else free_port()
        self.config.write_text(json.dumps({
            "listen": f"127.0.0.1:{door}",
            **({"front": front, "front_listen": f"127.0.0.1:{self.port}"} if front != "door" else {}),
            "providers": {"process": {"config": {"subnet": str(self.subnet), "uid_base": UID_BASE + number * world.USERS}}}}))
        self.process = None
        self.starts = 0
        self.environment = environment  # of every daemon
        self.gate = threading.Lock()  # whoever holds it looks at a world in which no daemon is started

    # ---- the process ----

    def spawn(self):
        environment = {**os.environ, **self.environment, "MAYFLY_PROVIDERS_DIR": str(BUILD / "providers"),
                       "TMPDIR": str(self.home / "tmp")}
        with open(self.home / "mayflyd.log", "ab") as log:
            self.process = subprocess.Popen(
                [BUILD / "orchestrator" / "mayflyd", "--state", self.state, "--config", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.starts += 1

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """True when it answers, False when it died before it could."""
        with self.gate:
            if not self.alive():
                self.spawn()
            process = self.process
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                self.request("GET", "/v1/status", timeout=10)
                return True
            except Gone:
                if process.poll() is not None:
                    return False
                time.sleep(0.005)
        raise AssertionError("mayflyd does not answer within 30 s: " + self.log_tail())

    def ensure(self):
        """Starts it again when it is gone."""
        tries = 0
        while not self.alive():
            tries += 1
            assert tries < 200, "mayflyd ends again and again: " + self.log_tail()
            self.start()

    def reload(self):
        """The daemon reads its configuration again."""
        with self.gate:
            if self.alive():
                self.process.send_signal(signal.SIGHUP)

    def kill(self, signal_number=signal.SIGKILL):
        if self.alive():
            self.process.send_signal(signal_number)
            self.process.wait()

    def children(self, name):
        """Pids of the daemon's own children that run the program."""
        if not self.alive():
            return []
        pids = world.read(f"/proc/{self.process.pid}/task/{self.process.pid}/children").split()
        return [int(pid) for pid in pids if name in world.read(f"/proc/{pid}/cmdline")]

    def haproxy(self):
        """The pid of its HAProxy, or None."""
        text = world.read(self.state / "gateway" / "haproxy.pid").split()
        return int(text[0]) if text and str(self.state) in world.read(f"/proc/{text[0]}/cmdline") else None

    def own_pids(self):
        """What stays as long as the installation does."""
        return {pid for pid in (self.process and self.process.pid, self.haproxy()) if pid}

    def log_tail(self):
        return world.read(self.home / "mayflyd.log")[-3000:]

    # ---- its API ----

    def request(self, method, path, body=None, timeout=30):
        """(status, text)"""
        connection = UnixConnection(self.state / "api.sock", timeout)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Gone(str(error)) from error
        finally:
            connection.close()

    def call(self, method, path, body=None, may=()):
        """Until it is answered, whatever dies meanwhile. may: statuses that a repeated call can give."""
        for _ in range(400):
            self.ensure()
            try:
                status, text = self.request(method, path, body)
            except Gone:
                time.sleep(0.005)
                continue
            if status in (500, 503, 507):
                time.sleep(0.05)
                continue
            assert status < 300 or status in may, f"{method} {path}: {status} {text}"
            return status, text
        raise AssertionError(f"{method} {path} is never answered: " + self.log_tail())

    def download(self, path):
        """The body of what says in a header how long it is, and comes in one piece only when nobody dies."""
        for _ in range(400):
            self.ensure()
            connection = UnixConnection(self.state / "api.sock", 30)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)
                continue
            finally:
                connection.close()
            if answer.status == 200 and len(body) == int(answer.getheader("Mayfly-Backup").split()[0]):
                return body
            assert answer.status in (200, 409, 500, 503), f"{path}: {answer.status} {body[:500]}"
            time.sleep(0.05)
        raise AssertionError(f"{path} is never answered: " + self.log_tail())

    def environment_of(self, label):
        """What the API says of it, {} when there is none."""
        status, text = self.call("GET", f"/v1/environments/{label}", may=(404,))
        answer = json.loads(text) if status == 200 else {}
        return answer.get("environment", answer)

    def wait(self, what, condition, seconds=90, pause=0.02):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.ensure()
            value = condition()
            if value:
                return value
            time.sleep(pause)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.causes()}" + self.log_tail())

    def causes(self):
        """What the daemon itself says of its environments."""
        try:
            environments = json.loads(self.request("GET", "/v1/environments")[1])["environments"]
        except (Gone, KeyError, ValueError):
            return ""
        return "".join(f"{e['label']}: {e['state']}, {e['level']}, cause: {e['cause']}\n" for e in environments)

    def get(self, label, path="/", timeout=20):
        """A visit through the gateway: (status, body), or (0, '') when nobody answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": f"{label}.preview.localhost:{self.port}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    # ---- the end ----

    def verify_log(self):
        """The chain of events holds, as mayflyd itself sees it."""
        done = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--state", self.state, "--verify-log"],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"--verify-log: {done.stdout}{done.stderr}"

    def left(self):
        """Its processes, as far as they can be told when the ledger is damaged."""
        try:
            return [pid for pid, _, _ in world.processes(self.state, world.installation_of(self.state))]
        except sqlite3.Error:
            return self.own_pids()

    def done(self, keep=False):
        """Ends the daemon and, when a test left its previews up, those too."""
        self.kill(signal.SIGTERM)
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)
        self.subnet_lock.close()


SCORE = """apiVersion: score.dev/v1b1
metadata:
  name: web
service:
  ports:
    http:
      port: 8080
containers:
  main:
    image: .
    command: [./server]
    resources:
      limits:
        memory: 256Mi
    variables:
      PORT: "8080"
{variables}    volumes:
      /data:
        source: ${{resources.data}}
resources:
  data:
    type: volume
"""

BUILD_STEP = """workloads:
  web:
    build:
      command: [sh, -c, "cp text built"]
      inputs: [text]
"""

# Nobody waits for its end: the environment is closed while it is being built.
SLOW_STEP = BUILD_STEP.replace("cp text built", "cp text built; sleep 600")


class Repository:
    """A bare repository with the commits that a scenario pushes, made once; copies of it are cheap."""

    BRANCHES = {"busy-a": {"one": {}, "three": {}, "broken": {"EXIT_CODE": "3"}}, "busy-b": {"two": {}}, "busy-c": {"slow": {}}}
    STEPS = {"busy-a": BUILD_STEP, "busy-c": SLOW_STEP}

    def __init__(self, bare, commits):
        self.bare, self.commits = pathlib.Path(bare), commits

    @classmethod
    def make(cls, folder):
        folder = pathlib.Path(folder)
        work, bare, commits = folder / "work", folder / "product.git", {}

        def git(*arguments, cwd=work):
            who = {f"GIT_{role}_{key}": "t@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
            environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
            return subprocess.run(["git", *map(str, arguments)], cwd=cwd, env=environment, check=True,
                                  capture_output=True, text=True).stdout.strip()

        git("init", "-q", "-b", "main", work, cwd=folder)
        shutil.copy(BUILD / "tests" / "integration" / "server", work / "server")
        for branch, texts in cls.BRANCHES.items():
            git("checkout", "-q", "--orphan", branch)
            for text, variables in texts.items():
                (work / "text").write_text(text)
                lines = "".join(f"      {name}: \"{value}\"\n" for name, value in variables.items())
                (work / "score.yaml").write_text(SCORE.format(variables=lines))
                if branch in cls.STEPS:
                    (work / "mayfly.yaml").write_text(cls.STEPS[branch])
                else:
                    (work / "mayfly.yaml").unlink(missing_ok=True)
                git("add", "-A")
                git("commit", "-q", "-m", text)
                commits[text] = git("rev-parse", "HEAD")
        git("clone", "-q", "--bare", work, bare, cwd=folder)
        shutil.rmtree(work)
        return cls(bare, commits)

    def copy(self, folder):
        """One whose branches are still to be pushed."""
        bare = pathlib.Path(folder) / "product.git"
        shutil.copytree(self.bare, bare)
        (bare / "packed-refs").unlink()
        return Repository(bare, self.commits)

    def set(self, branch, text):
        """The branch's head is this commit now; None: there is no such branch."""
        path = self.bare / "refs" / "heads" / branch
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(self.commits[text] + "\n")
        return text and self.commits[text]
