"""Orphans and ghosts with real providers, and receipts held against the world."""
import json
import shutil

import pytest

from mayfly import Daemon, Provider, Repository, new_id, wait_until


@pytest.fixture
def lonely():
    d = Daemon()
    yield d
    d.clean()


@pytest.fixture
def shop(lonely):
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello", volume=True))
    lonely.ok("project", "add", "shop", repository.bare)
    lonely.ok("up", "shop", "main")
    return lonely


def volume_behind_the_ledgers_back(daemon, environment, uid=None):
    """What a provider makes that the ledger does not know."""
    provider = Provider("volume", daemon.state / "providers" / "volume")
    provider.installation = daemon.api("GET", "/v1/status")[1]["installation"]
    provider.config["installation"] = provider.installation
    provider.environment["id"] = environment
    resource = provider.resource("volume", uid=uid)
    provider.ask("provision", resource)
    return provider, resource


def there(provider, resource):
    return provider.ask("inspect", resource)["present"] == "present"


def orphans(daemon, *words):
    return {o["uid"]: o for o in json.loads(daemon.ok("orphans", *words, "--json"))["orphans"]}


def test_an_orphan_is_shown_and_removed_only_when_somebody_says_so(shop):
    assert "agree" in shop.ok("orphans", "--look")
    provider, resource = volume_behind_the_ledgers_back(shop, new_id("e"))
    uid = resource["uid"]
    assert orphans(shop) == {}
    found = orphans(shop, "--look")[uid]
    assert found["verdict"] == "young" and found["times"] == 1 and found["marker"] == resource["marker"]
    assert orphans(shop, "--look")[uid]["times"] == 2
    done = shop.mayfly("orphans", "--remove", uid)
    assert done.returncode == 5 and "24h" in done.stderr
    assert "Nothing was changed" in shop.ok("orphans", "--remove", uid, "--young", "--dry-run")
    assert "Nothing has to be removed" in shop.ok("orphans", "--remove", "--all")
    shop.ok("freeze", "--reason", "audit")
    done = shop.mayfly("orphans", "--remove", uid, "--young")
    assert done.returncode == 5 and "audit" in done.stderr
    shop.ok("unfreeze")
    assert there(provider, resource)
    shop.ok("orphans", "--remove", uid, "--young", "--wait")
    assert not there(provider, resource) and orphans(shop) == {}
    kinds = [e["kind"] for e in json.loads(shop.ok("events", "-n", "20", "--json"))["events"]]
    assert kinds.count("orphan.found") == 1 and kinds.count("orphan.removed") == 1
    assert shop.get("main--shop")[1] == "hello"


def test_wrong_words(shop):
    for words in (["x"], ["--remove"], ["--adopt"], ["--adopt", "--all"], ["--remove", "x", "--all"],
                  ["--remove", "--adopt", "x"], ["--remove", "--all", "--young"]):
        assert shop.mayfly("orphans", *words).returncode == 2, words
    assert shop.mayfly("orphans", "--remove", "nothing").returncode == 4
    assert shop.api("POST", "/v1/orphans/remove", {})[0] == 400


def test_words_that_mean_nothing_are_refused(shop):
    for words in (["--dry-run"], ["--young"], ["--wait"], ["--timeout", "1m"], ["--look", "--remove", "x"],
                  ["--remove", "x", "--environment", "e1"], ["--adopt", "x", "--young"]):
        assert shop.mayfly("orphans", *words).returncode == 2, words
    assert shop.mayfly("orphans", "--remove", "--environment", new_id("e")).returncode == 4


def test_a_dry_run_ends_as_the_real_run(shop):
    provider, resource = volume_behind_the_ledgers_back(shop, new_id("e"))
    orphans(shop, "--look")
    done = shop.mayfly("orphans", "--remove", resource["uid"], "--dry-run")
    assert done.returncode == 5 and "24h" in done.stderr
    environment = resource["marker"].split("/")[1]
    text = shop.ok("orphans", "--remove", "--environment", environment, "--young", "--wait")
    assert f"{resource['uid']} is removed" in text and not there(provider, resource)


def test_who_could_not_look_says_so(shop):
    """A provider whose list fails: nobody says that ledger and world agree."""
    folder = shop.state / "providers" / "volume" / "volumes"
    hidden = folder.with_name("hidden")
    folder.rename(hidden)
    folder.write_text("no folder")
    try:
        done = shop.mayfly("orphans", "--look")
        assert done.returncode == 1 and "not complete" in done.stdout and "agree" not in done.stdout
        answer = json.loads(shop.mayfly("orphans", "--look", "--json").stdout)
        volume = next(x for x in answer["lists"] if x["provider"] == "volume")
        assert volume["complete"] is False and volume["detail"]
    finally:
        folder.unlink()
        hidden.rename(folder)
    assert "agree" in shop.ok("orphans", "--look")


def test_a_volume_that_vanished_is_made_again_and_its_owner_is_told(shop):
    shown = shop.show("main--shop")
    uid = next(r["uid"] for r in shown["resources"] if r["type"] == "volume")
    folder = shop.state / "providers" / "volume" / "volumes" / uid

    def notes():
        return [n for r in shop.show("main--shop")["resources"] for n in r.get("notes") or []]

    def texts():
        events = json.loads(shop.ok("events", "main--shop", "-n", "50", "--json"))["events"]
        return " ".join(e["text"] for e in events)

    shutil.rmtree(folder)
    orphans(shop, "--look")
    wait_until(lambda: (folder / "data").exists(), 20, "a volume")
    wait_until(lambda: any("lost" in n for n in notes()), 20, "a note")
    wait_until(lambda: "which it has mounted" in texts(), 20, "the workload's restart")
    wait_until(lambda: shop.get("main--shop")[1] == "hello", 20, "the preview")


def test_what_was_found_later_is_shown_with_the_receipt(shop):
    shown = shop.show("main--shop")
    shop.ok("down", "main--shop", "--wait")
    uid = next(r["uid"] for r in shown["resources"] if r["type"] == "volume")
    volume_behind_the_ledgers_back(shop, shown["id"], uid)
    orphans(shop, "--look")
    shop.ok("orphans", "--remove", uid, "--young", "--wait")
    kinds = [e["kind"] for e in json.loads(shop.ok("receipt", "main--shop", "--json"))["later"]]
    assert kinds[0] == "orphan.found" and kinds[-1] == "orphan.removed"
    assert "orphan.removed" in shop.ok("events", shown["id"])
    shop.ok("up", "shop", "main")
    text = shop.ok("receipt", "main--shop")
    assert "newer one of this name" in text and shown["id"] in text


def test_adopted_it_goes_with_its_preview(shop):
    environment = shop.show("main--shop")["id"]
    provider, resource = volume_behind_the_ledgers_back(shop, environment)
    uid = resource["uid"]
    orphans(shop, "--look")
    done = shop.mayfly("orphans", "--remove", uid, "--young")
    assert done.returncode == 5 and "adopt" in done.stderr
    shop.ok("orphans", "--adopt", uid)
    assert orphans(shop, "--look") == {}
    adopted = {r["uid"]: r for r in shop.show("main--shop")["resources"]}[uid]
    assert "Adopted" in adopted["cause"] and shop.get("main--shop")[1] == "hello"
    shop.ok("down", "main--shop", "--wait")
    assert not there(provider, resource)
    receipt = json.loads(shop.ok("receipt", environment, "--json"))["receipt"]
    assert uid in {r["uid"] for r in receipt["resources"]}


def test_verify_looks_again(shop):
    shown = shop.show("main--shop")
    shop.ok("down", "main--shop", "--wait")
    text = shop.ok("receipt", "main--shop", "--verify")
    assert "Looked again" in text and "The signature holds" in text
    answer = json.loads(shop.ok("receipt", shown["id"], "--verify", "--json"))
    assert answer["verified"] and answer["world"]["gone"] and answer["world"]["unknown"] == 0
    assert {x["seen"] for x in answer["world"]["looks"]} == {"absent"}

    # A volume comes back under the very marker of the one that was removed.
    uid = next(r["uid"] for r in shown["resources"] if r["type"] == "volume")
    provider, resource = volume_behind_the_ledgers_back(shop, shown["id"], uid)
    done = shop.mayfly("receipt", "main--shop", "--verify")
    assert done.returncode == 1 and "is there" in done.stderr and uid in done.stdout
    assert shop.mayfly("receipt", "main--shop").returncode == 0  # the receipt itself is as it was
    found = orphans(shop, "--look")[uid]
    assert found["environment"] == shown["id"]
    done = shop.mayfly("orphans", "--adopt", uid)
    assert done.returncode == 5 and "gone" in done.stderr
    shop.ok("orphans", "--remove", uid, "--young", "--wait")
    assert not there(provider, resource)
    shop.ok("receipt", "main--shop", "--verify")


def test_a_removal_that_was_killed_goes_on(shop):
    provider, resource = volume_behind_the_ledgers_back(shop, new_id("e"))
    orphans(shop, "--look")
    shop.ok("orphans", "--remove", resource["uid"], "--young")
    shop.kill()
    shop.start()
    wait_until(lambda: not there(provider, resource), 20, "its removal")
    wait_until(lambda: orphans(shop) == {}, 20, "its end in the ledger")
