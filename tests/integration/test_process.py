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


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def keeper_pid(place, resource):
    return json.loads((place.base / "state" / resource["uid"] / "keeper.json").read_text())["pid"]


# --- isolation

def test_a_container_sees_and_writes_only_its_own(place):
    _, net = place.network()
    neighbour = place.base / "state" / "neighbour"
    neighbour.mkdir()
    (neighbour / "file").write_text("another environment's")
    w = place.workload(net)
    place.provider.ask("provision", w)
    code, text = place.run(w, "sh", "-c", "for p in /x /usr/x /etc/x /app/x /var/x /sys/x /proc/sys/kernel/hostname;"
                           " do echo y > $p && echo WROTE $p; done; echo y > /tmp/x && cat /tmp/x; ls / | tr '\\n' ' '")
    assert "WROTE" not in text and "y\n" in text and code == 0
    assert {"root", "home", "work", "srv", "mnt", "opt", "boot", "sys"}.isdisjoint(text.split("\n")[-1].split())
    code, text = place.run(w, "cat", str(neighbour / "file"))
    assert code == 1 and "another" not in text
    _, text = place.run(w, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert {fields[k] for k in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert fields["Uid"].split()[0] == ("600001" if place.root else "1000")
    _, text = place.run(w, "sh", "-c", "ls /proc | grep -c '^[0-9]'; ls /proc/self/fd; ls /proc/1/fd /proc/1/root 2>&1")
    assert int(text.split()[0]) < 10
    assert "Permission denied" in text or not place.root
    # nothing of what the sandbox was built with is open in it
    code, text = place.run(w, "sh", "-c", "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E 'state|memfd|/usr$|inside'")
    assert code == 1, text
    _, text = place.run(w, "sh", "-c", "getent hosts web api localhost; cat /etc/resolv.conf; hostname; id -un; mount -t tmpfs x /tmp")
    assert text.count("127.0.0.1") >= 2 and "api\n" in text and "app\n" in text and "nameserver" not in text
    shutil.rmtree(neighbour)


CONNECT = """
import socket, sys
for to in sys.argv[1:]:
    host, port = to.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=0.4).close()
        print("REACHED", to)
    except OSError as e:
        print("closed", to, e)
"""


def test_no_way_to_another_environment_or_the_host(place):
    place.write("connect.py", CONNECT)
    _, net_a = place.network(slot=1)
    _, net_b = place.network(slot=2)
    a, b = place.workload(net_a), place.workload(net_b)
    ends = [place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"] for w in (a, b)]
    assert all(b"200 OK" in get(e) for e in ends)
    server = socket.create_server(("0.0.0.0", 0))
    port = server.getsockname()[1]
    addresses = ["127.0.0.1:%d" % port, "%s:%d" % (ends[1]["address"], ends[1]["port"])]
    if place.root:
        bridge = ends[0]["address"].rsplit(".", 1)[0] + ".1"
        addresses += [f"{bridge}:{port}"]
    with open("/proc/net/fib_trie", encoding="ascii") as table:
        host = {line.split()[-1] for line in table.read().split("\n") if "|--" in line}
    addresses += [f"{h}:{port}" for h in sorted(host) if h.split(".")[0] not in ("0", "127") and not h.endswith((".0", ".255"))]
    _, text = place.run(a, "python3", "connect.py", *addresses[:12])
    assert "REACHED" not in text and text.count("closed") == len(addresses[:12]), text
    _, text = place.run(a, "python3", "connect.py", "127.0.0.1:8080")
    assert "REACHED" in text
    _, text = place.run(a, "python3", "-c", "import socket; socket.socket(socket.AF_INET6).connect(('::1', 8080))")
    assert "Error" in text
    server.close()


def test_an_environment_of_the_branch_never_reaches_the_sandbox_programs(place):
    """LD_PRELOAD of the branch must not be loaded by bubblewrap or by what gives up privileges."""
    place.write("evil.c", "#include <unistd.h>\n#include <stdio.h>\n#include <fcntl.h>\n"
                "__attribute__((constructor)) static void f(void) { char b[64]; int fd = open(\"/tmp/loaded\", "
                "O_WRONLY|O_CREAT|O_APPEND, 0666); int n = snprintf(b, 64, \"%d\\n\", getuid()); write(fd, b, n); }\n")
    library = place.checkout / "evil.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, place.checkout / "evil.c"], check=True)
    library.chmod(0o755)
    _, net = place.network()
    outside = pathlib.Path("/tmp/loaded")
    assert not outside.exists()
    for path in ("/app/evil.so", str(library)):
        w = place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"],
                                                            variables={"LD_PRELOAD": path})])
        place.provider.ask("provision", w)
        code, text = place.run(w, "cat", "/tmp/loaded")
        assert set(text.split()) <= {"600001", "1000", "cat:", "/tmp/loaded:", "No", "such", "file", "or", "directory"} \
            or "cannot be preloaded" in text, text
        assert not outside.exists()
        place.provider.ask("deprovision", w)
        place.made.remove(w)


# --- files and volumes

def test_files_are_there_and_cannot_be_changed(place):
    _, net = place.network()
    place.write("sub/keep.txt", "kept")
    (place.checkout / "link").symlink_to("/oldroot/tmp")
    files = [{"target": "/etc/app/a.conf", "mode": "0640", "content": "one"},
             {"target": "/app/sub/new dir/b\nc.conf", "content": "two"},
             {"target": "/app/server2.py", "content": "three"},
             {"target": "/opt/x/y", "binary": "AAEC/w=="},
             {"target": "/usr/share/mayfly-test/z", "content": "five"},
             {"target": "/etc/hosts", "content": "127.0.0.1 own\n"},
             {"target": "/etc/ssl/own.pem", "content": "six"},
             {"target": "/app/link/evil", "content": "seven"}]
    w = place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"], files=files)])
    place.provider.ask("provision", w)
    _, text = place.run(w, "sh", "-c", "cat /etc/app/a.conf /app/sub/*/b* /app/server2.py /usr/share/mayfly-test/z"
                        " /app/sub/keep.txt /etc/hosts /etc/ssl/own.pem /app/link/evil; od -An -tx1 /opt/x/y; ls /usr/bin/env")
    assert text.startswith("onetwothreefivekept127.0.0.1 own\nsixseven") and "00 01 02 ff" in text and "/usr/bin/env" in text
    _, text = place.run(w, "sh", "-c", "stat -c '%a %U' /etc/app/a.conf; for f in /etc/app/a.conf /app/server2.py /opt/x/y;"
                        " do echo x > $f; rm -f $f; done; cat /etc/app/a.conf")
    assert text.startswith("640 app") and "one" in text
    assert not pathlib.Path("/tmp/evil").exists() and not (place.checkout / "server2.py").exists()


@pytest.mark.parametrize("target", ["/app/../../etc/passwd", "relative", "/proc/x", "/dev/null", "/", "/app", "/usr", "/a//b", ""])
def test_bad_targets_are_refused_with_a_sentence(place, target):
    _, net = place.network()
    for kind in ({"files": [{"target": target, "content": "x"}]},
                 {"volumes": [{"target": target, "source": {"type": "bind", "source": str(place.checkout)}}]}):
        w = place.workload(net, containers=[place.container("main", ["true"], **kind)])
        error = place.provider.fails("provision", w)
        assert error["class"] == "invalid" and len(error["message"]) > 20, error


def test_volumes_keep_their_data_and_their_borders(place):
    _, net = place.network()
    volume = place.base / "volume"
    volume.mkdir()
    (volume / "out").symlink_to("/etc")
    if place.root is False and os.getuid() == 0:
        os.chown(volume, USER, USER)
    source = {"type": "bind", "source": str(volume)}

    def made(volumes, **more):
        return place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"], volumes=volumes, **more)])

    w = made([{"target": "/data", "source": source}, {"target": "/sub", "source": source, "path": "a/b c"},
              {"target": "/app/ro", "source": source, "read_only": True}])
    place.provider.ask("provision", w)
    _, text = place.run(w, "sh", "-c", "echo one > /data/f; echo two > /sub/g; cat /app/ro/f /data/a/b\\ c/g; echo x > /app/ro/f")
    assert "one\ntwo\n" in text and "Read-only" in text
    place.provider.ask("sleep", w)
    place.provider.ask("wake", w)
    assert place.run(w, "cat", "/data/f") == (0, "one\n")
    for path in ("out", "out/x", "../x", "a/../../x"):
        error = place.provider.fails("provision", made([{"target": "/data", "source": source, "path": path}]))
        assert error["class"] == "invalid", error
    error = place.provider.fails("provision", made([{"target": "/data", "source": source}],
                                                   files=[{"target": "/data/x", "content": "x"}]))
    assert error["class"] == "invalid" and "volume" in error["message"]
    assert not os.path.exists("/etc/x")
    place.provider.ask("deprovision", w)
    assert (volume / "f").read_text() == "one\n"


# --- starting

def test_never_listens(place):
    _, net = place.network()
    place.write("wrong.py", "import socket, time\ns = socket.create_server(('127.0.0.1', 3000))\nprint('up', flush=True)\ntime.sleep(600)\n")
    w = place.workload(net, ["python3", "wrong.py"], start_timeout_ms=700)
    error = place.provider.fails("provision", w)
    assert error["class"] == "invalid"
    assert "Port 8080 (p8080) of workload 'api' did not accept a connection within 700ms" in error["message"]
    assert "127.0.0.1:3000" in error["message"] and "up" in error["message"]
    assert not processes(w["uid"])
    assert place.provider.ask("inspect", w)["present"] == "absent"
    w["params"]["containers"][0]["command"] = ["python3", "server.py", "8080"]
    place.provider.ask("provision", w)


def test_exits_at_once(place):
    _, net = place.network()
    w = place.workload(net, ["sh", "-c", "echo going down; exit 3"])
    error = place.provider.fails("provision", w)
    assert error["class"] == "invalid" and "code 3" in error["message"] and "going down" in error["message"], error
    w = place.workload(net, ["no-such-program"])
    error = place.provider.fails("provision", w)
    assert error["class"] == "invalid" and "no-such-program" in error["message"], error
    w = place.workload(net, containers=[{**place.container("main", ["true"]), "image": "nginx:1"}])
    error = place.provider.fails("provision", w)
    assert error["class"] == "invalid" and "nginx:1" in error["message"] and "image: ." in error["message"]


def test_order_probes_and_siblings(place):
    _, net = place.network()
    place.write("log.sh", 'echo "$1" >> /data/log; exec sleep 600')
    volume = place.base / "volume"
    volume.mkdir()
    if place.root is False and os.getuid() == 0:
        os.chown(volume, USER, USER)
    volumes = [{"target": "/data", "source": {"type": "bind", "source": str(volume)}}]
    probe = {"http_get": None, "exec": {"command": ["test", "-e", "/data/healthy"]}}
    containers = [
        place.container("last", ["sh", "log.sh", "last"], volumes=volumes),
        place.container("init", ["sh", "-c", "echo init >> /data/log"], volumes=volumes,
                        before=[{"container": "db", "ready": "complete"}]),
        place.container("db", ["sh", "-c", "echo db >> /data/log; sleep 0.2; touch /data/healthy; exec python3 server.py 9000"],
                        volumes=volumes, readiness=probe, before=[{"container": "last", "ready": "healthy"}]),
        place.container("web", ["python3", "server.py", "8080"],
                        readiness={"exec": None, "http_get": {"scheme": "HTTP", "path": "/server.py", "port": 8080, "host": None, "headers": []}})]
    w = place.workload(net, containers=containers)
    place.provider.ask("provision", w)
    wait_until(lambda: (volume / "log").read_text() == "init\ndb\nlast\n", 10, "the order of starts")
    code, _ = place.run(w, "python3", "-c", "import urllib.request as u; u.urlopen('http://api:9000/')", container="web")
    assert code == 0
    wrong = [place.container("a", ["true"], before=[{"container": "b", "ready": "started"}]),
             place.container("b", ["true"], before=[{"container": "a", "ready": "started"}])]
    assert "circle" in place.provider.fails("provision", place.workload(net, containers=wrong))["message"]
    wrong = [place.container("a", ["sh", "-c", "exit 4"], before=[{"container": "b", "ready": "complete"}]),
             place.container("b", ["sleep", "9"])]
    error = place.provider.fails("provision", place.workload(net, containers=wrong, ports=()))
    assert error["class"] == "invalid" and "code 4" in error["message"]


def test_many_containers_whose_numbers_are_not_those_of_the_host(place):
    """bubblewrap was given the host's /proc and looked for its children there by their own numbers."""
    _, net = place.network()
    present = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    containers = [place.container(f"c{i}", ["sleep", "600"]) for i in range(16)]
    w = place.workload(net, containers=containers, ports=())
    place.provider.ask("provision", w)
    assert place.run(w, "true", container="c15")[0] == 0
    assert set(range(2, 48)) - present, "this machine cannot show the fault"


def test_a_container_that_ends_is_started_again(place):
    _, net = place.network()
    w = place.workload(net)
    end = place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"]
    place.run(w, "sh", "-c", "kill -9 2")

    def answers():
        try:
            return b"200 OK" in get(end)
        except OSError:
            return False
    wait_until(answers, 10, "the second start")
    assert wait_until(lambda: place.provider.ask("inspect", w)["ready"], 5)
    assert any("starts again in 200 ms" in line for line in place.logs(w))


SICK = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        if self.path == "/sicken": open("/tmp/sick", "w").close()
        self.send_response(500 if self.path == "/health" and os.path.exists("/tmp/sick") else 200)
        self.end_headers()
        self.wfile.write(str(os.getppid()).encode())
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), H).serve_forever()
"""
LIVENESS = {
    "http": {"http_get": {"scheme": "HTTP", "host": None, "path": "/health", "port": 8080, "headers": []}, "exec": None},
    "exec": {"http_get": None, "exec": {"command": ["sh", "-c", "! test -e /tmp/sick"]}},
}


@pytest.mark.parametrize("probe", LIVENESS)
def test_a_container_that_fails_its_liveness_probe_is_started_again(place, probe):
    """Later each time, and said by inspect, by watch and in the log; as long as it is well nothing happens."""
    place.write("sick.py", SICK)
    _, net = place.network()
    watch = request_start(place, "watch", None, deadline_ms=0)
    assert json.loads(watch.stdout.readline())["log"] == "watching"
    w = place.workload(net, liveness_interval_ms=40, containers=[
        place.container("main", ["python3", "sick.py"], liveness=LIVENESS[probe])])
    end = place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"]
    time.sleep(0.3)
    assert not any("started again" in line for line in place.logs(w))

    details = []
    for round_number in range(3):
        assert b" 200 " in get(end, "/sicken")

        def unready():
            seen = place.provider.ask("inspect", w)
            details.append(seen["detail"])
            return not seen["ready"] and seen["present"] == "present"
        wait_until(unready, 10, "the failed probes")
        wait_until(lambda: place.provider.ask("inspect", w)["ready"], 10, "the next start")
        assert b" 200 " in get(end, "/health")
    lines = place.logs(w)
    assert len([line for line in lines if "failed its liveness probe 3 times; started again" in line]) == 3
    delays = [int(line.rpartition("starts again in ")[2].split()[0]) for line in lines if "starts again in" in line]
    assert delays == [200, 400, 800]
    assert any("container 'main' ended 3 times and is started again" in detail for detail in details), details
    watch.kill()
    changes = [json.loads(line)["item"]["change"] for line in watch.stdout if b'"item"' in line]
    watch.wait()
    watch.stdout.close()
    assert changes.count("unready") == 3


def test_a_probe_that_hangs_counts_as_failed_and_holds_up_nothing(place):
    """A liveness probe that never ends is itself ended; the keeper answers meanwhile."""
    _, net = place.network()
    w = place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"], liveness={
        "http_get": None, "exec": {"command": ["sh", "-c", "test -e /tmp/hang && exec sleep 603; true"]}})],
        liveness_interval_ms=40)
    place.provider.ask("provision", w)
    place.run(w, "touch", "/tmp/hang")
    wait_until(lambda: processes("sleep\x00603"), 5, "the probe that hangs")
    start = time.monotonic()
    assert place.provider.ask("inspect", w)["ready"] is True
    place.provider.ask("sleep", w)
    assert time.monotonic() - start < 3
    assert not processes("sleep\x00603")


# --- ending

def test_a_deaf_workload_is_killed_and_nothing_stays(place):
    _, net = place.network()
    place.write("deaf.py", "import signal, subprocess, os\nsignal.signal(15, signal.SIG_IGN)\n"
                "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time; time.sleep(600)\n    os._exit(0)\n"
                "import http.server; http.server.HTTPServer(('0.0.0.0', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()\n")
    w = place.workload(net, ["python3", "deaf.py"], stop_timeout_ms=300)
    place.provider.ask("provision", w)
    assert len(processes("deaf.py")) == 2
    start = time.monotonic()
    place.provider.ask("sleep", w)
    assert 0.25 < time.monotonic() - start < 4
    assert not processes("deaf.py") and not processes(w["uid"])


def test_keeper_killed(place):
    _, net = place.network()
    word = place.provider.installation
    w = place.workload(net, ["python3", "server.py", "8080", "0.0.0.0", f"own-{word}"])
    done = place.provider.ask("provision", w)
    assert processes(f"own-{word}")
    os.kill(keeper_pid(place, w), signal.SIGKILL)
    wait_until(lambda: not processes(f"own-{word}"), 3, "the end of its containers")
    assert place.provider.ask("inspect", w)["present"] == "absent"
    w["state"] = done["state"]
    again = place.provider.ask("provision", w)
    assert again["outputs"]["endpoints"] == done["outputs"]["endpoints"]
    assert b"200 OK" in get(again["outputs"]["endpoints"]["p8080"])


def test_the_marker_guards(place):
    _, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    other = {**w, "marker": w["marker"].replace("/e", "/f")}
    place.provider.environment = {**place.provider.environment, "id": other["marker"].split("/")[1]}
    assert place.provider.fails("deprovision", other)["class"] == "conflict"
    place.provider.environment = {**place.provider.environment, "id": w["marker"].split("/")[1]}
    assert place.provider.ask("inspect", w)["ready"]


def request_start(place, verb, resource, **more):
    child = subprocess.Popen([str(place.provider.program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    child.stdin.write(json.dumps(place.provider.request(verb, resource, **more)).encode())
    child.stdin.close()
    return child


def test_provider_killed_at_any_moment(place):
    """kill -9 of the provider after more and more time; the next call makes it whole."""
    network, net = place.network()
    for ms in (2, 5, 10, 20, 30, 40, 60, 80, 120):
        w = place.workload(net)
        for resource in (network, w):
            child = request_start(place, "provision", resource)
            time.sleep(ms / 1000)
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
        assert place.provider.ask("provision", network)["outputs"] == net
        end = place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"]
        assert b"200 OK" in get(end)
        child = request_start(place, "deprovision", w)
        time.sleep(ms / 1000)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        place.provider.ask("deprovision", w)
        assert not processes(w["uid"])


POINTS = ["process.marked", "process.bridge", "process.veth", "process.forward", "process.spawned", "process.removed"]


@pytest.mark.parametrize("point", POINTS)
def test_provider_killed_at_a_named_point(place, point):
    network = place.provider.resource("network")
    place.made.append(network)
    hit = 0

    def crash(verb, resource):
        nonlocal hit
        child = subprocess.run([str(place.provider.program)], input=json.dumps(place.provider.request(verb, resource)).encode(),
                               capture_output=True, env={**os.environ, "MAYFLY_CRASH": f"{point}:1"}, check=False)
        hit += child.returncode == -signal.SIGKILL
    crash("provision", network)
    net = place.provider.ask("provision", network)["outputs"]
    w = place.workload(net)
    crash("provision", w)
    end = place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"]
    assert b"200 OK" in get(end)
    crash("deprovision", w)
    place.provider.ask("deprovision", w)
    assert hit or (not place.root and point in ("process.bridge", "process.veth"))


def test_concurrent_calls(place):
    network, net = place.network()
    w = place.workload(net)
    children = [request_start(place, verb, w) for verb in ("provision",) * 4 + ("inspect",) * 2]
    answers = [json.loads(child.stdout.read().decode().splitlines()[-1]) for child in children]
    for child in children:
        child.wait()
        child.stdout.close()
    assert all("result" in a for a in answers), answers
    assert len([line for line in processes(w["uid"]) if "mayfly-keeper" in line]) == 1
    children = [request_start(place, verb, w) for verb in ("deprovision", "provision", "deprovision", "sleep", "deprovision")]
    for child in children:
        child.stdout.read()
        child.wait()
        child.stdout.close()
    resources = [place.provider.resource("network", slot=s) for s in range(2, 7)]
    place.made += resources
    children = [request_start(place, "provision", r) for r in resources]
    answers = [json.loads(child.stdout.read().decode().splitlines()[-1]) for child in children]
    for child in children:
        child.wait()
        child.stdout.close()
    assert all("result" in a for a in answers), answers
    assert place.root is False or len({a["result"]["outputs"]["address"] for a in answers}) == 5


def test_a_network_that_a_boot_took_is_made_again(place):
    network, net = place.network()
    if place.root:
        name = net["namespace"].split(":")[1]
        veth = "mv" + network["uid"][-12:]
        subprocess.run(["ip", "netns", "del", name], check=True)
        wait_until(lambda: not os.path.exists(f"/sys/class/net/{veth}"), 10, "the end of the veth pair")
    else:
        os.kill(keeper_pid(place, network), signal.SIGKILL)
        wait_until(lambda: place.provider.ask("inspect", network)["present"] == "absent", 3)
    seen = place.provider.ask("inspect", network)
    assert (seen["present"], seen["ready"]) == ("absent", False)
    assert place.provider.ask("provision", network)["outputs"] == net
    assert place.provider.ask("inspect", network)["ready"] is True
    end = place.provider.ask("provision", place.workload(net))["outputs"]["endpoints"]["p8080"]
    assert b"200 OK" in get(end)


# --- builds

def test_a_build_ends_with_its_call(place):
    _, net = place.network()
    b = place.build(net, ["sh", "-c", "echo begun; (setsid sleep 601 &) ; sleep 601"])
    child = request_start(place, "provision", b)
    wait_until(lambda: len(processes("sleep\x00601")) >= 2, 5, "the build")
    os.killpg(child.pid, signal.SIGTERM)
    child.wait()
    child.stdout.close()
    wait_until(lambda: not processes("sleep\x00601"), 3, "the end of the build")
    wait_until(lambda: place.provider.ask("inspect", b)["present"] == "absent", 3, "the keeper's end")
    b["params"] = {**b["params"], "command": ["sh", "-c", "sleep 602"], "timeout_ms": 400}
    error = place.provider.fails("provision", b)
    assert error["class"] == "invalid" and "within 400ms" in error["message"]
    assert not processes("sleep\x00602")


def test_a_build_has_no_way_out_unless_the_admin_says_so(place):
    place.write("connect.py", CONNECT)
    server = socket.create_server(("127.0.0.1", 0))
    to = "127.0.0.1:%d" % server.getsockname()[1]
    _, net = place.network()
    lines = place.provider.lines("provision", place.build(net, ["python3", "connect.py", to]))
    assert any(line.get("log", "").startswith("closed") for line in lines), lines
    out = place.provider.resource("network", {"egress": "host"}, slot=2)
    assert place.provider.fails("provision", out)["class"] == "denied"
    place.provider.config["egress"] = "host"
    out, net = place.network(slot=2, egress="host")
    lines = place.provider.lines("provision", place.build(net, ["python3", "connect.py", to]))
    assert any(line.get("log", "").startswith("REACHED") for line in lines), lines
    server.close()


# --- logs, exec, watch, list

def test_logs_follow_and_bounds(place):
    _, net = place.network()
    place.write("loud.py", "import sys, threading, http.server\nsys.stdout.buffer.write(b'\\x00\\xff\\x1b[1m bin\\n')\n"
                "print('y' * 20000)\nfor i in range(90000): print('line', i, 'x' * 60)\n"
                "print('end', flush=True)\n"
                "http.server.HTTPServer(('0.0.0.0', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()\n")
    w = place.workload(net, ["python3", "loud.py"])
    end = place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"]
    folder = place.base / "state" / w["uid"] / "logs"
    assert sum(f.stat().st_size for f in folder.iterdir()) < 5 * 1024 * 1024
    assert len(list(folder.iterdir())) == 4
    assert place.logs(w, lines=2)[-1] == "end"
    child = request_start(place, "logs", w, options={"follow": True, "lines": 1}, deadline_ms=0)
    assert "end" in json.loads(child.stdout.readline())["item"]["text"]
    get(end, "/seen")
    assert any("/seen" in json.loads(child.stdout.readline())["item"]["text"] for _ in range(2))
    child.kill()
    child.wait()
    child.stdout.close()
    assert place.provider.fails("logs", w, options={"container": "../x"})["class"] == "invalid"


def test_exec_streams_and_is_cancelled(place):
    _, net = place.network()
    w = place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"], variables={"WORD": "here"})])
    place.provider.ask("provision", w)
    assert place.run(w, "sh", "-c", "echo $WORD; pwd; exit 5") == (5, "here\n/app\n")
    assert place.run(w, "printf", "a\\0\\377b") == (0, "a??b")
    child = request_start(place, "exec", w, options={"command": ["sh", "-c", "sleep 603 & sleep 603"]})
    wait_until(lambda: len(processes("sleep\x00603")) == 2, 5, "the command")
    os.killpg(child.pid, signal.SIGTERM)
    child.wait()
    child.stdout.close()
    wait_until(lambda: not processes("sleep\x00603"), 3, "its end")
    assert place.provider.fails("exec", w, options={"command": []})["class"] == "invalid"
    place.provider.ask("sleep", w)
    assert "not running" in place.provider.fails("exec", w, options={"command": ["true"]})["message"]


def test_watch_says_what_happens(place):
    network, net = place.network()
    w = place.workload(net)
    watch = request_start(place, "watch", None, deadline_ms=0)
    assert json.loads(watch.stdout.readline())["log"] == "watching"
    place.provider.ask("provision", w)

    def change():
        while True:
            line = json.loads(watch.stdout.readline())
            if "item" in line and line["item"]["uid"] == w["uid"] and line["item"]["change"] != "ready":
                return line["item"]["change"]
    place.run(w, "sh", "-c", "kill -9 2")
    assert change() == "unready"
    wait_until(lambda: place.provider.ask("inspect", w)["ready"], 5)
    os.kill(keeper_pid(place, w), signal.SIGKILL)
    assert change() == "ended"
    place.provider.ask("provision", w)
    place.provider.ask("sleep", w)  # asked for: not reported
    place.provider.ask("wake", w)
    os.kill(keeper_pid(place, w), signal.SIGKILL)
    assert change() == "ended"
    watch.kill()
    watch.wait()
    watch.stdout.close()


def test_list_finds_what_lost_its_mark(place):
    network, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    (place.base / "state" / f"{w['uid']}.workload").unlink()
    (place.base / "state" / f"{network['uid']}.network").unlink()
    items = place.provider.items()
    assert items[w["uid"]]["present"] == "uncertain"
    assert items[network["uid"]]["present"] == "uncertain"


# --- limits

def test_fork_bomb_is_bounded(place):
    place.provider.config["pids_max"] = 60
    place.write("bomb.py", "import os, time\nn = 0\ntry:\n    while n < 500:\n        if os.fork() == 0:\n            time.sleep(20); os._exit(0)\n        n += 1\n"
                "except OSError as e:\n    print('stopped', n, flush=True)\n"
                "import http.server; http.server.HTTPServer(('0.0.0.0', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()\n")
    _, net = place.network()
    w = place.workload(net, ["python3", "bomb.py"])
    place.provider.ask("provision", w)
    words = [line.split() for line in place.logs(w) if line.startswith("stopped")]
    assert words and int(words[0][1]) < 60
    place.provider.ask("deprovision", w)
    assert not processes("bomb.py")


def test_limits_or_a_plain_word(place):
    _, net = place.network()
    w = place.workload(net, containers=[place.container("main", ["python3", "server.py", "8080"],
                                                        limits={"cpu_milli": 500, "memory_bytes": 200 << 20})])
    notes = place.provider.ask("provision", w).get("notes") or []
    groups = list(pathlib.Path("/sys/fs/cgroup").glob(f"*/mayfly-{w['uid']}*")) + list(pathlib.Path("/sys/fs/cgroup").glob(f"mayfly-{w['uid']}*"))
    if not groups:
        assert any("limits are not applied" in n for n in notes)
        return
    assert not notes
    code, text = place.run(w, "python3", "-c", "print(len(b'x' * (400 << 20)))")
    assert all((g / "cgroup.procs").read_text().strip() for g in groups)


# --- quiet

def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_idle_watch_sleeps(place):
    """Also after the keepers that it watched have come and gone: each way to end leaves a descriptor that
    could be ready for ever."""
    _, net = place.network()
    watch = request_start(place, "watch", None, deadline_ms=0)
    assert json.loads(watch.stdout.readline())["log"] == "watching"
    pid = next(int(name) for name in [str(watch.pid)] + os.listdir("/proc") if name.isdigit()
               and pathlib.Path(f"/proc/{name}/cmdline").read_bytes().startswith(bytes(provider_program("process")))
               and os.getpgid(int(name)) == watch.pid)
    stays, sleeps, dies, goes = (place.workload(net) for _ in range(4))
    for w in (stays, sleeps, dies, goes):
        place.provider.ask("provision", w)
    place.provider.ask("sleep", sleeps)
    os.kill(keeper_pid(place, dies), signal.SIGKILL)
    place.provider.ask("deprovision", goes)
    time.sleep(0.2)
    before = cpu_seconds(pid)
    time.sleep(2)
    assert cpu_seconds(pid) - before <= 0.1
    watch.kill()
    watch.wait()
    watch.stdout.close()


def test_a_watch_that_nobody_reads_ends(place):
    watch = request_start(place, "watch", None, deadline_ms=0)
    assert json.loads(watch.stdout.readline())["log"] == "watching"
    watch.stdout.close()
    watch.wait(10)


def test_an_idle_keeper_sleeps(place):
    _, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    pid = keeper_pid(place, w)

    def switches():
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return [line for line in text.splitlines() if "ctxt" in line]
    time.sleep(0.3)
    before = switches()
    time.sleep(1.5)
    assert switches() == before
    assert fd_count(pid) < 30
