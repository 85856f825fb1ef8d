#!/usr/bin/env python3
"""Requests per second through the door and through HAProxy, against direct to the same process. One run, side by
side, no assertion.

On a machine that has other work, "CPU us" (of the gateway, for each request) is the figure to compare: it does not
depend on who else wanted the processor. 15 us are about 0.86 of direct on an idle machine.

Pinned: the gateway alone on the first core; client and backend share the second, also in the direct runs, so that
the ratio says what the gateway adds and not who got the processor. Rounds are interleaved, medians are shown.
Usage: tests/bench/gateway.py [--seconds N] [--rounds N] [--connections N] [--routes N]
Needs: wrk, taskset, haproxy (packaging/install-packages run build test bench).
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
HOST = "site-0.preview.localhost"


def build():
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", BUILD, "-Dbuildtype=release"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL, env=dict(os.environ, CC="gcc"))
    subprocess.run(["ninja", "-C", BUILD, "tests/integration/gateway-driver", "tests/integration/server"], check=True,
                   stdout=subprocess.DEVNULL)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core, *command, **options):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], **options)


def wait_for(port):
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    sys.exit(f"nothing listens on port {port}")


class Front:
    """The gateway with its routes, by tests/integration/gateway-driver."""

    def __init__(self, name, folder, haproxy, core, routes, backend_port):
        self.name = name
        os.mkdir(folder)
        self.process = pinned(core, BUILD / "tests/integration/gateway-driver", folder, "127.0.0.1:0",
                              f"127.0.0.1:{free_port()}" if haproxy else "-",
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.expect("port").split()[1])
        self.say(f"many\t{routes}\t127.0.0.1\t{backend_port}")
        self.haproxy = haproxy
        time.sleep(1)  # HAProxy is told of the routes
        self.pid = int(pathlib.Path(folder, "haproxy.pid").read_text()) if haproxy else self.process.pid

    def expect(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line
        sys.exit(f"{self.name}: no line '{word}'")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.expect("ok")

    def end(self):
        if self.haproxy:
            self.say("stop-haproxy")
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(core, port, connections, seconds, pid=None):
    before = cpu_seconds(pid) if pid else 0
    text = subprocess.run(["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                           "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/"], capture_output=True, text=True,
                          check=True).stdout
    bad = re.search(r"(Non-2xx|Socket errors).*", text)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    p50, p99 = (re.search(rf"\s{p}%\s+([\d.]+\w+)", text).group(1) for p in (50, 99))
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    cpu = (cpu_seconds(pid) - before) * 1e6 / max(requests, 1) if pid else 0
    return rate, p50, p99, cpu, bad.group(0) if bad else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--routes", type=int, default=100)
    arguments = parser.parse_args()
    missing = [p for p in ("wrk", "taskset", "haproxy") if not shutil.which(p)]
    if missing or len(os.sched_getaffinity(0)) < 2:
        print("skipped: needs two cores and", ", ".join(missing) or "wrk, taskset, haproxy")
        return
    build()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="mayfly-bench-") as folder:
        backend_port = free_port()
        backend = pinned(cores[1], BUILD / "tests/integration/server", cwd=folder,
                         env=dict(os.environ, PORT=str(backend_port), TEXT="x" * 900), start_new_session=True)
        wait_for(backend_port)
        fronts = [Front("door", f"{folder}/door", False, cores[0], arguments.routes, backend_port),
                  Front("haproxy", f"{folder}/haproxy", True, cores[0], arguments.routes, backend_port)]
        try:
            measure(arguments, cores, backend_port, fronts)
        finally:
            for front in fronts:
                front.end()
            os.killpg(backend.pid, 9)
            backend.wait()


def measure(arguments, cores, backend_port, fronts):
    ways = {"direct": (backend_port, None), **{front.name: (front.port, front.pid) for front in fronts}}
    results = {name: [] for name in ways}
    for port, _ in ways.values():
        wrk(cores[1], port, arguments.connections, 1)
    for _ in range(arguments.rounds):
        for name, (port, pid) in ways.items():
            results[name].append(wrk(cores[1], port, arguments.connections, arguments.seconds, pid))
    direct = statistics.median(r[0] for r in results["direct"])
    print(f"{arguments.connections} connections, {arguments.routes} routes, load {os.getloadavg()[0]:.1f} "
          f"on {os.cpu_count()} cores")
    print(f"{'way':10}{'requests/s':>12}{'of direct':>11}{'CPU us':>9}{'p50':>10}{'p99':>10}")
    for name, rows in results.items():
        rate = statistics.median(r[0] for r in rows)
        print(f"{name:10}{rate:12.0f}{rate / direct:11.2f}{statistics.median(r[3] for r in rows):9.1f}{rows[0][1]:>10}"
              f"{rows[0][2]:>10}  {rows[0][4]}")


main()
