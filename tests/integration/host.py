"""A daemon that may die at any moment, and a client that carries on: what hostile branches and the bench are driven with."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

import host_world as world
from mayfly import SWIFT

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", ROOT / "build" / "asan")).resolve()


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


class Host:
    """One installation: a state folder, a daemon that is started again when it is gone."""

    def __init__(self, config=""):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-crash-", dir="/var/tmp"))
        self.home.chmod(0o711)
        self.state = self.home / "state"
        self.config = self.home / "mayflyd.yaml"
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
        self.port = probe.getsockname()[1]
        probe.close()
        self.config.write_text(f"listen: 127.0.0.1:{self.port}\n" + config)
        self.process = None
        self.starts = 0
        self.environment = {}

    def start(self, **extra):
        environment = {**os.environ, **self.environment, **extra, "MAYFLY_PROVIDERS_DIR": str(SWIFT.resolve() / "providers")}
        log = open(self.home / "mayflyd.log", "ab")
        self.process = subprocess.Popen([BUILD / "orchestrator" / "mayflyd", "--state", self.state, "--config", self.config],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        log.close()
        self.starts += 1
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                self.request("GET", "/v1/status", timeout=5)
                return True
            except Gone:
                if self.process.poll() is not None:
                    return False
                time.sleep(0.005)
        raise AssertionError("mayflyd does not answer within 20 s: " + self.log_tail())

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def ensure(self):
        """Starts it again, without the crash wish, when it is gone."""
        tries = 0
        while not self.alive():
            tries += 1
            assert tries < 20, "mayflyd ends again and again: " + self.log_tail()
            self.start()

    def kill(self, signal_number=signal.SIGKILL):
        if self.alive():
            self.process.send_signal(signal_number)
            self.process.wait()

    def log_tail(self):
        try:
            return (self.home / "mayflyd.log").read_text(errors="replace")[-3000:]
        except FileNotFoundError:
            return ""

    def request(self, method, path, body=None, timeout=30):
        connection = UnixConnection(self.state / "api.sock", timeout)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone(str(error)) from error
        finally:
            connection.close()
        return answer.status, json.loads(text) if text else {}

    def call(self, method, path, body=None, may=()):
        """Until it is answered, whatever dies meanwhile. may: statuses that a repeated call can give."""
        for _ in range(200):
            self.ensure()
            try:
                status, answer = self.request(method, path, body)
            except Gone:
                time.sleep(0.01)
                continue
            if status in (500, 503, 507):
                time.sleep(0.05)
                continue
            assert status < 300 or status in may, f"{method} {path}: {status} {answer}"
            return status, answer
        raise AssertionError(f"{method} {path} is never answered: " + self.log_tail())

    def environment_of(self, label):
        status, answer = self.call("GET", f"/v1/environments/{label}", may=(404,))
        return answer.get("environment", answer) if status == 200 else None

    def wait(self, what, condition, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.ensure()
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.causes()}" + self.log_tail())

    def causes(self):
        """What the daemon itself says of its environments."""
        try:
            environments = self.request("GET", "/v1/environments")[1]["environments"]
        except (Gone, KeyError):
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

    def done(self, keep=False):
        """Ends the daemon and, when a test left its previews up, those too."""
        self.kill(signal.SIGTERM)
        try:
            uids, installation = world.names_of(self.state)
            left = list(world.processes(self.state, {os.getpid()}, uids + [installation] * bool(installation)))
        except sqlite3.Error:
            left = []
        for line in left:
            try:
                os.kill(int(line.split()[1].rstrip(":")), signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)


class Repository:
    """A bare repository whose branches hold the tiny server and what the test says."""

    def __init__(self, folder):
        self.work = pathlib.Path(folder) / "work"
        self.bare = pathlib.Path(folder) / "product.git"
        self.git("init", "-q", "--bare", "-b", "main", self.bare, cwd=folder)
        self.git("init", "-q", "-b", "main", self.work, cwd=folder)
        self.git("remote", "add", "origin", self.bare)

    def git(self, *arguments, cwd=None):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
                       "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com",
                       "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.com"}
        return subprocess.run(["git", *map(str, arguments)], cwd=cwd or self.work, env=environment, check=True,
                              capture_output=True, text=True).stdout.strip()

    def commit(self, branch, text, variables=None, volume=True, extra=None):
        """A commit on branch, pushed; returns its full name."""
        if self.git("branch", "--list", branch):
            self.git("checkout", "-q", branch)
        else:
            self.git("checkout", "-q", "--orphan", branch)
        for old in self.work.iterdir():
            if old.is_file() and old.name != "server":
                old.unlink()
        server = self.work / "server"
        if not server.exists():
            shutil.copy(BUILD / "tests" / "integration" / "server", server)
        (self.work / "text").write_text(text)
        lines = "".join(f"      {name}: \"{value}\"\n" for name, value in {"PORT": "8080", **(variables or {})}.items())
        mounts = "    volumes:\n      /data:\n        source: ${resources.data}\n" if volume else ""
        resources = "resources:\n  data:\n    type: volume\n" if volume else ""
        (self.work / "score.yaml").write_text(
            "apiVersion: score.dev/v1b1\nmetadata:\n  name: web\nservice:\n  ports:\n    http:\n      port: 8080\n"
            f"containers:\n  main:\n    image: .\n    command: [./server]\n    variables:\n{lines}{mounts}{resources}")
        for name, content in (extra or {}).items():
            (self.work / name).write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", text)
        self.git("push", "-q", "-f", "origin", branch)
        return self.git("rev-parse", "HEAD")
