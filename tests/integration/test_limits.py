"""Limits where the kernel has all controllers of cgroup v2, and systemd its hierarchy: in a virtual machine, whose
processor is emulated. That takes minutes, so it runs only where MAYFLY_KERNEL names an unpacked kernel package
(dpkg-deb -x linux-image-6.1.0-*-cloud-amd64*.deb FOLDER) and qemu-system-x86_64, cpio and depmod are there.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import systemd_root
from mayfly import ROOT

RELEASE = pathlib.Path(os.environ.get("MAYFLY_RELEASE", ROOT / "build" / "release"))
KERNEL = os.environ.get("MAYFLY_KERNEL")
TOOLS = ("qemu-system-x86_64", "cpio", "depmod", "kmod")

SERVER = """
import http.server, os, time
blocks = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = "hello"
        if self.path == "/eat":
            for _ in range(300):
                blocks.append(os.urandom(1) * (1 << 20))
        if self.path == "/burn":
            used, begun = time.process_time(), time.monotonic()
            while time.monotonic() - begun < 4:
                pass
            text = "%.2f" % ((time.process_time() - used) / (time.monotonic() - begun))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""

SCORE = """
apiVersion: score.dev/v1b1
metadata: {name: web}
service: {ports: {http: {port: 8080}}}
containers:
  main:
    image: .
    command: [python3, server.py]
    resources: {limits: {memory: "64M", cpu: "200m"}}
"""

# Runs inside, and says "@ NAME VALUE" on the console.
INSIDE = r"""#!/bin/bash
exec >/dev/ttyS0 2>&1
export HOME=/root
say() { echo "@ $*"; }
limits() {
        for group in /sys/fs/cgroup/mayfly-*; do
                say "$1 $(cat $group/memory.max) / $(cat $group/cpu.max) / $(cat $group/pids.max)"
        done
}
visit() {
        python3 -c "import http.client
c = http.client.HTTPConnection('127.0.0.1', 8150, timeout=90)
c.request('GET', '$1', headers={'Host': 'main--shop.preview.localhost:8150'})
r = c.getresponse()
print(r.status, r.read().decode().split(chr(10))[0])"
}
for key in user.email user.name; do git config --global $key t@example.com; done
git config --global --add safe.directory '*'
systemctl start mayflyd
git init -q --bare -b main /srv/shop.git && git init -q -b main /srv/shop
cp /root/server.py /root/score.yaml /srv/shop
git -C /srv/shop add -A && git -C /srv/shop commit -q -m one && git -C /srv/shop push -q /srv/shop.git main
mayfly project add shop /srv/shop.git
mayfly up shop main >/dev/null
limits made
say visit $(visit /)
say burn $(visit /burn)
systemctl daemon-reload
systemctl set-property --runtime dbus.service CPUWeight=50
systemctl revert dbus.service
limits reloaded
systemctl stop mayflyd && systemctl daemon-reload && systemctl start mayflyd
limits restarted
say burn-again $(visit /burn)
say eaten $(visit /eat)
for try in $(seq 60); do visit / | grep -q hello && break; sleep 1; done
say oom $(grep -h oom_kill /sys/fs/cgroup/mayfly-*/memory.events)
say log $(mayfly logs main--shop | grep -m1 memory)
say visit-again $(visit /)
mayfly down main--shop --wait >/dev/null
say left $(ls -d /sys/fs/cgroup/mayfly-* 2>/dev/null | wc -l)
say receipt $(mayfly receipt main--shop | grep -c /sys/fs/cgroup/mayfly-)
say end now
sync
echo o >/proc/sysrq-trigger
"""

# The first file system of all cannot be left, as a sandbox does.
FIRST = """#!/bin/bash
mkdir -p /new && mount -t tmpfs -o size=1500m,mode=755 tmpfs /new
for one in /*; do case $one in /new|/proc|/sys|/dev|/run|/init) ;; *) cp -a $one /new/ ;; esac; done
mkdir -p /new/proc /new/sys /new/dev /new/run
exec switch_root /new /usr/lib/systemd/systemd
"""

UNIT = "[Service]\nExecStart=/root/inside\n[Install]\nWantedBy=multi-user.target\n"


def make_disk(folder):
    """The machine's first file system, as one file."""
    root, kernel = folder / "root", pathlib.Path(KERNEL)
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", systemd_root.CACHE, "--exclude=./dev/*", "--exclude=./var/cache/apt/*"], check=True)
    subprocess.run(["meson", "install", "-C", RELEASE, "--no-rebuild", "--quiet", "--destdir", root], check=True)
    modules = next((kernel / "lib" / "modules").iterdir())
    shutil.copytree(modules, root / "lib" / "modules" / modules.name, symlinks=True)
    subprocess.run(["depmod", "-b", root, modules.name], check=True)
    shutil.copy(shutil.which("kmod"), root / "usr" / "bin" / "kmod")
    (root / "usr" / "sbin" / "modprobe").symlink_to("../bin/kmod")
    for name, text in (("root/server.py", SERVER), ("root/score.yaml", SCORE), ("root/inside", INSIDE), ("init", FIRST),
                       ("etc/systemd/system/inside.service", UNIT)):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    wants = root / "etc" / "systemd" / "system" / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "inside.service").symlink_to("../inside.service")
    disk = folder / "disk.cpio"
    with open(disk, "wb") as out:
        subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=root, stdout=out, check=True)
    return next((kernel / "boot").glob("vmlinuz-*")), disk


@pytest.fixture
def said():
    """{name: value} of all that the machine says."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if not KERNEL or missing or os.geteuid() != 0:
        pytest.skip("a virtual machine needs MAYFLY_KERNEL, root and " + ", ".join(TOOLS))
    systemd_root.make()
    with tempfile.TemporaryDirectory(prefix="mayfly-limits-", dir="/var/tmp") as name:
        kernel, disk = make_disk(pathlib.Path(name))
        done = subprocess.run(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "4000", "-kernel", kernel, "-initrd", disk,
             "-append", "console=ttyS0 quiet loglevel=3 systemd.show_status=0 systemd.unified_cgroup_hierarchy=1", "-nographic",
             "-no-reboot", "-nic", "none"], capture_output=True, text=True, errors="replace", timeout=540, check=False,
            stdin=subprocess.DEVNULL)
    lines = [line[line.index("@ ") + 2:].split(None, 1) for line in done.stdout.splitlines() if "@ " in line]
    found = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    assert "end" in found, done.stdout[-3000:]
    return found


def test_limits_hold(said):
    for when in ("made", "reloaded", "restarted"):
        memory, cpu, pids = said[when].split(" / ")
        assert (memory, cpu) == ("64000000", "20000 100000") and int(pids) > 0, when
    assert said["visit"] == "200 hello"
    for when in ("burn", "burn-again"):
        status, share = said[when].split()
        assert status == "200" and 0.15 < float(share) < 0.25
    assert not said["eaten"].startswith("200")
    assert int(said["oom"].split()[1]) >= 1 and "its use of memory" in said["log"]
    assert said["visit-again"] == "200 hello"
    assert said["left"] == "0" and int(said["receipt"]) >= 1
