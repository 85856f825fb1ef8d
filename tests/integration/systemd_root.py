#!/usr/bin/env python3
"""A minimal Debian that boots systemd, for test_systemd.py: made by mmdebstrap with exactly the packages that
packaging/install-packages names for "run", and kept under build/, so that it is made once.

Run as a program it makes the root ahead of the tests, beside what else there is to do then: it takes minutes
of a processor. Where it cannot be had the tests skip and say why.
"""
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "systemd-root.tar"
MAKE_S = int(os.environ.get("MAYFLY_ROOT_SECONDS", "480"))  # to make the root; after that the tests skip


class NoRoot(Exception):
    """Why there is none."""


def packages():
    text = (ROOT / "packaging" / "install-packages").read_text()
    return ["systemd", "systemd-sysv", "dbus", *re.search(r'packages_run="([^"]*)"', text).group(1).split()]


@contextlib.contextmanager
def alone():
    """Whoever comes second waits for the one who makes it."""
    CACHE.parent.mkdir(exist_ok=True)
    with open(CACHE.with_suffix(".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_mmdebstrap(part, wanted, folder):
    drop = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")]
    # a session of its own: everything that mmdebstrap started ends with it
    process = subprocess.Popen(["mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", *drop,
                                "--aptopt=Acquire::Languages \"none\"", "--include=" + ",".join(wanted), "bookworm", part],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True, env={**os.environ, "TMPDIR": folder})
    try:
        text = process.communicate(timeout=MAKE_S)[0]
    except BaseException as error:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise NoRoot(f"mmdebstrap made no root within {MAKE_S} s (MAYFLY_ROOT_SECONDS)") from None
        raise
    if process.returncode != 0:
        raise NoRoot("mmdebstrap cannot make a root: " + text.strip().split("\n")[-1])


def make():
    """CACHE is there and has the packages that are wanted, or NoRoot."""
    wanted = packages()
    named, part = CACHE.with_suffix(".packages"), CACHE.with_suffix(".part.tar")
    with alone():
        if CACHE.exists() and named.exists() and named.read_text() == " ".join(wanted):
            return
        try:
            with tempfile.TemporaryDirectory(prefix="mayfly-root-", dir="/var/tmp") as folder:
                os.chmod(folder, 0o755)  # apt reads there as another user
                run_mmdebstrap(part, wanted, folder)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.rename(CACHE)
        named.write_text(" ".join(wanted))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.geteuid() == 0 and shutil.which("mmdebstrap"):
        try:
            make()
        except NoRoot as error:
            sys.exit(str(error))
