"""Receipts: what a teardown leaves, held against the real providers and against OpenSSL."""
import base64
import json
import os
import shutil
import subprocess

import pytest

from mayfly import BUILD, Daemon, Repository, provider_program


@pytest.fixture(scope="module", params=["door", "haproxy"])
def daemon(request):
    d = Daemon(front=request.param).start()
    yield d
    d.clean()


@pytest.fixture
def lonely():
    d = Daemon()
    yield d
    d.clean()


names = iter(f"shop{n}" for n in range(1000))


@pytest.fixture
def shop(daemon):
    name = next(names)
    repository = Repository(daemon.folder, name)
    repository.push("main", repository.product("hello", volume=True))
    daemon.ok("project", "add", name, repository.bare)
    return daemon, repository, name


def openssl_says(folder, answer, public_key):
    (folder / "receipt.json").write_text(answer["signed"])
    (folder / "receipt.sig").write_bytes(base64.b64decode(answer["signature"]))
    (folder / "key.pem").write_text(public_key)
    return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in",
                           "receipt.json", "-sigfile", "receipt.sig"], cwd=folder, capture_output=True,
                          text=True, timeout=30, check=False).returncode == 0


def test_a_receipt_names_what_was_there(shop):
    daemon, repository, name = shop
    label = f"main--{name}"
    daemon.ok("up", name, "main")
    repository.push("main", repository.product("two", volume=True))
    daemon.ok("up", name, "main")
    shown = daemon.show(label)
    done = daemon.mayfly("receipt", label)
    assert done.returncode == 5 and "is not gone" in done.stderr
    daemon.ok("down", label, "--wait")
    text = daemon.ok("receipt", label)
    assert "The signature holds" in text and "says that it is gone" in text
    answer = json.loads(daemon.ok("receipt", shown["id"], "--json"))
    assert answer["holds"] and answer["id"] == shown["id"] and answer["others"] == []
    receipt = answer["receipt"]
    assert receipt["environment"]["label"] == label and receipt["route"]["answer"] == "gone"
    resources = {r["uid"]: r for r in receipt["resources"]}
    assert {r["uid"] for r in shown["resources"]} <= set(resources)
    assert {r["generation"] for r in receipt["resources"]} == {0, 1, 2}
    kinds = {}
    for r in receipt["resources"]:
        assert r["absent_ms"] >= r["made_ms"] and r["marker"].endswith(r["uid"])
        for word in ("removed", "absent"):
            for thing in r[word]:
                kinds.setdefault(thing["kind"], set()).add(word)
    assert "removed" in kinds["process"] and "removed" in kinds["volume"] and "removed" in kinds["checkout"]
    assert "namespace" in kinds


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_agrees(shop, tmp_path):
    daemon, _, name = shop
    label = f"main--{name}"
    daemon.ok("up", name, "main")
    daemon.ok("down", label, "--wait")
    answer = json.loads(daemon.ok("receipt", label, "--json"))
    key = json.loads(daemon.ok("status", "--json"))["public_key"]
    assert key == answer["public_key"]
    assert openssl_says(tmp_path, answer, key)
    canonical = json.dumps(answer["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical == answer["signed"]
    assert not openssl_says(tmp_path, {**answer, "signed": answer["signed"].replace('"version":1', '"version":2')},
                            key)


def test_several_of_one_name(shop):
    daemon, _, name = shop
    label = f"main--{name}"
    ids = []
    for _ in range(2):
        daemon.ok("up", name, "main")
        ids.append(daemon.show(label)["id"])
        daemon.ok("down", label, "--wait")
    answer = json.loads(daemon.ok("receipt", label, "--json"))
    assert answer["id"] == ids[1] and [o["id"] for o in answer["others"]] == [ids[0]]
    assert ids[0] in daemon.ok("receipt", label)
    assert json.loads(daemon.ok("receipt", ids[0], "--json"))["id"] == ids[0]
    daemon.ok("up", name, "main")  # also while a new one of this name lives
    assert json.loads(daemon.ok("receipt", label, "--json"))["id"] == ids[1]
    assert json.loads(daemon.ok("receipt", f"{name}/main", "--json"))["id"] == ids[1]
    now = daemon.show(label)["id"]
    done = daemon.mayfly("receipt", now)
    assert done.returncode == 5 and "is not gone" in done.stderr
    assert daemon.mayfly("receipt", "nobody").returncode == 4


def test_a_teardown_that_was_killed_has_one_whole_receipt(lonely):
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello", volume=True))
    lonely.ok("project", "add", "shop", repository.bare)
    lonely.ok("up", "shop", "main")
    shown = lonely.show("main--shop")
    lonely.ok("down", shown["id"])
    for _ in range(3):
        lonely.kill()
        lonely.start()
    lonely.wait_state(shown["id"], "gone")
    answer = json.loads(lonely.ok("receipt", "main--shop", "--json"))
    assert answer["holds"]
    assert {r["uid"] for r in answer["receipt"]["resources"]} == {r["uid"] for r in shown["resources"]}
    for r in answer["receipt"]["resources"]:
        assert not [thing for thing in r["removed"] if thing in r["absent"]]


def test_the_signing_key(lonely):
    """Made at the first start, for its owner alone, and missed when it is lost."""
    lonely.start()
    key = lonely.state / "key.signing"
    assert os.stat(key).st_mode & 0o777 == 0o600
    public = json.loads(lonely.ok("status", "--json"))["public_key"]
    lonely.stop()
    kept = key.read_bytes()
    key.unlink()
    lonely.start(wait=False)
    assert lonely.process.wait(30) == 1
    assert "--new-signing-key" in lonely.log_text() and not key.exists()
    key.write_bytes(kept)
    key.chmod(0o600)
    lonely.start()
    assert json.loads(lonely.ok("status", "--json"))["public_key"] == public
    lonely.stop()
    key.unlink()
    made = subprocess.run([BUILD / "orchestrator" / "mayflyd", "--new-signing-key", "--state", lonely.state],
                          capture_output=True, text=True, timeout=30, check=True)
    assert "BEGIN PUBLIC KEY" in made.stdout and public not in made.stdout
    lonely.start()
    assert json.loads(lonely.ok("status", "--json"))["public_key"] in made.stdout


NOTING = """#!/usr/bin/python3
import json, subprocess, sys
request = sys.stdin.read()
done = subprocess.run([{program!r}], input=request, capture_output=True, text=True)
lines = done.stdout.splitlines()
last = json.loads(lines[-1])
if "result" in last and json.loads(request)["verb"] == "provision":
    last["result"]["notes"] = ["its size is not limited \\x1b[31m here"]
print("\\n".join(lines[:-1] + [json.dumps(last)]))
"""


def test_notes_about_limits_are_told(lonely):
    """What a provider says of limits it could not apply reaches who asked, in 'up' and in 'show'."""
    program = lonely.folder / "noting-volume"
    program.write_text(NOTING.format(program=str(provider_program("volume"))))
    program.chmod(0o755)
    lonely.configure({"providers": {"volume": {"path": str(program)}}})
    lonely.start()
    repository = Repository(lonely.folder)
    repository.push("main", repository.product("hello", volume=True))
    lonely.ok("project", "add", "shop", repository.bare)
    up = lonely.mayfly("up", "shop", "main")
    assert up.returncode == 0 and "its size is not limited" in up.stderr, up
    notes = [note for r in lonely.show("main--shop")["resources"] for note in r["notes"]]
    assert "its size is not limited  [31m here" in notes
    shown = lonely.ok("show", "main--shop")
    assert "its size is not limited" in shown and "\x1b" not in shown and "\x1b" not in up.stderr
