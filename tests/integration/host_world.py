"""What one installation still has in the world: asked of the kernel and the disk, not of mayfly.

Everything that mayfly makes carries the installation's id, a resource's uid or the state folder in its
name, so leftovers() looks for those in processes, mounts, namespaces, interfaces, sockets, firewall
tables, control groups and files.
"""
import json
import os
import pathlib
import sqlite3
import subprocess


def rows(state, sql, *args):
    connection = sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(sql, args).fetchall()
    finally:
        connection.close()


def names_of(state):
    """The strings that mark this installation's things."""
    uids = [uid for (uid,) in rows(state, "SELECT uid FROM resource")]
    markers = [marker for (marker,) in rows(state, "SELECT marker FROM resource LIMIT 1")]
    installation = markers[0].split("/")[0] if markers else None
    return uids, installation


def processes(state, except_pids, needles=()):
    """Running processes that name the state folder or one of needles, or live in the folder."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in except_pids:
            continue
        try:
            text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(entry / "cwd") + " " + os.readlink(entry / "root")
            status = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if status != "Z" and (str(state) in text + where or any(needle in text for needle in needles)):
            yield f"process {entry.name}: {text.strip()[:160]}"


def lines_with(kind, text, needles):
    for line in text.split("\n"):
        if any(needle in line for needle in needles):
            yield f"{kind} {line.strip()[:160]}"


def run(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout
    except FileNotFoundError:
        return ""




def control_groups(needles):
    base = pathlib.Path("/sys/fs/cgroup")
    for directory, folders, _ in os.walk(base):
        if directory.count("/") - str(base).count("/") > 4:
            folders.clear()
        for folder in folders:
            if any(needle in folder for needle in needles):
                yield f"cgroup {directory}/{folder}"


def files(state, uids):
    """Files of providers, and folders named after a resource. The folders that a provider keeps its
    things in, and its lock files, are the installation's own."""
    for directory, _, names in os.walk(pathlib.Path(state) / "providers"):
        if pathlib.Path(directory).name in uids:
            yield f"folder {directory}"
        for name in names:
            if not name.endswith(".lock") and name != "lock":
                yield f"file {directory}/{name}"


def leftovers(state, daemon_pids=(), keep_installation=False):
    """All that is left, as lines; empty when the world is clean."""
    uids, installation = names_of(state)
    needles = [str(state) + "/providers", *uids, *[uid[:12] for uid in uids]]
    if installation and not keep_installation:
        needles.append(installation)
    found = list(processes(state, set(daemon_pids) | {os.getpid()}, uids + [installation] * bool(installation)))
    found += lines_with("mount", pathlib.Path("/proc/self/mountinfo").read_text(), needles)
    found += lines_with("namespace", run("ip", "netns", "list"), needles)
    found += lines_with("interface", run("ip", "-o", "link"), needles)
    found += lines_with("firewall", run("nft", "list", "tables"), needles)
    found += lines_with("socket", pathlib.Path("/proc/net/unix").read_text(), needles)
    found += control_groups(needles)
    found += files(state, set(uids))
    return found


def ledger_leftovers(state):
    """What the ledger itself says is not finished."""
    found = [f"environment {label}: {how}" for label, how in
             rows(state, "SELECT label, state FROM environment WHERE state <> 'gone'")]
    found += [f"resource {key} of {environment}: {how}" for key, environment, how in
              rows(state, "SELECT key, environment_id, state FROM resource WHERE state <> 'removed'")]
    found += [f"open intent {call} ({verb})" for call, verb in
              rows(state, "SELECT id, verb FROM intent WHERE outcome IS NULL")]
    return found
