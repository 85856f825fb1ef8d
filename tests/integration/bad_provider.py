#!/usr/bin/python3
"""A provider that keeps every rule but the one its config names in "fault": each must be found out."""
import json
import os
import signal
import subprocess
import sys
import time

TYPE = {"type": "thing", "scope": "environment", "verbs": ["provision", "inspect", "deprovision", "sleep",
                                                           "wake"],
        "params": {"type": "object", "additionalProperties": False}, "outputs": ["password"],
        "cost": "nothing", "computed": False}


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def end(**result):
    say({"result": result})
    if fault == "two answers":
        say({"result": result})
    sys.exit(3 if fault == "exit status" else 0)


def fail(kind, message):
    say({"error": {"class": "oops" if fault == "unknown class" else kind, "message": message}})
    sys.exit(0)


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def level(value=None):
    path = base + ".level"
    if value:
        if link(path):
            os.unlink(path)
        os.symlink(value, path)
    return link(path) or "awake"


def provision():
    if fault == "slow":
        time.sleep(1)
    if fault == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(4)
    if fault == "leaves a process":
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 5"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        time.sleep(0.3)
    if request["resource"]["params"] and fault != "any params":
        fail("invalid", "params")
    if found and found != marker:
        if fault != "touches others":
            fail("conflict", "another marker")
        os.unlink(base + ".mark")
    if fault == "repeat fails" and found:
        fail("transient", "it is there already")
    if not link(base + ".mark"):
        if fault == "thing before mark":
            open(base + ".file", "w", encoding="utf-8").close()
            time.sleep(0.1)
        os.symlink(marker, base + ".mark")
    password = "s3cret-" + uid
    if fault == "changing outputs":
        password += str(time.monotonic())
    if fault == "secret in log":
        say({"log": "made " + password})
    if fault == "secret on stderr":
        print(password, file=sys.stderr)
    end(state={"p": password} if fault == "secret in state" else {},
        outputs={} if fault == "missing output" else {"password": password}, secret=[
            "nothing" if fault == "secret of nothing" else "password"] if fault != "missing output" else [])


def inspect():
    shown = marker if fault == "echoes the marker" and found else found
    end(present="present" if found or fault == "always present" else "absent", marker=shown,
        ready=bool(found), level="awake" if fault == "no level" else level())


def deprovision():
    if found and found != marker and fault not in ("touches others", "removes others"):
        fail("conflict", "another marker")
    if not found and fault == "absent is an error":
        fail("gone", "it is not there")
    if fault != "does not remove":
        for end_of_name in (".mark", ".level") + (() if fault == "leaves a file" else (".file",)):
            if os.path.lexists(base + end_of_name):
                os.unlink(base + end_of_name)
        if fault == "leaves a file":
            open(base + ".file", "w", encoding="utf-8").close()
    entry = [{"kind": "file", "name": uid}]
    if fault == "no receipt":
        end()
    end(removed=entry if found else [], absent=[] if found else entry)


def list_all():
    names = sorted(name for name in os.listdir(config["state_dir"]) if name.endswith(".mark"))
    if fault == "short list":
        names = names[1:]
    for name in names:
        there = link(os.path.join(config["state_dir"], name))
        parts = there.split("/")
        if parts[0] == config["installation"] or fault == "lists others":
            for _ in range(2 if fault == "lists twice" else 1):
                say({"item": {"uid": parts[2], "marker": there, "type": "thing", "environment": parts[1],
                              "present": "present"}})
    if fault == "lists strangers":
        say({"item": {"uid": "r1", "marker": config["installation"] + "/e/r1", "type": "thing",
                      "environment": "e", "present": "present"}})
    end(complete=fault != "incomplete list")


fault = ""
text = sys.stdin.buffer.read(8 * 1024 * 1024 + 1)
try:
    request = json.loads(text)
    verb = request["verb"]
    assert request["protocol"] == 1 and len(text) <= 8 * 1024 * 1024
    if verb == "describe":
        end(protocol=1, name="bad", verbs=["describe", "list"], types=[TYPE])
    config = request["config"]
    config["installation"], config["state_dir"]
    fault = config.get("fault", "")
    if verb != "list":
        assert verb in TYPE["verbs"] and request["resource"]["type"] == "thing"
        marker, uid = request["resource"]["marker"], request["resource"]["uid"]
except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
    if os.environ.get("BAD_PROVIDER") == "dies on nonsense":
        raise
    fail("invalid", "the request has a wrong form")
if fault == "noise":
    print("hello")
if verb == "list":
    list_all()
base = os.path.join(config["state_dir"], uid)
found = link(base + ".mark")
if verb in ("sleep", "wake"):
    if found != marker:
        fail("gone", "it is not there")
    level({"sleep": "stopped", "wake": "awake"}[verb])
    end()
{"provision": provision, "inspect": inspect, "deprovision": deprovision}[verb]()
