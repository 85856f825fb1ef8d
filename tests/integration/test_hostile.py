"""What goes wrong in a branch and on the disk: each gives the person concerned a clear cause, the rest goes
on, and nothing is left behind. Real daemon, real providers. (Clock steps: tests/unit/test-engine-promise.c.)"""
import json
import os
import pathlib
import subprocess
import time

import pytest

import host as hosts
import host_world as world

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root: network namespaces with an address of their own")

CONFIG = """
clocks:
  delete_after_close: 1s
definitions:
  - name: impatient
    match: {type: workload}
    provider: process
    params: {start_timeout_ms: 2000, stop_timeout_ms: 1000}
"""


@pytest.fixture(scope="module")
def shared_host():
    host = hosts.Host(CONFIG)
    host.start()
    repository = hosts.Repository(host.home)
    host.call("POST", "/v1/projects", {"name": "shop", "repository": str(repository.bare)})
    yield host, repository
    host.done()


@pytest.fixture
def shop(shared_host):
    """A host where nothing is left from the test before, and nothing may be left after this one."""
    host, repository = shared_host
    host.ensure()
    yield Shop(host, repository)
    labels = [e["label"] for e in host.call("GET", "/v1/environments")[1]["environments"]]
    for label in labels:
        host.call("POST", f"/v1/environments/{label}/down", {}, may=(404, 409, 410))
    last = []

    def clean():
        last[:] = world.ledger_leftovers(host.state) + world.leftovers(host.state, [host.process.pid], keep_installation=True)
        return not last

    try:
        host.wait("nothing is left", clean, 30)
    except AssertionError:
        raise AssertionError("left behind:\n  " + "\n  ".join(last)) from None


class Shop:
    def __init__(self, host, repository):
        self.host, self.repository = host, repository

    def push(self, branch, commit):
        return self.host.call("POST", "/v1/projects/shop/push", {"branch": branch, "commit": commit})

    def show(self, branch):
        return self.host.environment_of(f"{branch}--shop") or {}

    def cause(self, branch, seconds=30):
        return self.host.wait(f"{branch} has a cause", lambda: self.show(branch).get("cause"), seconds)

    def answers(self, branch, text, seconds=30):
        self.host.wait(f"{branch} answers {text!r}", lambda: self.host.get(f"{branch}--shop")[1] == text, seconds)


def test_two_pushes_within_a_second_the_newest_serves(shop):
    first = shop.repository.commit("twice", "first")
    second = shop.repository.commit("twice", "second")
    shop.push("twice", first)
    shop.push("twice", second)
    shop.answers("twice", "second")
    time.sleep(0.5)
    assert shop.host.get("twice--shop")[1] == "second"
    assert shop.show("twice")["commit"] == second


BUILD = "score: [score.yaml]\nworkloads:\n  web:\n    build:\n      command: [sh, -c, \"{command}\"]\n      timeout: {timeout}\n"


def build(command, timeout="60s"):
    return {"mayfly.yaml": BUILD.format(command=command, timeout=timeout)}


def test_force_push_during_a_build_cancels_it(shop):
    slow = shop.repository.commit("forced", "slow", extra=build("sleep 300"))
    shop.push("forced", slow)
    time.sleep(1)
    quick = shop.repository.commit("forced", "quick", extra=build("echo built > text"))
    begin = time.monotonic()
    shop.push("forced", quick)
    shop.answers("forced", "built\n")
    assert time.monotonic() - begin < 20
    shop.host.wait("the old build ended", lambda: not [p for p in world.processes(shop.host.state, set()) if "sleep 300" in p])


def test_branch_deleted_while_it_builds(shop):
    slow = shop.repository.commit("dropped", "slow", extra=build("sleep 301"))
    shop.push("dropped", slow)
    time.sleep(1)
    shop.push("dropped", None)
    shop.host.wait("it is gone", lambda: shop.show("dropped").get("state", "gone") == "gone")
    assert shop.host.get("dropped--shop")[0] == 410


def test_a_build_that_never_ends_is_ended_and_says_so(shop):
    shop.push("endless", shop.repository.commit("endless", "x", extra=build("echo still at it; sleep 302", "2s")))
    cause = shop.cause("endless")
    assert "build" in cause and "2s" in cause.replace("2 s", "2s").replace("2000 ms", "2s"), cause
    status, page = shop.host.get("endless--shop")
    assert status in (502, 503) and "build" in page


def test_a_build_that_fails_shows_its_last_words(shop):
    shop.push("unbuilt", shop.repository.commit("unbuilt", "x", extra=build("echo no rule to make dinner >&2; exit 7")))
    cause = shop.cause("unbuilt")
    assert "7" in cause and "no rule to make dinner" in cause


def test_a_workload_that_never_listens(shop):
    shop.push("deaf", shop.repository.commit("deaf", "x", {"LISTEN_NEVER": "1"}))
    cause = shop.cause("deaf")
    assert "8080" in cause, cause


def test_a_workload_that_exits_at_once(shop):
    shop.push("short", shop.repository.commit("short", "x", {"EXIT_CODE": "9"}))
    cause = shop.cause("short")
    assert "9" in cause and "EXIT_CODE says" in cause, cause


def test_a_failed_push_leaves_the_last_good_one(shop):
    shop.push("solid", shop.repository.commit("solid", "good"))
    shop.answers("solid", "good")
    shop.push("solid", shop.repository.commit("solid", "bad", {"EXIT_CODE": "4"}))
    shop.cause("solid")
    assert shop.host.get("solid--shop") == (200, "good")
    assert shop.show("solid")["state"] == "ready"


def test_a_workload_that_ignores_sigterm_ends_all_the_same(shop):
    shop.push("stubborn", shop.repository.commit("stubborn", "here", {"IGNORE_TERM": "1"}))
    shop.answers("stubborn", "here")
    shop.host.call("POST", "/v1/environments/stubborn--shop/down", {})
    shop.host.wait("it is gone", lambda: shop.show("stubborn").get("state", "gone") == "gone")


def test_a_broken_dependency_file_names_line_and_cure(shop):
    commit = shop.repository.commit("typo", "x")
    text = (shop.repository.work / "score.yaml").read_text().replace("command:", "comand:")
    (shop.repository.work / "score.yaml").write_text(text)
    shop.repository.git("commit", "-q", "-a", "-m", "typo")
    shop.repository.git("push", "-q", "-f", "origin", "typo")
    commit = shop.repository.git("rev-parse", "HEAD")
    shop.push("typo", commit)
    cause = shop.cause("typo")
    assert "score.yaml:11" in cause and "'comand'" in cause, cause
    page = shop.host.get("typo--shop")[1]
    assert "comand" in page


def test_a_commit_that_is_not_there(shop):
    shop.push("phantom", "0123456789abcdef0123456789abcdef01234567")
    assert "0123456789ab" in shop.cause("phantom", 60)


def test_data_survives_push_and_sleep(shop):
    host = shop.host
    shop.push("data", shop.repository.commit("data", "one"))
    shop.answers("data", "one")
    subprocess.run(["curl", "-fsS", "-H", "Host: data--shop.preview.localhost", "-d", "kept",
                    f"http://127.0.0.1:{host.port}/data"], check=True, capture_output=True)
    shop.push("data", shop.repository.commit("data", "two"))
    shop.answers("data", "two")
    assert host.get("data--shop", "/data") == (200, "kept")
    host.call("POST", "/v1/environments/data--shop/sleep", {})
    host.wait("asleep", lambda: shop.show("data").get("level") == "stopped")
    uids, _ = world.names_of(host.state)
    # the generation before it is drained for a moment
    host.wait("asleep, it has no process", lambda: not list(world.processes(host.state, {host.process.pid}, uids)), 10)
    assert host.get("data--shop", "/data") == (200, "kept")


def test_one_environment_cannot_reach_another_or_the_host(shop):
    for branch in ("left", "right"):
        shop.push(branch, shop.repository.commit(branch, branch))
    shop.answers("left", "left")
    shop.answers("right", "right")
    addresses = {}
    for branch in ("left", "right"):
        outputs = world.rows(shop.host.state, "SELECT r.outputs FROM resource r JOIN environment e ON e.id = r.environment_id "
                             "WHERE r.type = 'workload' AND r.state = 'ready' AND e.label = ?", f"{branch}--shop")
        addresses[branch] = json.loads(outputs[0][0])["endpoints"]["http"]["address"]
    assert addresses["left"] != addresses["right"]
    # reachable from itself, so that a refusal below means what it should
    assert "reached" in try_connect(shop.host, "left--shop", addresses["left"], 8080)
    assert "reached" not in try_connect(shop.host, "left--shop", addresses["right"], 8080)
    network = addresses["left"].rsplit(".", 2)[0]
    rows = [line.split() for line in world.run("ip", "-o", "-4", "addr").split("\n") if f" {network}." in line]
    assert rows, "the bridge has an address"
    for row in rows:
        assert "reached" not in try_connect(shop.host, "left--shop", row[3].split("/")[0], shop.host.port)


def try_connect(host, label, address, port):
    return exec_in(host, label, ["timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port} && echo reached || echo refused"])


def exec_in(host, label, command):
    connection = hosts.UnixConnection(host.state / "api.sock", 20)
    connection.request("POST", f"/v1/environments/{label}/exec", json.dumps({"command": command}))
    return connection.getresponse().read().decode(errors="replace")


def test_a_full_disk_is_said_and_survived(tmp_path):
    """The state folder on a small file system that fills up."""
    mount = pathlib.Path("/var/tmp") / f"mayfly-full-{os.getpid()}"
    mount.mkdir(mode=0o711)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=711", "tmpfs", mount], check=True)
    host = hosts.Host(CONFIG)
    host.state = mount / "state"
    try:
        host.start()
        repository = hosts.Repository(host.home)
        host.call("POST", "/v1/projects", {"name": "shop", "repository": str(repository.bare)})
        shop = Shop(host, repository)
        shop.push("full", repository.commit("full", "before"))
        shop.answers("full", "before")
        with open(mount / "ballast", "wb") as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 65536)
            except OSError:
                pass
        during = repository.commit("full", "during")
        try:
            status, body = host.request("POST", "/v1/projects/shop/push", {"branch": "full", "commit": during})
        except hosts.Gone as error:
            raise AssertionError(f"the daemon ended on a full disk: {error}\n{host.log_tail()}")
        assert host.get("full--shop") == (200, "before"), "the preview that runs goes on"
        assert host.alive()
        if status >= 400:
            assert "space" in str(body).lower() or "full" in str(body).lower(), body
        (mount / "ballast").unlink()
        shop.push("full", during)
        shop.answers("full", "during", 60)
        host.call("POST", "/v1/environments/full--shop/down", {})
        # nothing destructive happens for a minute after the ledger could not be written
        host.wait("it is gone", lambda: shop.show("full").get("state", "gone") == "gone", 120)
    finally:
        host.done()
        subprocess.run(["umount", "-l", mount], check=False)
        mount.rmdir()
