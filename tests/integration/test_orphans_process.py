"""What the provider 'process' says of leftovers: two networks never share an address, and whatever is
there of a resource is seen, whether its folder and its mark are there or not."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from mayfly import new_id, wait_until
from test_process import Place, get, keeper_pid, place, processes  # noqa: F401  (a fixture)

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def root_only(p):
    if not p.root:
        pytest.skip("networks of this kind need root")


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def test_a_slot_that_is_taken_gives_another_address(place):
    root_only(place)
    _, first = place.network(slot=3)
    second, net = place.network(slot=3)
    assert net["address"] != first["address"]
    assert place.provider.ask("provision", second)["outputs"] == net  # twice is once
    place.provider.ask("provision", place.workload(first))
    end = place.provider.ask("provision", place.workload(net))["outputs"]["endpoints"]["p8080"]
    assert end["address"] == net["address"] and b"200 OK" in get(end)


def test_an_address_stays_when_its_host_end_is_lost(place):
    root_only(place)
    taken, _ = place.network(slot=3)
    second, net = place.network(slot=3)
    place.made.remove(taken)
    place.provider.ask("deprovision", taken)
    subprocess.run(["ip", "link", "del", "mv" + second["uid"][-12:]], check=True)
    state = {"address": net["address"]}
    assert place.provider.ask("provision", {**second, "state": state})["outputs"] == net


def test_a_keeper_whose_folder_is_gone_is_seen_and_ended(place):
    _, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    pid = keeper_pid(place, w)
    shutil.rmtree(place.base / "state" / w["uid"])
    seen = place.provider.ask("inspect", w)
    assert (seen["present"], seen["ready"], seen["marker"]) == ("present", False, w["marker"])
    done = place.provider.ask("deprovision", w)
    assert {"kind": "process", "name": w["uid"]} in done["removed"]
    assert {"kind": "pid", "name": str(pid)} in done["removed"]
    wait_until(lambda: not alive(pid), 3)
    assert place.provider.ask("inspect", w)["present"] == "absent"
    place.made.remove(w)


def test_a_command_line_proves_nothing_for_another_user(place):
    root_only(place)
    _, net = place.network()
    w = place.workload(net)
    words = ["mayfly-keeper", w["marker"], "-f", "/dev/null"]
    forged = subprocess.Popen(["setpriv", "--reuid", "12346", "--clear-groups", "/usr/bin/python3", "-c",
                               f"import os; os.execv('/usr/bin/tail', {words!r})"], stderr=subprocess.DEVNULL, cwd="/")
    try:
        wait_until(lambda: any("'mayfly-keeper" in line for line in processes(w["marker"])), 5)
        assert place.provider.ask("inspect", w)["present"] == "absent"
        assert w["uid"] not in place.provider.items()
        place.provider.ask("deprovision", w)
        assert forged.poll() is None
    finally:
        forged.kill()
        forged.wait()


def test_a_folder_that_comes_back_is_seen(place):
    _, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    place.provider.ask("deprovision", w)
    assert place.provider.ask("inspect", w)["present"] == "absent"
    folder = place.base / "state" / w["uid"]
    (folder / "logs").mkdir(parents=True)
    if not place.root:
        os.chown(folder, 12345, 12345)
    assert place.provider.ask("inspect", w)["present"] == "uncertain"
    assert place.provider.items()[w["uid"]]["marker"].endswith(f"/unknown/{w['uid']}")
    (folder / "mark.workload").symlink_to(w["marker"])
    seen = place.provider.ask("inspect", w)
    assert (seen["present"], seen["marker"]) == ("present", w["marker"])
    assert place.provider.items()[w["uid"]]["marker"] == w["marker"]
    place.provider.ask("deprovision", w)
    assert not folder.exists()


def test_a_control_group_with_a_process_is_seen_and_ended(place):
    root_only(place)
    base = next((p for p in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.access(p, os.W_OK)), None)
    _, net = place.network()
    w = place.workload(net)
    group = pathlib.Path(base or "/sys/fs/cgroup") / f"mayfly-{w['uid']}.0"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    child = subprocess.Popen(["sleep", "60"])
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        assert place.provider.ask("inspect", w)["present"] == "uncertain"
        done = place.provider.ask("deprovision", w)
        assert {"kind": "cgroup", "name": str(group)} in done["removed"]
        assert child.wait(5) == -signal.SIGKILL and not group.exists()
    finally:
        child.kill()


def test_a_host_end_is_seen_wherever_it_hangs(place):
    root_only(place)
    network, net = place.network()
    veth = "mv" + network["uid"][-12:]
    subprocess.run(["ip", "link", "set", veth, "nomaster"], check=True)
    (place.base / "state" / f"{network['uid']}.network").unlink()
    shutil.rmtree(place.base / "state" / network["uid"])
    seen = place.provider.ask("inspect", network)
    assert (seen["present"], seen["ready"], seen["marker"]) == ("present", False, network["marker"])
    subprocess.run(["ip", "netns", "del", net["namespace"].split(":")[1]], check=False)
    item = place.provider.items().get(network["uid"])
    if os.path.exists(f"/sys/class/net/{veth}"):
        assert item["marker"] == network["marker"]


def test_a_mark_alone_is_listed_as_uncertain(place):
    network, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    assert {i["present"] for i in place.provider.items().values()} == {"present"}
    if place.root:
        subprocess.run(["ip", "netns", "del", net["namespace"].split(":")[1]], check=True)
        assert place.provider.items()[network["uid"]]["present"] == "uncertain"
    os.kill(keeper_pid(place, w), signal.SIGKILL)
    wait_until(lambda: place.provider.ask("inspect", w)["present"] == "absent", 3)
    shutil.rmtree(place.base / "state" / w["uid"])
    assert place.provider.items()[w["uid"]]["present"] == "uncertain"


def test_a_volume_that_was_made_again_is_not_the_one_in_use(place):
    data = place.base / "volumes" / "data"
    data.mkdir(parents=True)
    data.chmod(0o777)
    _, net = place.network()
    volume = {"target": "/data", "source": {"type": "bind", "source": str(data)}, "readOnly": False}
    w = place.workload(net, containers=[place.container(
        "main", ["python3", "server.py", "8080"], volumes=[volume])])
    place.provider.ask("provision", w)
    assert place.provider.ask("inspect", w)["ready"] is True
    shutil.rmtree(data)
    data.mkdir()
    data.chmod(0o777)
    seen = place.provider.ask("inspect", w)
    assert seen["ready"] is False and str(data) in seen["detail"]
    place.provider.ask("provision", w)
    assert place.provider.ask("inspect", w)["ready"] is True
    assert place.run(w, "touch", "/data/new")[0] == 0 and (data / "new").exists()


def test_a_workload_in_a_network_that_is_no_more_starts_again(place):
    root_only(place)
    network, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    assert place.provider.ask("inspect", w)["ready"] is True
    subprocess.run(["ip", "netns", "del", net["namespace"].split(":")[1]], check=True)
    assert place.provider.ask("provision", network)["outputs"] == net
    seen = place.provider.ask("inspect", w)
    assert seen["ready"] is False and "network" in seen["detail"]
    end = place.provider.ask("provision", w)["outputs"]["endpoints"]["p8080"]
    assert b"200 OK" in get(end)


def test_a_removal_names_what_it_removed(place):
    network, net = place.network()
    w = place.workload(net)
    place.provider.ask("provision", w)
    kinds = {r["kind"] for r in place.provider.ask("deprovision", w)["removed"]}
    assert {"process", "pid", "socket", "file"} <= kinds
    if place.root:
        kinds = {r["kind"] for r in place.provider.ask("deprovision", network)["removed"]}
        assert {"interface", "namespace", "mount", "table", "file"} <= kinds
