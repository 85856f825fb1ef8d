"""The checks of world.py find what is put there for them: one thing of each kind, under a uid that the
ledger does not know. Without this a check that sees nothing would pass for ever."""
import os
import signal
import socket
import subprocess
import sys
import time

import hosts
import scenario as scenarios
import world

UID = "r" + "0planted1planted2pl"[:19]
SLEEP = ["-c", "import time; time.sleep(600)"]


def sleeper(undo, *arguments, before=(), **options):
    """A process, and all that it began, until undo."""
    process = subprocess.Popen([*before, *arguments], start_new_session=True, stdout=subprocess.PIPE, **options)
    undo.append(lambda: (os.killpg(process.pid, signal.SIGKILL), process.wait()))
    return process


def do(undo, command, back=None):
    subprocess.run(command, check=True, capture_output=True)
    if back:
        undo.append(lambda: subprocess.run(back, check=False, capture_output=True))


def plant(host, installation, undo):
    """Makes the things; undo gets what takes them away again. Gives back {what: a word that its line has}."""
    folder = host.state / "providers" / "volume" / "volumes" / UID
    folder.mkdir(parents=True)
    stranger = socket.socket(socket.AF_UNIX)
    stranger.bind(str(folder / "ctl"))
    undo.append(stranger.close)

    netns, veth, bare = f"mf-{installation[-8:]}-{UID}", f"mv{UID[-12:]}", "mvplantedbare"
    bridge, user = f"mf{installation[-12:]}", min(world.users(host.state)) + world.USERS - 1
    do(undo, ["ip", "netns", "add", netns], ["ip", "netns", "delete", netns])
    do(undo, ["ip", "link", "add", veth, "type", "veth", "peer", "name", f"mp{UID[-12:]}"], ["ip", "link", "delete", veth])
    do(undo, ["ip", "link", "set", veth, "alias", f"{installation}/e/{UID}"])
    do(undo, ["ip", "link", "add", bridge, "type", "bridge"], ["ip", "link", "delete", bridge])
    do(undo, ["ip", "link", "add", bare, "type", "veth", "peer", "name", "mpplantedbare"], ["ip", "link", "delete", bare])
    do(undo, ["ip", "link", "set", bare, "master", bridge])

    keeper = sleeper(undo, "mayfly-keeper", *SLEEP, f"{installation}/e/{UID}", executable=sys.executable)
    inside = sleeper(undo, sys.executable, *SLEEP, before=["ip", "netns", "exec", netns])
    another = sleeper(undo, sys.executable, *SLEEP, user=user)
    # A workload of which only the inside is left: nothing in its command line, its folder or its root tells.
    mounted = sleeper(undo, "sh", "-c", f"mount --bind {folder} /mnt && cd / && echo ready && exec sleep 600",
                      before=["unshare", "--mount", "--propagation", "private"])
    mounted.stdout.readline()
    words = {"keeper": f"process {keeper.pid}:", "process in our namespace": f"process {inside.pid}:",
             "process under our user": f"process {another.pid}:", "process that shows the state folder": f"process {mounted.pid}:",
             "mount": "mount ", "namespace": f"namespace {netns}", "interface": f"interface {veth} ",
             "interface without alias": f"interface {bare} ", "socket": "socket ", "file": f"file {folder}"}
    group = plant_group(undo)
    if group:
        words.update({"control group": f"control-group {group}"})
    return words


def plant_group(undo):
    """None where no control groups can be made."""
    for top in (world.CGROUPS, world.CGROUPS / "memory"):
        path = top / f"mayfly-{UID}.0"
        if (top / "cgroup.procs").exists():
            try:
                path.mkdir()
            except OSError:
                continue
            undo.append(path.rmdir)
            return path
    return None


def missing(words, found):
    return sorted(what for what, word in words.items() if not any(line.startswith(word) for line in found))


def check_world():
    host, undo = hosts.Host(), []
    try:
        host.start()
        host.kill()
        installation = world.installation_of(host.state)
        assert installation and not world.unknown(host.state), "an empty installation is not seen as empty"
        left = world.leftovers(host.state)
        assert not left, f"an empty installation has leftovers: {left}"
        plant_rest(host, installation)
        words = plant(host, installation, undo)
        time.sleep(0.2)  # until each has become what it is to be
        for what, found in (("unknown", world.unknown(host.state)), ("left", world.leftovers(host.state))):
            assert not missing(words, found), f"planted and not seen as {what}: {missing(words, found)} in\n" + "\n".join(found)
        check_promises(host.state)
    finally:
        for action in reversed(undo):
            action()
        host.done()


def plant_rest(host, installation):
    """What is looked at only when nothing else is left: one after the other."""
    table = f"mayfly_{installation}"
    undo = []
    do(undo, ["nft", "add", "table", "inet", table], ["nft", "delete", "table", "inet", table])
    bridge = f"mf{installation[-12:]}"
    do(undo, ["ip", "link", "add", bridge, "type", "bridge"], ["ip", "link", "delete", bridge])
    try:
        left = world.leftovers(host.state)
        for word in (f"firewall table inet {table}", f"interface {bridge}"):
            assert any(line.startswith(word) for line in left), f"planted and not seen: {word} in {left}"
    finally:
        for action in reversed(undo):
            action()
    for path in (host.state / "backup", host.state / "ledger.db.part", host.state / "gateway" / "routes.map.new", host.home / "tmp" / "x"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("planted")
        left = world.leftovers(host.state)
        assert left == [f"strange-file {path}"], f"planted and not seen: {path} in {left}"
        path.unlink()


def check_promises(state):
    for kind, label, value in (("push", "a", "b"), ("pin", "a", 1), ("extend", "a", 1), ("freeze", None, "x")):
        assert world.lost(state, [(kind, label, value)]), f"a {kind} that is not in the ledger is not missed"
    assert not world.lost(state, [("thaw", None, None)]), "a ledger that is not frozen is taken for frozen"


def check_descendants():
    """The children of a provider program are seen too, those of a keeper are not."""
    undo = []
    try:
        provider = sleeper(undo, "mayfly-provider-x", "-c", "import subprocess; subprocess.run(['sleep', '600'])",
                           executable=sys.executable)
        keeper = sleeper(undo, "mayfly-keeper", "-c", "import subprocess; subprocess.run(['sleep', '600'])", executable=sys.executable)
        until = time.monotonic() + 20
        while time.monotonic() < until and not (world.descendants(provider.pid) and world.descendants(keeper.pid)):
            time.sleep(0.02)
        seen = {pid for pid, _ in world.descendants(os.getpid(), scenarios.LIVE_ON)}
        inner = {pid for pid, _ in world.descendants(provider.pid)}
        assert inner and provider.pid in seen and inner <= seen, "what a provider program began is not seen"
        assert keeper.pid not in seen and not {pid for pid, _ in world.descendants(keeper.pid)} & seen, "keepers live on"
    finally:
        for action in undo:
            action()


def check_ledger():
    """A ledger that cannot be read is no empty one."""
    host = hosts.Host()
    try:
        host.start()
        host.kill()
        (host.state / "ledger.db").write_bytes(b"no ledger" * 1000)
        (host.state / "ledger.db-wal").unlink(missing_ok=True)
        for ask in (world.installation_of, world.uids_of, world.unknown):
            try:
                ask(host.state)
            except world.sqlite3.Error:
                continue
            raise AssertionError(f"{ask.__name__} takes a ledger that cannot be read for an empty one")
    finally:
        host.done()


def plant_route(host):
    """True when it is seen. The daemon replaces all routes of an HAProxy that has just begun, so once may be too soon."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(host.state / "gateway" / "haproxy.sock"))
        s.sendall(f"add map {host.state}/gateway/routes.map planted.localhost x\n".encode())
        s.recv(4096)
    return any("planted.localhost" in line for line in world.haproxy_routes(host.state))


def check_haproxy():
    """A route that is left in HAProxy, and an HAProxy that does not answer."""
    host = hosts.Host("haproxy")
    try:
        host.start()
        assert not world.haproxy_routes(host.state), "an empty installation has routes"
        host.wait("a route is seen", lambda: plant_route(host), 10, 0.1)
        host.kill()
        os.kill(host.haproxy(), signal.SIGKILL)
        time.sleep(0.1)
        assert world.haproxy_routes(host.state), "an HAProxy that does not answer is taken for an empty one"
    finally:
        host.done()


CHECKS = {"what is planted in the world is found": check_world,
          "what provider programs begin is seen": check_descendants,
          "a ledger that cannot be read is no empty one": check_ledger,
          "a route that is planted in HAProxy is found": check_haproxy}
