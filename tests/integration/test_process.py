"""The provider 'process': networks, builds and workloads, as root and without."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from mayfly import Provider, provider_program, wait_until

USER = 12345  # nobody's: the user of the rootless runs
SERVER = """
import http.server, os, signal, sys
print("user", os.getuid(), "word", os.environ.get("WORD"), flush=True)
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), os._exit(0)))
class H(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer((sys.argv[2] if len(sys.argv) > 2 else "0.0.0.0", int(sys.argv[1])), H).serve_forever()
"""


class Place:
    """A provider, and a checkout, in a folder that goes away; as root or as a fresh user."""

    def __init__(self, root, base, **config):
        self.root = root
        self.base = base
        self.checkout = base / "checkout"
        self.checkout.mkdir()
        self.write("server.py", SERVER)
        program = provider_program("process")
        if not root and os.getuid() == 0:
            wrapper = base / "provider"
            wrapper.write_text(f"#!/bin/sh\nexec setpriv --reuid {USER} --regid {USER} --clear-groups {program}\n")
            wrapper.chmod(0o755)
            program = wrapper
        self.provider = Provider("process", base / "state", program=program, **config)
        if not root and os.getuid() == 0:
            for path in (base / "state", self.checkout):
                os.chown(path, USER, USER)
        self.made = []

    def write(self, name, text):
        path = self.checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if not self.root and os.getuid() == 0:
            for p in [path, *path.relative_to(self.base).parents]:
                os.chown(self.base / p if not p.is_absolute() else p, USER, USER)

    def network(self, slot=1, **params):
        resource = self.provider.resource("network", params, slot=slot)
        self.made.append(resource)
        return resource, self.provider.ask("provision", resource)["outputs"]

    def workload(self, net, command=("python3", "server.py", "8080"), ports=(8080,), containers=None, **more):
        params = {
            "workload": "api", "directory": str(self.checkout), "checkout": str(self.checkout),
            "network": net["namespace"], "address": net["address"], "siblings": ["api", "web"],
            "ports": {f"p{p}": {"port": p, "target_port": p, "protocol": "TCP"} for p in ports},
            "containers": containers or [self.container("main", command)], **more}
        resource = self.provider.resource("workload", params)
        self.made.append(resource)
        return resource

    @staticmethod
    def container(name, command, **more):
        return {"name": name, "image": ".", "command": list(command), "args": [], "variables": {}, "files": [],
                "volumes": [], "before": [], "limits": {}, "liveness": None, "readiness": None, **more}

    def build(self, net, command, **more):
        params = {"workload": "api", "directory": str(self.checkout), "checkout": str(self.checkout),
                  "network": net["namespace"], "command": command, "variables": {}, "timeout_ms": 30000, **more}
        resource = self.provider.resource("build", params)
        self.made.append(resource)
        return resource

    def run(self, resource, *command, **options):
        """exec: exit code and output."""
        lines = self.provider.lines("exec", resource, options={"command": list(command), **options})
        assert "result" in lines[-1], lines
        text = "".join(line["item"]["text"] for line in lines if "item" in line)
        return lines[-1]["result"]["exit_code"], text

    def logs(self, resource, **options):
        lines = self.provider.lines("logs", resource, options=options)
        return [line["item"]["text"] for line in lines if "item" in line]

    def remove_all(self):
        while self.made:
            self.provider.ask("deprovision", self.made.pop())

    def leftovers(self):
        """What is still in the world of this installation."""
        found = [str(p) for p in pathlib.Path(self.base / "state").iterdir()]
        inst = self.provider.installation
        found += [n for n in os.listdir("/run/netns") if inst[-8:] in n] if os.path.isdir("/run/netns") else []
        found += [n for n in os.listdir("/sys/class/net") if n.startswith("mf") and inst.endswith(n[2:])]
        found += processes(inst) + processes(str(self.base))
        found += [line for line in open("/proc/self/mounts") if str(self.base) in line]
        for uid in [r["uid"] for r in self.everything]:
            found += [n for n in os.listdir("/sys/class/net") if n.startswith("mv") and uid.endswith(n[2:])]
            found += [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*/mayfly-{uid}*")]
            found += [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"mayfly-{uid}*")]
        if self.root:
            tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
            found += [line for line in tables.stdout.splitlines() if inst in line]
        return found

    @property
    def everything(self):
        return self.made or [{"uid": "none"}]


def processes(text):
    """Command lines that contain text."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line and b"mayfly-provider" not in line and b"pytest" not in line:
                found.append(f"{entry.name}: {line!r}")
    return found


def get(endpoint, path="/", timeout=3):
    with socket.create_connection((endpoint["address"], endpoint["port"]), timeout=timeout) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        data = b""
        while chunk := s.recv(65536):
            data += chunk
        return data


@pytest.fixture(params=["root", "rootless"])
def place(request):
    root = request.param == "root"
    if root and os.getuid() != 0:
        pytest.skip("this part needs root")
    base = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-process-"))
    base.chmod(0o755)
    made = Place(root, base)
    uids = []
    yield made
    uids = [r["uid"] for r in made.made]
    made.remove_all()
    made.made = [{"uid": uid} for uid in uids]
    left = made.leftovers()
    shutil.rmtree(base)
    assert not left


def test_a_workload_answers_sleeps_wakes_and_goes(place):
    p = place.provider
    network, net = place.network()
    assert p.ask("provision", network)["outputs"] == net
    w = place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"],
                                                        variables={"WORD": "secret-word"})])
    done = p.ask("provision", w)
    assert b"200 OK" in get(done["outputs"]["endpoints"]["p8080"])
    again = p.ask("provision", w)
    assert again["outputs"]["endpoints"] == done["outputs"]["endpoints"]
    assert len([line for line in processes(w["uid"]) if "mayfly-keeper" in line]) == 1
    seen = p.ask("inspect", w)
    assert (seen["present"], seen["ready"], seen["level"], seen["marker"]) == ("present", True, "awake", w["marker"])
    assert not processes("secret-word")
    assert p.items()[w["uid"]]["level"] == "awake"
    w["state"] = done["state"]
    slept = p.ask("sleep", w)
    assert slept["level"] == "stopped" and not processes(w["uid"])
    assert "bye" in place.logs(w)
    assert p.ask("inspect", w)["level"] == "stopped"
    w["state"] = slept["state"]
    woken = p.ask("wake", w)
    assert woken["outputs"]["endpoints"] == done["outputs"]["endpoints"]
    assert b"200 OK" in get(woken["outputs"]["endpoints"]["p8080"])
    gone = p.ask("deprovision", w)
    assert {r["kind"] for r in gone["removed"]} >= {"process", "file"}
    again = p.ask("deprovision", w)
    assert not again["removed"] and again["absent"]
    assert p.ask("inspect", w)["present"] == "absent"


def test_a_build_writes_and_says_what_it_does(place):
    _, net = place.network()
    b = place.build(net, ["sh", "-c", "echo building; id -u; echo made > out.txt"])
    lines = place.provider.lines("provision", b)
    assert "result" in lines[-1], lines
    assert "building" in [line.get("log") for line in lines]
    assert (place.checkout / "out.txt").read_text() == "made\n"
    assert place.provider.ask("inspect", b)["ready"] is True
    (place.checkout / "out.txt").write_text("kept")
    place.provider.ask("provision", b)
    assert (place.checkout / "out.txt").read_text() == "kept"
    bad = place.build(net, "echo first; echo oops >&2; exit 7")
    error = place.provider.fails("provision", bad)
    assert error["class"] == "invalid" and "code 7" in error["message"] and "oops" in error["message"]
