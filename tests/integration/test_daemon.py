"""The main job with the real programs: a pushed branch becomes a preview that answers, changes without
an outage, sleeps, wakes, explains itself, and goes away without leaving anything."""
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest

from mayfly import BUILD, Daemon, Repository, UnixConnection, wait_until


LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=1"}


@pytest.fixture(scope="module", params=["door", "haproxy"])
def daemon(request):
    """Behind the door all programs run with sanitizers."""
    d = Daemon(front=request.param, strict=request.param == "door").start()
    yield d
    d.clean()


@pytest.fixture
def lonely():
    """A daemon that the test may kill."""
    d = Daemon()
    yield d
    d.clean()


names = iter(f"shop{n}" for n in range(1000))


@pytest.fixture
def shop(daemon):
    """A project with a pushed main branch; (daemon, repository, project name)."""
    name = next(names)
    repository = Repository(daemon.folder, name)
    repository.push("main", repository.product("hello"))
    daemon.ok("project", "add", name, repository.bare)
    yield daemon, repository, name
    for environment in daemon.api("GET", f"/v1/environments?project={name}")[1]["environments"]:
        daemon.mayfly("unpin", environment["id"])
    daemon.ok("project", "remove", name)  # its previews go first; clean() waits for their end


# ---- without any preview ----

def test_status_and_empty_lists(daemon):
    status = json.loads(daemon.ok("status", "--json"))
    assert status["gateway"] == f"127.0.0.1:{daemon.port}" and status["state_dir"] == str(daemon.state)
    assert json.loads(daemon.ok("project", "list", "--json"))["projects"] == []
    assert "address" in daemon.ok("status")


def test_modes_of_the_state_folder(daemon):
    modes = {name: os.stat(daemon.state / name).st_mode & 0o777 for name in ("key", "ledger.db", "api.sock")}
    assert modes == {"key": 0o600, "ledger.db": 0o600, "api.sock": 0o666}
    assert os.stat(daemon.state).st_mode & 0o777 == 0o711


def test_a_second_daemon_is_refused_in_plain_words(daemon):
    done = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--state", daemon.state], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"process {daemon.process.pid}" in done.stderr and "--state" in done.stderr
    assert (daemon.state / "mayflyd.pid").read_text().strip() == str(daemon.process.pid)


def test_strangers_get_a_sentence(daemon):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "curl", "-s",
                           "--unix-socket", daemon.socket, "http://x/v1/status"], capture_output=True,
                          text=True, timeout=30, check=False)
    answer = json.loads(done.stdout)
    assert answer["error"]["code"] == "forbidden" and "group 'mayfly'" in answer["error"]["message"]


@pytest.mark.parametrize("method,path,body,status,words", [
    ("POST", "/v1/projects", {"name": "x"}, 400, "'repository' is missing"),
    ("POST", "/v1/projects", {"name": "Bad Name", "repository": "/x"}, 400, "project name"),
    ("POST", "/v1/projects", {"name": "x", "repository": "ext::sh -c id"}, 400, "no repository"),
    ("POST", "/v1/projects", {"name": "x", "repository": "--upload-pack=id"}, 400, "no repository"),
    ("POST", "/v1/projects", {"name": "x", "repository": "/nonexistent"}, 502, "Cannot read the repository"),
    ("POST", "/v1/projects", {"name": "x", "repository": "/x", "clocks": {"nope": 1}}, 400, "no clock"),
    ("POST", "/v1/projects", {"name": "x", "repository": "/x", "more": 1}, 400, "'more' is unknown"),
    ("POST", "/v1/environments", {"project": "none", "branch": "main"}, 404, "no project 'none'"),
    ("GET", "/v1/environments/none", None, 404, "no environment 'none'"),
    ("POST", "/v1/environments/none/sleep", {}, 404, "no environment 'none'"),
    ("GET", "/v1/environments/a%00b", None, 400, "escaped"),
    ("GET", "/v1/environments/..%2F..%2Fkey", None, 404, "no environment"),
    ("GET", "/v1/events?last=many", None, 400, "whole number"),
    ("GET", "/v2/status", None, 404, "There is no"),
    ("PUT", "/v1/projects", {}, 400, "There is no PUT"),
])
def test_wrong_requests(daemon, method, path, body, status, words):
    got, answer = daemon.api(method, path, body)
    assert got == status and words in answer["error"]["message"], (got, answer)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"name":"a","name":"b"}', "\xff", "{}" * 10, "null"])
def test_bodies_that_are_no_object(daemon, text):
    connection = UnixConnection(daemon.socket, 30)
    connection.request("POST", "/v1/projects", text.encode("latin-1"))
    assert connection.getresponse().status == 400
    connection.close()


def test_a_large_body_is_refused(daemon):
    for size, asks, sends in ((1 << 20, True, False), (1 << 20, False, True), (1 << 30, False, False)):
        connection = UnixConnection(daemon.socket, 30)
        connection.putrequest("POST", "/v1/projects")
        connection.putheader("Content-Length", str(size + 1))
        if asks:
            connection.putheader("Expect", "100-continue")
        connection.endheaders(b"x" * (size + 1) if sends else None)
        assert connection.getresponse().status == 413
        connection.close()


def test_exit_statuses(daemon):
    assert daemon.mayfly("show", "none").returncode == 4
    assert daemon.mayfly("lst").returncode == 2
    assert daemon.mayfly("up", "none", "main").returncode == 4
    assert daemon.mayfly("list", "--socket", "/nonexistent").returncode == 3


def test_a_bad_configuration_never_replaces_a_good_one(lonely):
    lonely.start()
    lonely.config_file.write_text("listen: 127.0.0.1:1\nlissten: x\n")
    lonely.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays as it was" in lonely.log_text(), what="the refusal")
    assert f"{lonely.config_file}:2:" in lonely.log_text()
    fault = lonely.api("GET", "/v1/status")[1]["config"]["fault"]
    assert "lissten" in fault and "2:" in fault
    lonely.configure({"clocks": {"sleep_after_idle": "5m"}})
    lonely.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "again" in lonely.log_text(), what="the new configuration")
    assert lonely.api("GET", "/v1/status")[1]["config"]["fault"] is None
    check = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--check-config", "--config",
                            lonely.config_file], capture_output=True, text=True, timeout=30, check=False)
    assert check.returncode == 0


def test_a_daemon_with_a_bad_configuration_does_not_start(lonely):
    lonely.config_file.write_text("clocks: 3\n")
    lonely.start(wait=False)
    assert lonely.process.wait(30) == 2
    assert lonely.log_text().count(f"{lonely.config_file}:1:") == 1
    lonely.config_file.write_text("clocks: 3\nlissten: x\n")
    lonely.start(wait=False)
    assert lonely.process.wait(30) == 2
    assert f"{lonely.config_file}:2:" in lonely.log_text() and "2 faults" in lonely.log_text()
    lonely.configure({})


# ---- the main job ----

def test_up_answers_and_says_where(shop):
    daemon, _, name = shop
    out = daemon.ok("up", name, "main")
    assert out.rstrip("\n").split("\n")[-1] == f"http://main--{name}.preview.localhost:{daemon.port}"
    assert daemon.get(f"main--{name}")[:2] == (200, "hello")
    listed = json.loads(daemon.ok("list", name, "--json"))["environments"]
    assert [e["label"] for e in listed] == [f"main--{name}"]
    assert f"main--{name}" in daemon.ok("list") and "workload" in daemon.ok("show", f"main--{name}")
    assert daemon.ok("up", name, "main") == out or daemon.get(f"main--{name}")[0] == 200


def test_by_branch_name_and_by_id(shop):
    daemon, repository, name = shop
    repository.push("feature/login", repository.product("login"))
    daemon.ok("up", name, "feature/login")
    shown = daemon.show(f"{name}/feature/login")
    assert shown["label"].startswith("feature-login") and shown["label"].endswith(f"--{name}")
    assert daemon.show(shown["id"])["id"] == shown["id"]
    assert daemon.get(shown["label"])[1] == "login"


def test_a_branch_that_is_not_there(shop):
    daemon, _, name = shop
    done = daemon.mayfly("up", name, "nope")
    assert done.returncode == 4 and "no branch 'nope'" in done.stderr
    for branch in ("--upload-pack=id", "a b", "../x", "x" * 300, "refs/heads/main"):
        status, answer = daemon.api("POST", "/v1/environments", {"project": name, "branch": branch})
        assert status in (400, 404), (branch, answer)


class Visitor(threading.Thread):
    """Visits all the time and keeps what was not the preview's own answer."""

    def __init__(self, daemon, label):
        super().__init__()
        self.daemon, self.label, self.ended = daemon, label, threading.Event()
        self.texts, self.bad = [], []

    def run(self):
        while not self.ended.is_set():
            try:
                status, text, headers = self.daemon.get(self.label)
                if status != 200 or headers["Mayfly-Page"]:
                    self.bad.append((status, text[:200]))
                elif not self.texts or self.texts[-1] != text:
                    self.texts.append(text)
            except (OSError, http.client.HTTPException) as error:
                self.bad.append(repr(error))
            time.sleep(0.005)

    def finish(self):
        self.ended.set()
        self.join()


def test_a_push_changes_it_without_an_outage(shop):
    daemon, repository, name = shop
    label = f"main--{name}"
    daemon.ok("up", name, "main")
    visitor = Visitor(daemon, label)
    visitor.start()
    for text in ("two", "three"):
        repository.push("main", repository.product(text))
        daemon.ok("up", name, "main")
        assert daemon.get(label)[1] == text
    visitor.finish()
    assert visitor.bad == [] and visitor.texts == ["hello", "two", "three"]
    wait_until(lambda: {r["generation"] for r in daemon.show(label)["resources"]} <= {0, 3}, 20,
               "the older generations' end")


def test_a_failed_push_keeps_the_last_good_one(shop):
    daemon, repository, name = shop
    label = f"main--{name}"
    daemon.ok("up", name, "main")
    repository.push("main", repository.product("bad", {"EXIT_CODE": "3"}))
    done = daemon.mayfly("up", name, "main")
    assert done.returncode == 1 and "failed" in done.stderr and "keeps serving" in done.stderr, done
    assert daemon.get(label)[1] == "hello" and daemon.show(label)["state"] == "ready"
    repository.push("main", {"score.yaml": "apiVersion: score.dev/v1b1\nnope: 1\n"})
    done = daemon.mayfly("up", name, "main")
    assert done.returncode == 1 and "score.yaml" in done.stderr, done.stderr
    repository.push("main", repository.product("good"))
    daemon.ok("up", name, "main")
    assert daemon.get(label)[1] == "good"


def test_a_first_push_that_fails_says_why_at_its_address(shop):
    daemon, repository, name = shop
    repository.push("broken", repository.product("x", {"EXIT_CODE": "7"}))
    done = daemon.mayfly("up", name, "broken")
    assert done.returncode == 1 and "mayfly retry" in done.stderr
    status, text, headers = daemon.get(f"broken--{name}")
    assert status >= 500 and headers["Mayfly-Page"] and "7" in text
    assert daemon.show(f"broken--{name}")["cause"]


def test_data_survives_a_push(shop):
    daemon, repository, name = shop
    label = f"data--{name}"
    repository.push("data", repository.product("one", volume=True))
    daemon.ok("up", name, "data")
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.request("POST", "/data", b"kept", {"Host": f"{label}.preview.localhost"})
    assert connection.getresponse().status == 200
    connection.close()
    repository.push("data", repository.product("two", volume=True))
    daemon.ok("up", name, "data")
    assert daemon.get(label)[1] == "two" and daemon.get(label, "/data")[1] == "kept"
    daemon.ok("sleep", label, "--wait")
    assert daemon.get(label, "/data")[1] == "kept"


def test_sleep_and_wake(shop):
    daemon, _, name = shop
    label = f"main--{name}"
    daemon.ok("up", name, "main")
    daemon.ok("sleep", label, "--wait")
    assert daemon.show(label)["level"] == "stopped" and "asleep" in daemon.ok("list")
    assert daemon.get(label)[:2] == (200, "hello")
    daemon.wait_state(label, "ready", "awake")
    daemon.ok("sleep", label, "--wait")
    status, text, headers = daemon.get(label, accept="text/html")
    assert status == 503 and headers["Mayfly-Page"], "a browser gets a page that loads again"
    wait_until(lambda: daemon.get(label, accept="text/html")[:2] == (200, "hello"), 20, "the wake")
    daemon.ok("sleep", label, "--wait")
    daemon.ok("wake", label, "--wait")
    assert daemon.show(label)["level"] == "awake"
    daemon.ok("sleep", label, "--wait")
    daemon.ok("up", name, "main")
    assert daemon.show(label)["level"] == "awake"


def test_why_extend_pin(shop):
    daemon, _, name = shop
    label = f"main--{name}"
    daemon.ok("up", name, "main")
    assert "sleep_after_idle" in daemon.ok("why", label)
    before = json.loads(daemon.ok("why", label, "--json"))
    assert before["gates"] and before["clocks"]
    daemon.ok("extend", label, "2d")
    assert daemon.show(label)["extended_until_ms"] > time.time() * 1000 + 47 * 3600 * 1000
    daemon.ok("pin", label, "--reason", "the demo on Friday")
    why = daemon.ok("why", label)
    assert "the demo on Friday" in why
    assert daemon.show(label)["pinned"]["reason"] == "the demo on Friday"
    daemon.ok("unpin", label)
    assert daemon.show(label)["pinned"] is None
    assert label in daemon.ok("reap", "--dry-run") and daemon.show(label)["state"] == "ready"
    daemon.ok("freeze", "--reason", "audit")
    assert "audit" in daemon.ok("status") and "audit" in daemon.ok("why", label)
    daemon.ok("unfreeze")
    assert daemon.api("GET", "/v1/status")[1]["frozen"] is None


def test_many_visitors_with_a_low_limit_of_files(lonely):
    """The daemon takes what it may; its previews keep the limit that they expect."""
    mine = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, mine[1]))
    try:
        lonely.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, mine)
    if mine[1] < 2000:
        pytest.skip("the hard limit of open files is low")
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello"))
    lonely.ok("project", "add", "shop", repository.bare)
    lonely.ok("up", "shop", "main")
    assert lonely.ok("exec", "main--shop", "--", "sh", "-c", "ulimit -Sn").strip() == "256"
    open_ones = []
    try:
        for _ in range(400):
            s = socket.create_connection(("127.0.0.1", lonely.port), 10)
            s.sendall(b"GET / HTTP/1.1\r\nHost: main--shop.preview.localhost\r\n\r\n")
            open_ones.append(s)
        for s in open_ones:
            assert s.recv(12) == b"HTTP/1.1 200"
    finally:
        for s in open_ones:
            s.close()


def test_logs_and_exec(shop):
    daemon, repository, name = shop
    label = f"logs--{name}"
    repository.push("logs", repository.product("x", command=["sh", "-c", "echo begun; exec ./server"]))
    daemon.ok("up", name, "logs")
    assert "begun" in daemon.ok("logs", label)
    assert "begun" in daemon.ok("logs", label, "-n", "5", "-w", "web", "-c", "main")
    assert daemon.mayfly("logs", label, "-w", "nope").returncode == 4
    assert daemon.ok("exec", label, "--", "sh", "-c", "echo $TEXT; pwd").startswith("x\n")
    assert daemon.mayfly("exec", label, "--", "sh", "-c", "exit 9").returncode == 9
    follow = subprocess.Popen([BUILD / "orchestrator" / "mayfly", "logs", "-f", label], env=daemon.env,
                              stdout=subprocess.PIPE, text=True)
    assert "begun" in follow.stdout.readline()
    follow.terminate()
    follow.wait(10)
    follow.stdout.close()


def test_events_follow(shop):
    daemon, _, name = shop
    daemon.ok("up", name, "main")
    kinds = [e["kind"] for e in json.loads(daemon.ok("events", f"main--{name}", "--json"))["events"]]
    assert "environment.created" in kinds and "environment.ready" in kinds
    assert kinds.index("environment.created") < kinds.index("environment.ready")
    assert len(json.loads(daemon.ok("events", "-n", "2", "--json"))["events"]) == 2
    follow = subprocess.Popen([daemon.build / "orchestrator" / "mayfly", "events", "-f", "-n", "1", "--json",
                               f"main--{name}"], env=daemon.env, stdout=subprocess.PIPE, text=True)
    assert json.loads(follow.stdout.readline())["kind"] == kinds[-1]  # from here on it follows
    daemon.ok("pin", f"main--{name}")
    assert json.loads(follow.stdout.readline())["kind"] == "environment.pinned"
    done = daemon.mayfly("down", f"main--{name}")
    assert done.returncode == 5 and "unpin it first" in done.stderr
    daemon.ok("unpin", f"main--{name}")
    follow.terminate()
    follow.wait(10)
    follow.stdout.close()


def test_down_leaves_nothing(shop):
    daemon, repository, name = shop
    label = f"gone--{name}"
    repository.push("gone", repository.product("x", volume=True))
    daemon.ok("up", name, "gone")
    shown = daemon.show(label)
    daemon.ok("down", label, "--wait")
    assert daemon.show(shown["id"])["state"] == "gone"
    status, text, headers = daemon.get(label)
    assert status == 410 and headers["Mayfly-Page"] and f"mayfly up {name} gone" in text
    uids = {r["uid"] for r in shown["resources"]}
    left = [str(p) for p in (daemon.state / "providers").glob("**/*") if p.name.split(".")[0] in uids]
    assert left == []
    assert not any(shown["id"] in line or any(uid in line for uid in uids) for line in daemon.leftovers())


def test_no_program_leaks():
    """A look for leaks at each end of a program doubles its time, so it is one life of one preview."""
    d = Daemon(strict=True, env=LEAKS).start()
    try:
        repository = Repository(d.folder)
        repository.push("main", repository.product("hello", volume=True))
        d.ok("project", "add", "shop", repository.bare)
        d.ok("up", "shop", "main")
        assert d.get("main--shop")[1] == "hello"
        repository.push("main", repository.product("again", volume=True))
        d.ok("up", "shop", "main")
        d.ok("extend", "main--shop", "1h")
        d.ok("logs", "main--shop")
        d.ok("exec", "main--shop", "--", "true")
        d.ok("sleep", "main--shop", "--wait")
        d.ok("wake", "main--shop", "--wait")
        assert d.get("main--shop")[1] == "again"
        d.ok("orphans", "--look")
        d.ok("down", "main--shop", "--wait")
        d.ok("receipt", "main--shop", "--verify")
        d.ok("backup", d.folder / "copy.db")
        d.ok("project", "remove", "shop")
    finally:
        d.clean()


def test_the_hook(shop):
    daemon, repository, name = shop
    label = f"hooked--{name}"
    hooks = repository.bare / "hooks"
    hooks.mkdir(exist_ok=True)
    mark = daemon.folder / f"{name}.mark"
    (hooks / "post-receive").write_text(f"#!/bin/sh\ncat >>'{mark}'\nexit 0\n")
    (hooks / "post-receive").chmod(0o755)
    for _ in range(2):
        daemon.ok("hook", "install", repository.bare, "--project", name)
    assert (hooks / "post-receive.before-mayfly").exists()

    _, said = repository.push("hooked", repository.product("one"))
    assert f"http://{label}.preview.localhost:{daemon.port}" in said
    assert "refs/heads/hooked" in mark.read_text()
    daemon.wait_state(label, "ready")
    commit, _ = repository.push("hooked", repository.product("two"))
    wait_until(lambda: daemon.get(label)[1] == "two", 30, "the second push")
    assert daemon.show(label)["commit"] == commit
    repository.delete("hooked")
    assert wait_until(lambda: daemon.show(label)["closed_ms"], 10, "the closing")

    daemon.ok("hook", "uninstall", repository.bare)
    assert "hook run" not in (hooks / "post-receive").read_text()
    assert not (hooks / "post-receive.before-mayfly").exists()


def test_the_hook_never_fails_a_push(shop):
    daemon, repository, name = shop
    daemon.ok("hook", "install", repository.bare, "--project", name)
    script = (repository.bare / "hooks" / "post-receive")
    script.write_text(script.read_text().replace(str(daemon.socket), "/nonexistent/api.sock"))
    _, said = repository.push("offline", {"a": "b"})
    assert "No daemon answers" in said
    done = subprocess.run([BUILD / "orchestrator" / "mayfly", "hook", "run", "--project", name],
                          input="nonsense\n\n" + "0" * 40 + " x refs/heads/\n", env=daemon.env,
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0


def test_compare_finds_what_a_lost_hook_missed(shop):
    daemon, repository, name = shop
    daemon.ok("up", name, "main")
    repository.push("side", repository.product("side"))
    daemon.ok("up", name, "side")
    commit, _ = repository.push("main", repository.product("pushed without a hook"))
    repository.delete("side")
    daemon.ok("compare", name)
    wait_until(lambda: daemon.get(f"main--{name}")[1] == "pushed without a hook", 30, "the lost push")
    assert daemon.show(f"main--{name}")["commit"] == commit
    assert daemon.show(f"side--{name}")["closed_ms"]

    # A repository that cannot be read, or that lists nothing, is no evidence.
    moved = repository.bare.rename(str(repository.bare) + ".away")
    assert daemon.mayfly("compare", name).returncode == 1
    Repository.git(repository, "init", "-q", "--bare", str(repository.bare), cwd=daemon.folder)
    assert "no evidence" in daemon.ok("compare", name)
    assert daemon.show(f"main--{name}")["closed_ms"] is None
    subprocess.run(["rm", "-rf", repository.bare], check=True)
    pathlib.Path(moved).rename(repository.bare)


# ---- restarts ----

def test_previews_outlive_the_daemon(lonely):
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello", volume=True))
    lonely.ok("project", "add", "shop", repository.bare)
    lonely.ok("up", "shop", "main")
    before = lonely.show("main--shop")
    started = [r["uid"] for r in before["resources"]]
    lonely.stop()
    lonely.start()
    assert lonely.get("main--shop")[1] == "hello"
    assert [r["uid"] for r in lonely.show("main--shop")["resources"]] == started
    lonely.kill()
    lonely.start()
    assert lonely.get("main--shop")[1] == "hello"
    repository.push("main", repository.product("after", volume=True))
    lonely.ok("up", "shop", "main")
    assert lonely.get("main--shop")[1] == "after"


def test_a_push_lost_while_the_daemon_was_away_is_found_at_start(lonely):
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("one"))
    lonely.ok("project", "add", "shop", repository.bare)
    lonely.ok("up", "shop", "main")
    lonely.kill()
    repository.push("main", repository.product("two"))
    lonely.start()
    wait_until(lambda: lonely.get("main--shop")[1] == "two", 30, "the push made meanwhile")


def test_the_event_log_is_verified(lonely):
    lonely.start()
    lonely.stop()
    command = [BUILD / "orchestrator" / "mayflyd", "--verify-log", "--state", lonely.state]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def test_a_stop_with_open_streams_is_clean(lonely):
    """Followers of logs and events are let go, the sanitizers find nothing, the preview stays."""
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello"))
    lonely.ok("project", "add", "shop", repository.bare)
    lonely.ok("up", "shop", "main")
    followers = [subprocess.Popen([BUILD / "orchestrator" / "mayfly", *words], env=lonely.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for words in (("logs", "-f", "main--shop"), ("events", "-f", "--json"), ("events", "-f"))]
    assert followers[0].stdout.readline()
    time.sleep(0.3)
    lonely.stop()
    for follower in followers:
        follower.communicate(timeout=20)
    lonely.start()
    assert lonely.get("main--shop")[1] == "hello"


def test_up_survives_a_restart_of_the_daemon_and_ctrl_c_leaves_the_preview(lonely):
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("slow", {"DELAY_MS": "3000"}))
    lonely.ok("project", "add", "shop", repository.bare)
    command = [BUILD / "orchestrator" / "mayfly", "up", "shop", "main"]
    up = subprocess.Popen(command, env=lonely.env, stdout=subprocess.PIPE, text=True)
    impatient = subprocess.Popen(command, env=lonely.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: "workload" in json.dumps(lonely.api("GET", "/v1/environments/main--shop")[1]), 20,
               "the workload's begin")
    assert up.stdout.readline().startswith("main--shop")
    assert impatient.stdout.readline().startswith("main--shop")
    impatient.send_signal(signal.SIGINT)
    assert impatient.wait(10) == 130 and "The preview goes on" in impatient.communicate()[1]
    lonely.kill()
    lonely.start()
    out, _ = up.communicate(timeout=60)
    assert up.returncode == 0 and out.rstrip().endswith(f"http://main--shop.preview.localhost:{lonely.port}")
