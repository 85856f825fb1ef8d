"""What the integration tests share: where the programs are, speaking to a provider, and a daemon.

MAYFLY_BUILD names the build folder to test (default: build/asan of this tree).
"""
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", ROOT / "build" / "asan"))
# A program with sanitizers takes many times as long to start and end, and providers and the command are started
# thousands of times. So daemons and the kit use those of another build where there is one; with sanitizers they run in
# the tests of each provider, and behind the door of test_daemon.py.
SWIFT = ROOT / "build" / "clang"
SWIFT = SWIFT if "MAYFLY_BUILD" not in os.environ and (SWIFT / "providers").exists() else BUILD


def provider_program(name):
    """The path of mayfly-provider-NAME."""
    return BUILD / "providers" / name / f"mayfly-provider-{name}"


def provider_call(program, request, timeout=60, env=None):
    """One call of a provider: the parsed lines of its answer and its exit status (negative: signal)."""
    text = request if isinstance(request, (bytes, str)) else json.dumps(request)
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([str(program)], input=data, capture_output=True, timeout=timeout, env=env,
                          check=False, start_new_session=True)
    assert b"AddressSanitizer" not in done.stderr and b"runtime error" not in done.stderr, \
        done.stderr.decode(errors="replace")
    return [json.loads(line) for line in done.stdout.decode().splitlines()], done.returncode


def new_id(kind):
    return kind + "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(19))


def wait_until(condition, seconds=10, what="the condition"):
    """Waits until condition() is true and returns what it returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class Provider:
    """A provider with a state folder, an installation and an environment of its own."""

    def __init__(self, name, state_dir, program=None, **config):
        self.program = program or provider_program(name)
        state_dir = pathlib.Path(state_dir)
        state_dir.mkdir(parents=True, exist_ok=True)
        state_dir.chmod(0o711)
        self.state_dir = state_dir
        self.installation = new_id("i")
        self.config = {"state_dir": str(state_dir), "installation": self.installation,
                       "domain": "preview.localhost", "url": "http://%s.preview.localhost:8150", **config}
        self.environment = {
            "id": new_id("e"), "label": "main--shop", "host": "main--shop.preview.localhost",
            "url": "http://main--shop.preview.localhost:8150", "project": "shop", "branch": "main",
            "commit": "0" * 40, "generation": 1, "slot": 1, "owner": "ann", "team": "shop",
            "trust": "member", "workloads": {}, "values": {}}

    def resource(self, kind, params=None, uid=None, state=None, **more):
        uid = uid or new_id("r")
        return {"uid": uid, "type": kind, "class": "default", "id": kind, "name": kind,
                "marker": f"{self.installation}/{self.environment['id']}/{uid}", "slot": 1,
                "generation": 1, "params": params or {}, "state": state, **more}

    def request(self, verb, resource=None, deadline_ms=60000, **more):
        request = {"protocol": 1, "verb": verb, "call": new_id("c"), "deadline_ms": deadline_ms,
                   "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
                   "config": self.config, "environment": self.environment if resource else {}, **more}
        if resource:
            request["resource"] = resource
        return request

    def lines(self, verb, resource=None, **more):
        lines, status = provider_call(self.program, self.request(verb, resource, **more))
        assert status == 0, (status, lines)
        assert sum("result" in line or "error" in line for line in lines) == 1, lines
        assert "result" in lines[-1] or "error" in lines[-1], lines
        return lines

    def ask(self, verb, resource=None, **more):
        """The result of a call that must succeed."""
        last = self.lines(verb, resource, **more)[-1]
        assert "result" in last, last
        return last["result"]

    def fails(self, verb, resource=None, **more):
        """The error of a call that must fail."""
        last = self.lines(verb, resource, **more)[-1]
        assert "error" in last, last
        return last["error"]

    def items(self):
        """The items of list, which must be complete."""
        lines = self.lines("list")
        assert lines[-1]["result"]["complete"] is True
        return {line["item"]["uid"]: line["item"] for line in lines if "item" in line}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


GIT_ENV = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ann",
           "GIT_AUTHOR_EMAIL": "ann@example.com", "GIT_COMMITTER_NAME": "Ann",
           "GIT_COMMITTER_EMAIL": "ann@example.com"}


class Repository:
    """A bare repository and a working copy of it, with a product that starts in a millisecond."""

    def __init__(self, folder, name="shop"):
        self.bare = pathlib.Path(folder) / f"{name}.git"
        self.work = pathlib.Path(folder) / name
        self.git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=folder)
        self.git("init", "-q", "-b", "main", str(self.work), cwd=folder)
        self.git("remote", "add", "origin", str(self.bare))
        shutil.copy(BUILD / "tests" / "integration" / "server", self.work / "server")

    def git(self, *words, cwd=None, **more):
        done = subprocess.run(["git", *words], cwd=cwd or self.work, capture_output=True, text=True,
                              env={**os.environ, **GIT_ENV, **more.pop("env", {})}, timeout=60, check=False)
        assert done.returncode == 0 or more.get("check") is False, (words, done.stdout, done.stderr)
        return done

    def write(self, files):
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if isinstance(text, str) else json.dumps(text, indent=1))

    def product(self, text="hello", variables=None, volume=False, **container):
        """A score.yaml (YAML holds JSON) for the server that answers this text."""
        main = {"image": ".", "command": ["./server"],
                "variables": {"PORT": "8080", "TEXT": text, **(variables or {})}, **container}
        score = {"apiVersion": "score.dev/v1b1", "metadata": {"name": "web"},
                 "service": {"ports": {"http": {"port": 8080}}}, "containers": {"main": main}}
        if volume:
            main["volumes"] = {"/data": {"source": "${resources.data}"}}
            score["resources"] = {"data": {"type": "volume"}}
        return {"score.yaml": score}

    def push(self, branch="main", files=None, message="change", force=False):
        """Commits files on the branch, pushes, and returns (commit, what the pusher read)."""
        here = self.git("branch", "--show-current").stdout.strip()
        if here != branch:
            known = self.git("rev-parse", "-q", "--verify", branch, check=False).returncode == 0
            self.git(*(["checkout", "-q", branch] if known else ["checkout", "-q", "-b", branch]))
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        done = self.git("push", "-q", *(["--force"] if force else []), "origin", branch)
        return self.git("rev-parse", "HEAD").stdout.strip(), done.stderr

    def delete(self, branch):
        return self.git("push", "-q", "origin", "--delete", branch).stderr


class Daemon:
    """A mayflyd with a state folder, a port and a socket of its own. strict: everything runs with sanitizers."""

    def __init__(self, config=None, options=(), env=None, front="door", strict=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-test-", dir="/var/tmp"))
        self.folder.chmod(0o711)
        self.state = self.folder / "state"
        self.socket = self.state / "api.sock"
        self.log = self.folder / "mayflyd.log"
        self.config_file = self.folder / "mayflyd.yaml"
        self.port = free_port()  # what visitors reach
        self.front = {"listen": f"127.0.0.1:{self.port}"} if front == "door" else {
            "listen": f"127.0.0.1:{free_port()}", "front": front, "front_listen": f"127.0.0.1:{self.port}"}
        self.options = list(options)
        self.build = BUILD if strict else SWIFT
        self.env = {**os.environ, "MAYFLY_STATE": str(self.state),
                    "MAYFLY_PROVIDERS_DIR": str(self.build / "providers"), **(env or {})}
        self.process = None
        self.configure(config or {})

    def configure(self, config):
        """Writes mayflyd.yaml (YAML holds JSON)."""
        self.config_file.write_text(json.dumps({**self.front, **config}, indent=1))

    # ---- the process ----

    def start(self, env=None, wait=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(BUILD / "orchestrator" / "mayflyd"), "--state", str(self.state), "--config",
                 str(self.config_file), *self.options], stdout=log, stderr=log,
                env={**self.env, **(env or {})})
        if wait:
            wait_until(self.answers, 20, "the daemon's answer")
        return self

    def answers(self):
        assert self.process.poll() is None, "mayflyd ended:\n" + self.log_text()
        try:
            return self.api("GET", "/v1/status")[0] == 200
        except OSError:
            return False

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self):
        """A clean end; its log must hold no word of a sanitizer."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0, self.log_text()
        text = self.log_text()
        assert "Sanitizer" not in text and "runtime error" not in text, text

    def stop_haproxy(self):
        """Ends the HAProxy that outlived the daemon, by its own pid file."""
        try:
            pid = int((self.state / "gateway" / "haproxy.pid").read_text().split()[0])
            if "haproxy" in pathlib.Path(f"/proc/{pid}/comm").read_text():
                os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError, IndexError):
            pass

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    # ---- speaking to it ----

    def api(self, method, path, body=None, timeout=60):
        """(status, parsed answer)"""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def mayfly(self, *words, timeout=120, **more):
        return subprocess.run([str(self.build / "orchestrator" / "mayfly"), *map(str, words)], env=self.env,
                              capture_output=True, text=True, timeout=timeout, check=False, **more)

    def ok(self, *words, **more):
        """The output of a command that must succeed."""
        done = self.mayfly(*words, **more)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr, self.log_text()[-3000:])
        return done.stdout

    def environments(self):
        status, answer = self.api("GET", "/v1/environments")
        assert status == 200, answer
        return answer["environments"]

    def show(self, label):
        status, answer = self.api("GET", "/v1/environments/" + label.replace("/", "%2F"))
        assert status == 200, answer
        return answer

    def get(self, label, path="/", timeout=30, agent="Mozilla/5.0", accept="*/*", port=None):
        """(status, text, headers) of a visit through the gateway."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"User-Agent": agent, "Accept": accept,
                                                     "Host": f"{label}.preview.localhost:{port or self.port}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), answer.headers
        finally:
            connection.close()

    def wait_state(self, label, state, level=None, seconds=30):
        def reached():
            now = self.show(label)
            return now if now["state"] == state and level in (None, now["level"]) else None
        try:
            return wait_until(reached, seconds, f"{label} being {level or state}")
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {json.dumps(self.show(label))}\n{self.log_text()[-3000:]}") from None

    # ---- the end ----

    def leftovers(self):
        """What this daemon's previews still have in the world: empty when all is well."""
        found, state = [], str(self.state)
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or (self.process and int(entry.name) == self.process.pid):
                continue
            try:
                if "haproxy" in (entry / "comm").read_text():
                    continue # the front goes with the installation
                if state in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    found.append("process " + (entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            found += ["mount " + line.strip() for line in mounts if state in line]
        for path in (self.state / "providers").glob("**/*"):
            if re.fullmatch(r"[er][0-9a-z]{19}.*", path.name):
                found.append(f"file {path}")
        return found

    def clean(self):
        """Takes down what is up, checks that nothing is left, removes the folder."""
        try:
            if self.process and self.process.poll() is not None:
                self.start()
            for environment in self.environments():
                self.mayfly("unpin", environment["id"])
                self.mayfly("down", environment["id"])  # one that is on its way is found below
            wait_until(lambda: not self.environments(), 90, "the end of " + json.dumps(self.environments()))
            left = self.leftovers()
            self.stop()
            assert not left, left
        finally:
            if self.process and self.process.poll() is None:
                self.kill()
            self.stop_haproxy()
            shutil.rmtree(self.folder, ignore_errors=True)
