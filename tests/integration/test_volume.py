"""The provider "volume": data that lives as long as its environment."""
import os
import shutil

import pytest

from mayfly import Provider, new_id


@pytest.fixture
def volume(tmp_path):
    return Provider("volume", tmp_path / "state")


def test_data_survives_until_the_end(volume):
    resource = volume.resource("volume")
    out = volume.ask("provision", resource)["outputs"]
    assert out["type"] == "bind" and os.path.isabs(out["source"])
    assert os.stat(out["source"]).st_mode & 0o7777 == 0o777
    assert os.stat(os.path.dirname(out["source"])).st_mode & 0o7777 == 0o711
    with open(out["source"] + "/notes", "w", encoding="utf-8") as file:
        file.write("x" * 100000)

    resource["generation"] = 2
    again = volume.ask("provision", resource)["outputs"]
    assert again == out and os.path.getsize(out["source"] + "/notes") == 100000
    found = volume.ask("inspect", resource)
    assert (found["present"], found["ready"], found["marker"]) == ("present", True, resource["marker"])
    used = [line["item"] for line in volume.lines("usage", resource) if "item" in line]
    assert used[0]["uid"] == resource["uid"] and used[0]["bytes"] >= 100000
    assert list(volume.items()) == [resource["uid"]]

    gone = volume.ask("deprovision", resource)
    assert gone["removed"][0]["kind"] == "volume" and gone["absent"] == []
    assert volume.ask("deprovision", resource)["absent"][0]["kind"] == "volume"
    assert volume.ask("inspect", resource)["present"] == "absent"
    assert os.listdir(volume.state_dir / "volumes") == []


def test_hostile_content_is_removed_and_nothing_else(volume, tmp_path):
    resource = volume.resource("volume")
    data = volume.ask("provision", resource)["outputs"]["source"]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    os.symlink(outside, data + "/link")
    os.symlink("/nonexistent", data + "/dangling")
    os.mkdir(data + "/closed")
    os.mkfifo(data + "/closed/pipe")
    os.chmod(data + "/closed", 0)
    open(os.path.join(data.encode(), b"new\nline\xff"), "wb").close()
    here = os.open(data, os.O_RDONLY)
    for _ in range(3000):  # deeper than descriptors and PATH_MAX allow
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    volume.lines("usage", resource)
    volume.ask("deprovision", resource)
    assert (outside / "kept").read_text() == "kept"
    assert os.listdir(volume.state_dir / "volumes") == []


def test_another_marker_is_never_touched(volume):
    resource = volume.resource("volume")
    data = volume.ask("provision", resource)["outputs"]["source"]
    own = volume.environment["id"]
    volume.environment["id"] = new_id("e")
    stranger = volume.resource("volume", uid=resource["uid"])
    for verb in ("provision", "deprovision"):
        assert volume.fails(verb, stranger)["class"] == "conflict"
    assert volume.ask("inspect", stranger)["marker"] == resource["marker"]
    assert os.path.isdir(data)
    volume.environment["id"] = own
    volume.ask("deprovision", resource)


def test_a_folder_without_a_mark_is_somebody_elses(volume):
    resource = volume.resource("volume")
    foreign = volume.state_dir / "volumes" / resource["uid"]
    foreign.mkdir(parents=True)
    (foreign / "file").write_text("x")
    for verb in ("provision", "deprovision"):
        assert volume.fails(verb, resource)["class"] == "conflict"
    assert volume.ask("inspect", resource)["present"] == "uncertain"
    assert volume.items() == {}
    assert (foreign / "file").exists()


def test_F35_deleter_deletes_its_own_state(volume):
    """No name leads a removal to anything but a volume: not up, not down, not to all of them."""
    volume.ask("provision", volume.resource("volume"))
    before = sorted(os.listdir(volume.state_dir / "volumes"))
    for uid in (".", "..", "../volumes", "../..", "a/b", "/", str(volume.state_dir), before[0] + "/.."):
        assert volume.fails("deprovision", volume.resource("volume", uid=uid))["class"] == "invalid"
    assert sorted(os.listdir(volume.state_dir / "volumes")) == before


def test_list_is_of_this_installation_only(volume):
    resource = volume.resource("volume")
    volume.ask("provision", resource)
    volume.config["installation"] = new_id("i")
    assert volume.items() == {}


def test_a_mark_or_a_folder_alone_is_listed_as_uncertain(volume):
    resource = volume.resource("volume")
    made = volume.ask("provision", resource)
    folder = volume.state_dir / "volumes" / resource["uid"]
    shutil.rmtree(folder)
    assert volume.items()[resource["uid"]]["present"] == "uncertain"
    assert volume.ask("inspect", resource)["ready"] is False
    again = volume.ask("provision", {**resource, "state": made["state"]})
    assert "lost" in again["notes"][0] and again["outputs"] == made["outputs"]
    assert "notes" not in volume.ask("provision", {**resource, "state": made["state"]})
