"""The checks of world.py find what is put there for them: one thing of each kind, under a uid that the
ledger does not know. Without this a check that sees nothing would pass for ever."""
import socket
import subprocess
import sys

import hosts
import world

UID = "r" + "0planted1planted2pl"[:19]


def plant(host, installation, undo):
    """Makes the things; undo gets what takes them away again."""
    folder = host.state / "providers" / "volume" / "volumes" / UID
    folder.mkdir(parents=True)
    stranger = socket.socket(socket.AF_UNIX)
    stranger.bind(str(folder / "ctl"))
    undo.append(stranger.close)
    keeper = subprocess.Popen(["mayfly-keeper", "-c", "import time; time.sleep(600)", f"{installation}/e/{UID}"],
                              executable=sys.executable)
    undo.append(lambda: (keeper.kill(), keeper.wait()))
    netns = f"mf-{installation[-8:]}-{UID}"
    for command, back in (
            (["ip", "netns", "add", netns], ["ip", "netns", "delete", netns]),
            (["ip", "link", "add", f"mv{UID[-12:]}", "type", "veth", "peer", "name", f"mp{UID[-12:]}"], ["ip", "link", "delete", f"mv{UID[-12:]}"]),
            (["ip", "link", "set", f"mv{UID[-12:]}", "alias", f"{installation}/e/{UID}"], None)):
        subprocess.run(command, check=True, capture_output=True)
        if back:
            undo.append(lambda back=back: subprocess.run(back, check=False, capture_output=True))


def check():
    """Raises AssertionError when something planted is not seen."""
    host, undo = hosts.Host(), []
    try:
        host.start()
        host.kill()
        installation = world.installation_of(host.state)
        assert installation and not world.unknown(host.state), "an empty installation is not seen as empty"
        plant(host, installation, undo)
        for what, found in (("unknown", world.unknown(host.state)), ("left", world.leftovers(host.state))):
            kinds = {line.split()[0] for line in found}
            missing = {"process", "mount", "namespace", "interface", "socket", "file"} - kinds
            assert not missing, f"planted and not seen as {what}: {missing}"
        assert world.lost(host.state, [("a", "b")]), "a push that is not in the ledger is not missed"
    finally:
        for action in reversed(undo):
            action()
        host.done()
