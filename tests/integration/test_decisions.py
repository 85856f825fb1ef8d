"""What packaging/doc/dependency-file.md decides about running without images, seen in a real environment."""
import json
import os
import pathlib

import pytest

from mayfly import Daemon, Repository

SECRET = "s3cret-word-of-the-admin"
MAIN = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done > /tmp/words
env > /tmp/env
pwd > /tmp/pwd
exec ../server
"""


def container(command, **more):
    return {"image": ".", "command": command, **more}


def score(name, containers, ports=None, resources=None):
    return {"apiVersion": "score.dev/v1b1", "metadata": {"name": name, "team": "red"}, "containers": containers,
            "service": {"ports": ports or {}}, "resources": resources or {}}


def product():
    """Two workloads: web in a folder of its own, with hooks, files, volumes and an order; api with a Procfile."""
    web = score("web", {
        "main": container(
            ["./main.sh"], args=["$HOME", "%n", "$(id)", "a b", "${metadata.name}"],
            variables={"PORT": "8080", "TEXT": "hello", "SECRET": "${resources.env.TOKEN}", "NAME": "${metadata.name}",
                       "API": "${resources.api.hostname}:${resources.api-port.port}", "RAW": "$${x} $$"},
            files={"/etc/shop/shop.conf": {"content": "name=${metadata.name}\n", "mode": "0400"},
                   "/usr/share/new/folder/x": {"content": "x"}, "here.txt": {"source": "beside.txt"}},
            volumes={"/data": {"source": "${resources.data}"},
                     "/part": {"source": "${resources.data}", "path": "sub/part", "readOnly": True}},
            readinessProbe={"httpGet": {"path": "/", "port": 8080}}),
        "first": container(["sh", "-c", "echo first >> /data/order"], before={"main": {"ready": "complete"}},
                           volumes={"/data": {"source": "${resources.data}"}})},
        ports={"http": {"port": 8080}},
        resources={"data": {"type": "volume"}, "env": {"type": "environment"},
                   "api": {"type": "service", "params": {"workload": "api"}},
                   "api-port": {"type": "service-port", "params": {"workload": "api", "port": "http"}}})
    api = score("api", {"main": {"image": ".", "args": ["--", "more"],
                                 "variables": {"PORT": "9090", "TEXT": "api"}}},
                ports={"http": {"port": 90, "targetPort": 9090}})
    return {"web/score.yaml": web, "api.yaml": api, "web/main.sh": MAIN, "web/beside.txt": "beside ${metadata.name}",
            "Procfile": "api: exec ./server # said by the Procfile\n",
            "mayfly.yaml": {"score": ["web/score.yaml", "api.yaml"], "workloads": {"web": {
                "public": True, "migrate": "echo migrate >> /data/order",
                "seed": "echo seed >> /data/order; touch /mayfly/seed/mine"}}}}


@pytest.fixture(scope="module")
def place():
    daemon = Daemon({"values": {"shop": {"TOKEN": SECRET}}}).start()
    try:
        repository = Repository(daemon.folder)
        repository.write(product())
        (repository.work / "web" / "main.sh").chmod(0o755)
        repository.push("main")
        daemon.ok("project", "add", "shop", repository.bare)
        daemon.ok("up", "shop", "main")
        yield daemon, repository, daemon.environments()[0]["label"]
    finally:
        daemon.clean()


def inside(place, *command, workload="web", ok=True):
    daemon, _, label = place
    done = daemon.mayfly("exec", label, "--workload", workload, "--", *command)
    assert not ok or done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout if ok else done.returncode


def test_words_are_literal_and_the_folder_is_the_files_own(place):
    assert inside(place, "cat", "/tmp/words").split("\n")[:5] == ["$HOME", "%n", "$(id)", "a b", "${metadata.name}"]
    assert inside(place, "cat", "/tmp/pwd") == "/app/web\n"


def test_the_environment_starts_empty(place):
    have = dict(line.split("=", 1) for line in inside(place, "cat", "/tmp/env").strip().split("\n"))
    given = {"PORT", "TEXT", "SECRET", "NAME", "API", "RAW"}
    usual = {"PATH", "HOME", "TMPDIR", "LANG", "MAYFLY_URL", "MAYFLY_ENVIRONMENT", "MAYFLY_BRANCH", "MAYFLY_COMMIT"}
    assert set(have) - {"PWD", "SHLVL", "_", "OLDPWD"} == given | usual
    assert have["NAME"] == "web" and have["RAW"] == "${x} $" and have["API"] == "api:9090"


def test_secrets_are_not_on_command_lines(place):
    assert SECRET in inside(place, "cat", "/tmp/env")
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert SECRET.encode() not in (entry / "cmdline").read_bytes()
            except OSError:
                pass
    assert SECRET not in json.dumps(place[0].show(place[2]))


def test_files_lie_in_the_workload_alone(place):
    assert inside(place, "cat", "/etc/shop/shop.conf") == "name=web\n"
    assert inside(place, "cat", "/usr/share/new/folder/x") == "x"
    assert inside(place, "cat", "/app/web/here.txt") == "beside web"
    for path in ("/etc/shop/shop.conf", "/usr/share/new/folder/x", "/app/web/here.txt"):
        assert inside(place, "sh", "-c", f"echo > {path}", ok=False) != 0, path
    assert "beside.txt" in inside(place, "ls", "/app/web") and inside(place, "ls", "/usr/share").count("\n") > 3
    assert not os.path.exists("/etc/shop") and not os.path.exists("/usr/share/new")


def test_volumes(place):
    inside(place, "sh", "-c", "echo kept > /data/file")
    assert inside(place, "sh", "-c", "echo > /part/x", ok=False) != 0
    assert "sub" in inside(place, "ls", "/data")


def test_names_resolve_inside(place):
    for name in ("api", "web"):
        assert inside(place, "getent", "hosts", name).split()[0] == "127.0.0.1"


def test_the_procfile_is_the_command_and_args_follow(place):
    line = inside(place, "sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '", workload="api")
    assert "./server" in line


def test_order_and_hooks(place):
    """migrate before each start, seed once in the life of the environment, both before what the file has."""
    daemon, repository, label = place
    assert inside(place, "cat", "/data/order").split() == ["migrate", "seed", "first"]
    repository.push("main", {"note": "a push"})
    daemon.ok("up", "shop", "main")
    assert inside(place, "cat", "/data/order").split() == ["migrate", "seed", "first", "migrate", "first"]
    daemon.ok("sleep", label)
    daemon.wait_state(label, "ready", level="stopped")
    daemon.ok("wake", label)
    daemon.wait_state(label, "ready", level="awake")
    assert inside(place, "cat", "/data/order").split() == ["migrate", "seed", "first"] + ["migrate", "first"] * 2


def test_a_seed_that_fails_is_tried_again(place):
    daemon, repository, _ = place
    files = {**product(), "ok": ""}
    files["mayfly.yaml"]["workloads"]["web"]["seed"] = "echo try >> /data/order; test -e /app/web/good"
    repository.push("seeded", files)
    assert daemon.mayfly("up", "shop", "seeded").returncode != 0
    repository.push("seeded", {"web/good": ""})
    daemon.ok("up", "shop", "seeded")
    label = next(e["label"] for e in daemon.environments() if e["branch"] == "seeded")
    words = daemon.ok("exec", label, "--workload", "web", "--", "cat", "/data/order").split()
    assert words.count("try") >= 2 and words[-1] == "first"
    tries = words.count("try")
    repository.push("seeded", {"note": "more"})
    daemon.ok("up", "shop", "seeded")
    words = daemon.ok("exec", label, "--workload", "web", "--", "cat", "/data/order").split()
    assert words.count("try") == tries


def test_what_cannot_be_honoured_is_refused(place):
    daemon, repository, _ = place
    cases = {
        "image": (lambda web: web["containers"]["main"].update(image="nginx"), "image"),
        "variable": (lambda web: web["containers"]["main"]["variables"].update({"A B": "x"}), "A B"),
        "source": (lambda web: web["containers"]["main"]["files"].update({"/x": {"source": "../../etc/passwd"}}), ".."),
        "type": (lambda web: web["resources"].update(db={"type": "postgres"}), "postgres"),
        "healthy": (lambda web: web["containers"]["first"].update(before={"main": {"ready": "healthy"}}), "probe"),
    }
    for branch, (change, word) in cases.items():
        files = product()
        change(files["web/score.yaml"])
        repository.push(branch, files)
        done = daemon.mayfly("up", "shop", branch)
        assert done.returncode != 0 and word in done.stdout + done.stderr, (branch, done.stdout, done.stderr)
