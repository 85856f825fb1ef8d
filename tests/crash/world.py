"""What one installation still has in the world: asked of the kernel and the disk, not of mayfly.

Everything that mayfly makes carries the installation's id, a resource's uid or the state folder in its
name, or stands in relation to something that does: a process in a mount namespace that shows the state
folder, in a network namespace of ours, in one of our control groups or under one of our user numbers; an
interface on our bridge. leftovers() tells what is there when nothing may be; unknown() tells what is there
and not in the ledger, which must be nothing at any moment, also while everything is being made.

What cannot be asked is an error here and never an empty answer.
"""
import collections
import contextlib
import json
import os
import pathlib
import re
import socket
import sqlite3
import subprocess
import threading

UID = re.compile(r"\br[0-9a-z]{19}\b")
NETNS = pathlib.Path("/run/netns")
NET = pathlib.Path("/sys/class/net")
CGROUPS = pathlib.Path("/sys/fs/cgroup")
USERS = 64  # user numbers of an installation, from the "uid_base" of its configuration

# What an installation keeps in its state folder as long as it lives; all else there is left behind.
KEPT = re.compile(r"ledger\.(db(-wal|-shm|\.reserve)?|anchor)|key(\.signing)?|api\.sock|lock|mayflyd\.pid|gitconfig"
                  r"|providers|gateway(/(haproxy\.(cfg|pid|sock)|(routes|paths)\.map|robots\.lst|\d+\.http))?")

Thing = collections.namedtuple("Thing", "kind name uids")  # uids of the resources that it belongs to


reading_now = threading.local()  # of each thread: {state: connection}


@contextlib.contextmanager
def reading(state):
    """All of what asks the ledger inside of this shares a connection: to open it costs more than any answer."""
    connections = vars(reading_now).setdefault("connections", {})
    if state in connections:
        yield connections[state]
        return
    connection = sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True, timeout=10)
    connections[state] = connection
    try:
        yield connection
    finally:
        del connections[state]
        connection.close()


def rows(state, sql, *args):
    with reading(state) as connection:
        return connection.execute(sql, args).fetchall()


def is_made(state):
    """False before the ledger has its tables."""
    path = pathlib.Path(state) / "ledger.db"
    return path.exists() and path.stat().st_size > 0 and bool(
        rows(state, "SELECT 1 FROM sqlite_master WHERE name = 'resource'"))


def installation_of(state):
    """The installation's id, or None before it has one."""
    found = rows(state, "SELECT value FROM value WHERE name = 'installation'") if is_made(state) else []
    return found[0][0] if found else None


def uids_of(state, where="1"):
    return {uid for (uid,) in rows(state, f"SELECT uid FROM resource WHERE {where}")} if is_made(state) else set()


def config(state):
    return json.loads((pathlib.Path(state).parent / "mayflyd.yaml").read_text())


def read(path):
    try:
        return pathlib.Path(path).read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def alive(pid):
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])


def names(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


# ---- processes ----

def namespaces(installation):
    """{inode: name} of our network namespaces."""
    found = {}
    for name in names(NETNS) if installation else ():
        if name.startswith(f"mf-{installation[-8:]}"):
            try:
                found[os.stat(NETNS / name).st_ino] = name
            except OSError:
                pass
    return found


def users(state):
    """{user number: uids of what its environment has}, for the whole range; nobody's have {"?"}."""
    first = config(state)["providers"]["process"]["config"].get("uid_base")
    if first is None:
        return {}
    found = {first + i: set() for i in range(USERS)}
    if is_made(state):
        for slot, uid in rows(state, "SELECT e.slot, r.uid FROM environment e JOIN resource r ON e.id = r.environment_id"
                                     " WHERE e.state <> 'gone' AND r.state <> 'removed'"):
            found.setdefault(first + slot, set()).add(uid)
    return {number: uids or {"?"} for number, uids in found.items()}


def belongs(pid, state, installation, ours):
    """Why the process is one of this installation and whose it is: (text, uids), or None."""
    text = read(f"/proc/{pid}/cmdline").strip()
    root = link(f"/proc/{pid}/root")
    if f"{state}/" in f"{text} {link(f'/proc/{pid}/cwd')}/ {root}/" or installation and installation in text:
        return text, set(UID.findall(text))
    mounts = link(f"/proc/{pid}/ns/mnt")
    if mounts and mounts != ours["mounts"]:
        shown = ours["shown"].get((mounts, root))  # a process sees of its namespace what lies beneath its root
        if shown is None:
            text_of = read(f"/proc/{pid}/mountinfo")
            shown = [line for line in text_of.split("\n") if ours["folder"] in line]
            if text_of:  # one that is just ending shows nothing, and says nothing of the others
                ours["shown"][mounts, root] = shown
        if shown:
            return f"{text} (shows the state folder)", set(UID.findall(" ".join(shown)))
    net = re.fullmatch(r"net:\[(\d+)\]", link(f"/proc/{pid}/ns/net"))
    if net and int(net[1]) in ours["networks"]:
        name = ours["networks"][int(net[1])]
        return f"{text} (in {name})", set(UID.findall(name))
    number = re.search(r"^Uid:\t(\d+)", read(f"/proc/{pid}/status"), re.M)
    if number and int(number[1]) in ours["users"]:
        return f"{text} (user {number[1]})", ours["users"][int(number[1])]
    if int(pid) in ours["groups"]:
        group = ours["groups"][int(pid)]
        return f"{text} (in {group})", set(UID.findall(group))
    return None


def processes(state, installation, except_pids=(), groups=()):
    """(pid, text, uids) of what belongs to the installation."""
    ours = {"mounts": link("/proc/self/ns/mnt"), "networks": namespaces(installation), "users": users(state),
            "groups": {int(pid): group for group in groups for pid in read(f"{group}/cgroup.procs").split()},
            # what each mount namespace shows of the state folder, as its file system has it, whatever is mounted where
            "folder": "/".join(("", *pathlib.Path(state).parts[-2:], "")), "shown": {}}
    for name in names("/proc"):
        if not name.isdigit() or int(name) in except_pids or int(name) == os.getpid():
            continue
        found = belongs(name, state, installation, ours)
        if found and alive(name):
            yield int(name), *found


def keepers(installation):
    """Pids of the installation's keepers."""
    return [int(name) for name in names("/proc")
            if name.isdigit() and read(f"/proc/{name}/cmdline").startswith(f"mayfly-keeper {installation}/")]


def parent(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def begun(pid):
    """When it began, so that a number that was given again is not taken for the same process."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None


def descendants(pid, but=()):
    """(pid, when it began) of all below pid; nothing of those whose command line begins with one of but."""
    children = {}
    for name in names("/proc"):
        if name.isdigit():
            children.setdefault(parent(name), []).append(int(name))
    found, queue = [], list(children.get(pid, ()))
    while queue:
        one = queue.pop()
        if read(f"/proc/{one}/cmdline").startswith(tuple(but)):
            continue
        found.append((one, begun(one)))
        queue += children.get(one, ())
    return found


# ---- files, control groups, the firewall ----

def files(state):
    """Files of providers and folders of resources; what a provider keeps for itself is not counted."""
    top = pathlib.Path(state) / "providers"
    for directory, folders, found in os.walk(top):
        for name in [*folders, *found]:
            if UID.search(name) or name in found and not name.endswith(".lock") and name != "lock":
                yield f"{directory}/{name}"
        folders[:] = [name for name in folders if not UID.search(name)]  # all below belongs to it


def strange_files(state):
    """What lies in the state folder and does not belong there, and what was left in the folder that the
    daemon and its providers have for temporary files."""
    top = pathlib.Path(state)
    for folder in (top, top / "gateway"):
        for name in names(folder):
            if not KEPT.fullmatch(str((folder / name).relative_to(top))):
                yield f"{folder}/{name}"
    for name in names(top.parent / "tmp"):
        yield f"{top.parent}/tmp/{name}"


def control_groups(uids):
    """Paths of the groups that are named after one of the uids."""
    for directory, folders, _ in os.walk(CGROUPS):
        if directory.count("/") > 8:
            folders.clear()
        for folder in folders:
            if set(UID.findall(folder)) & uids:
                yield f"{directory}/{folder}"


def firewall(installation):
    """Lines of the firewall that name us. A firewall that cannot be asked is an error."""
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise AssertionError(f"the firewall cannot be looked at: {done.stderr}")
    own = re.compile(rf"{re.escape(installation)}|\bmf{re.escape(installation[-12:])}\b")
    return [line.strip() for line in done.stdout.split("\n") if own.search(line)]


def interfaces(installation, uids):
    """(name, uids) of interfaces with our alias, on our bridge, or named after a resource of ours."""
    tails = {f"mv{uid[-12:]}": uid for uid in uids}
    for name in names(NET):
        alias = read(NET / name / "ifalias").strip()
        if alias.startswith(f"{installation}/"):
            yield f"{name} {alias}", set(UID.findall(alias))
        elif name in tails:
            yield f"{name} without our alias", {tails[name]}
        elif link(NET / name / "master").endswith(f"/mf{installation[-12:]}"):
            yield f"{name} on our bridge", {f"? ({name})"}


# ---- all of it ----

def things(state, installation, except_pids=()):
    """Everything in the world of this installation, but for its own bridge and table."""
    uids = uids_of(state)
    shown = list(files(state))
    groups = sorted(control_groups(uids | set(UID.findall(" ".join(shown)))))
    for pid, text, whose in processes(state, installation, except_pids, groups):
        yield Thing("process", f"{pid}: {text[:300]}", whose)
    for group in groups:
        yield Thing("control-group", group, set(UID.findall(group)))
    for line in read("/proc/self/mountinfo").split("\n"):
        if f"{state}/providers" in line or installation and f"mf-{installation[-8:]}" in line:
            yield Thing("mount", line, set(UID.findall(line)))
    for name in names(NETNS) if installation else ():
        if name.startswith(f"mf-{installation[-8:]}"):
            yield Thing("namespace", name, set(UID.findall(name)))
    for name, whose in interfaces(installation, uids) if installation else ():
        yield Thing("interface", name, whose)
    for line in read("/proc/net/unix").split("\n"):
        if f"{state}/providers" in line:
            yield Thing("socket", line.split(" ")[-1], set(UID.findall(line)))
    for path in shown:
        yield Thing("file", path, set(UID.findall(path)))


def unknown(state):
    """Things of which the ledger says nothing, or says that they are gone. Ask while the daemon is dead:
    then nobody makes or removes anything."""
    with reading(state):
        return strangers_of(things(state, installation_of(state)), uids_of(state, "state <> 'removed'"))


def strangers_of(all_things, living):
    found = []
    for thing in all_things:
        strangers = thing.uids - living
        if strangers:
            found.append(f"{thing.kind} {thing.name}: the ledger does not know {' '.join(sorted(strangers))}")
    return found


def leftovers(state, except_pids=()):
    """All that is left, as lines; empty when the world is clean."""
    with reading(state):
        installation = installation_of(state)
        found = [f"{thing.kind} {thing.name[:300]}" for thing in things(state, installation, set(except_pids))]
    if found:
        return found
    if installation:
        found += [f"interface {name}" for name in names(NET) if name == f"mf{installation[-12:]}"]
        found += [f"firewall {line}" for line in firewall(installation)]
    return found + [f"strange-file {path}" for path in strange_files(state)]


def ledger_leftovers(state):
    """What the ledger itself says is not finished."""
    with reading(state):
        return unfinished(state)


def unfinished(state):
    found = [f"environment {label}: {how}" for label, how in
             rows(state, "SELECT label, state FROM environment WHERE state <> 'gone'")]
    found += [f"resource {key} of {environment}: {how}" for key, environment, how in
              rows(state, "SELECT key, environment_id, state FROM resource WHERE state <> 'removed'")]
    found += [f"open intent {call} ({verb})" for call, verb in
              rows(state, "SELECT id, verb FROM intent WHERE outcome IS NULL")]
    found += [f"orphan {uid} of {provider}" for uid, provider in
              rows(state, "SELECT uid, provider FROM stray WHERE kind = 'orphan'")]
    return found + [f"route {host}" for (host,) in
                    rows(state, "SELECT host FROM route WHERE answer <> 'gone'")]


# ---- promises ----

def lost_push(state, label, commit):
    return not rows(state, 'SELECT 1 FROM environment e JOIN generation g ON e.id = g.environment_id'
                           ' WHERE e.label = ? AND g."commit" = ?', label, commit)


def lost_pin(state, label, until):
    return not rows(state, "SELECT 1 FROM environment WHERE label = ? AND pinned_until_ms >= ?", label, until)


def lost_extension(state, label, until):
    return not rows(state, "SELECT 1 FROM environment WHERE label = ? AND extended_until_ms >= ?", label, until)


def lost_freeze(state, _, reason):
    return not any(reason in value for (value,) in rows(state, "SELECT value FROM value WHERE name = 'frozen'"))


def lost_thaw(state, *_):
    return bool(rows(state, "SELECT 1 FROM value WHERE name = 'frozen'"))


PROMISES = {"push": lost_push, "pin": lost_pin, "extend": lost_extension, "freeze": lost_freeze, "thaw": lost_thaw}


def lost(state, promises):
    """What was acknowledged and is not in the ledger: (kind, label, value) each."""
    with reading(state):
        return [f"{kind} of {label or 'everything'} ({value}) was acknowledged and is not in the ledger"
                for kind, label, value in promises if PROMISES[kind](state, label, value)]


def broken(state):
    """What SQLite itself finds wrong."""
    return [f"ledger: {line}" for (line,) in rows(state, "PRAGMA integrity_check") if line != "ok"]


def haproxy_routes(state):
    """The lines of the maps that HAProxy shows; nothing when the front is another. An HAProxy that does not
    answer is a line too."""
    if config(state).get("front") != "haproxy":
        return []
    folder, found = pathlib.Path(state) / "gateway", []
    for name in ("routes.map", "paths.map"):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(str(folder / "haproxy.sock"))
                s.sendall(f"show map {folder}/{name}\n".encode())
                text = b"".join(iter(lambda s=s: s.recv(65536), b"")).decode()
        except OSError as error:
            return [f"route in HAProxy cannot be asked for: {error}"]
        lines = [line for line in text.split("\n") if line.strip()]
        if [line for line in lines if not line.startswith("0x")]:
            return [f"route in HAProxy cannot be asked for: {text[:200]}"]
        found += [f"route in HAProxy {line}" for line in lines]
    return found
