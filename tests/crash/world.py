"""What one installation still has in the world: asked of the kernel and the disk, not of mayfly.

Everything that mayfly makes carries the installation's id, a resource's uid or the state folder in its
name. leftovers() tells what is there when nothing may be; unknown() tells what is there and not in the
ledger, which must be nothing at any moment, also while everything is being made.
"""
import os
import pathlib
import re
import socket
import sqlite3
import subprocess

UID = re.compile(r"\br[0-9a-z]{19}\b")
NETNS = pathlib.Path("/run/netns")
NET = pathlib.Path("/sys/class/net")


def rows(state, sql, *args):
    connection = sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(sql, args).fetchall()
    finally:
        connection.close()


def installation_of(state):
    """The installation's id, or None before it has one."""
    try:
        found = rows(state, "SELECT value FROM value WHERE name = 'installation'")
    except sqlite3.Error:
        return None
    return found[0][0] if found else None


def uids_of(state, where="1"):
    try:
        return {uid for (uid,) in rows(state, f"SELECT uid FROM resource WHERE {where}")}
    except sqlite3.Error:
        return set()


def read(path):
    try:
        return pathlib.Path(path).read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def alive(pid):
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])


def names(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def processes(state, installation, except_pids=()):
    """(pid, command line) of what names the installation or the state folder, or lives in the folder."""
    for name in names("/proc"):
        if not name.isdigit() or int(name) in except_pids or int(name) == os.getpid():
            continue
        text = read(f"/proc/{name}/cmdline")
        try:
            where = os.readlink(f"/proc/{name}/cwd") + " " + os.readlink(f"/proc/{name}/root")
        except OSError:
            where = ""
        if not (f"{state}/" in text + where or installation and installation in text):
            continue
        if alive(name):
            yield int(name), text.strip()


def files(state):
    """Files of providers and folders of resources; what a provider keeps for itself is not counted."""
    top = pathlib.Path(state) / "providers"
    for directory, folders, found in os.walk(top):
        for name in [*folders, *found]:
            if UID.search(name) or name in found and not name.endswith(".lock") and name != "lock":
                yield f"{directory}/{name}"
        folders[:] = [name for name in folders if not UID.search(name)]  # all below belongs to it


def things(state, installation, except_pids=()):
    """(kind, name) of everything in the world of this installation, but for its own bridge and table."""
    for pid, text in processes(state, installation, except_pids):
        yield "process", f"{pid}: {text[:200]}"
    for line in read("/proc/self/mountinfo").split("\n"):
        if f"{state}/providers" in line or installation and f"mf-{installation[-8:]}" in line:
            yield "mount", line
    for name in names(NETNS) if installation else ():
        if name.startswith(f"mf-{installation[-8:]}"):
            yield "namespace", name
    for name in names(NET) if installation else ():
        alias = read(NET / name / "ifalias")
        if alias.startswith(installation + "/"):
            yield "interface", f"{name} {alias.strip()}"
    for line in read("/proc/net/unix").split("\n"):
        if f"{state}/providers" in line:
            yield "socket", line.split(" ")[-1]
    for path in files(state):
        yield "file", path


def unknown(state):
    """Things of which the ledger says nothing, or says that they are gone. Ask while the daemon is dead:
    then nobody makes or removes anything."""
    living = uids_of(state, "state <> 'removed'")
    found = []
    for kind, name in things(state, installation_of(state)):
        strangers = set(UID.findall(name)) - living
        if strangers:
            found.append(f"{kind} {name}: the ledger does not know {' '.join(sorted(strangers))}")
    return found


def run(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout
    except FileNotFoundError:
        return ""


def control_groups(uids):
    for directory, folders, _ in os.walk("/sys/fs/cgroup"):
        if directory.count("/") > 8:
            folders.clear()
        for folder in folders:
            if set(UID.findall(folder)) & uids:
                yield f"control group {directory}/{folder}"


def leftovers(state, except_pids=()):
    """All that is left, as lines; empty when the world is clean."""
    installation = installation_of(state)
    uids = uids_of(state)
    found = [f"{kind} {name[:200]}" for kind, name in things(state, installation, set(except_pids))]
    if found:
        return found
    if installation:
        interfaces = {f"mv{uid[-12:]}" for uid in uids} | {f"mf{installation[-12:]}"}
        found += [f"interface {name}" for name in names(NET) if name in interfaces]
        found += [f"firewall {line}" for line in run("nft", "list", "tables").split("\n") if installation in line]
    return found + list(control_groups(uids))


def ledger_leftovers(state):
    """What the ledger itself says is not finished."""
    found = [f"environment {label}: {how}" for label, how in
             rows(state, "SELECT label, state FROM environment WHERE state <> 'gone'")]
    found += [f"resource {key} of {environment}: {how}" for key, environment, how in
              rows(state, "SELECT key, environment_id, state FROM resource WHERE state <> 'removed'")]
    found += [f"open intent {call} ({verb})" for call, verb in
              rows(state, "SELECT id, verb FROM intent WHERE outcome IS NULL")]
    return found + [f"route {host}" for (host,) in
                    rows(state, "SELECT host FROM route WHERE answer <> 'gone'")]


def lost(state, pushed):
    """What was acknowledged and is not in the ledger: (label, commit) of pushes."""
    known = set(rows(state, 'SELECT e.label, g."commit" FROM environment e JOIN generation g ON e.id = g.environment_id'))
    return [f"push of {commit} to {label} was acknowledged and is not in the ledger"
            for label, commit in pushed if (label, commit) not in known]


def broken(state):
    """What SQLite itself finds wrong."""
    return [f"ledger: {line}" for (line,) in rows(state, "PRAGMA integrity_check") if line != "ok"]


def haproxy_routes(state):
    """The lines of the map that HAProxy shows, or [] when there is no HAProxy."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            folder = pathlib.Path(state) / "gateway"
            s.connect(str(folder / "haproxy.sock"))
            s.sendall(f"show map {folder}/routes.map\n".encode())
            text = b"".join(iter(lambda: s.recv(65536), b""))
    except OSError:
        return []
    return [f"route in HAProxy {line}" for line in text.decode().split("\n") if line]
