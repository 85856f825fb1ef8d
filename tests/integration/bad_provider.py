#!/usr/bin/python3 -ISE
"""A provider that keeps every rule but the one its config names in "fault": each must be found out."""
import json
import os
import re
import signal
import sys
import time

TYPE = {"type": "thing", "scope": "environment",
        "verbs": ["provision", "inspect", "deprovision", "sleep", "wake", "usage"],
        "params": {"type": "object", "additionalProperties": False,
                   "properties": {"size": {"type": "integer", "minimum": 1, "maximum": 9},
                                  "mode": {"type": "string", "enum": ["a", "b"]}}},
        "outputs": ["password", "pin"], "cost": "nothing", "computed": False}
NAME = re.compile(r"[0-9a-z]{1,64}")


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def end(**result):
    say({"result": result, **({"log": "x"} if fault == "two keys" else {})})
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


def leave(*command, session=False):
    """A process that nobody waits for."""
    if os.fork() == 0:
        if session:
            os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.execvp(command[0], command)


def describe():
    types = [TYPE]
    wrong = {"unknown scope": {"scope": "galaxy"}, "unknown verb": {"verbs": TYPE["verbs"] + ["teleport"]},
             "schema is none": {"params": {"type": "object", "properties": []}},
             "no way to wake": {"verbs": TYPE["verbs"][:4]}, "outputs of numbers": {"outputs": [1]}}
    where = os.environ.get("BAD_PROVIDER", "")
    if where in wrong:
        types = [{**TYPE, **wrong[where]}]
    if where == "type twice":
        types = [TYPE, TYPE]
    end(protocol=1, name="bad", verbs=["list"] if where == "no describe" else ["describe", "list"],
        types=types)


def params_are_good(params):
    if fault == "any params":
        return True
    if fault == "any size":
        return set(params) <= {"size", "mode"} and params.get("mode", "a") in ("a", "b") and \
            isinstance(params.get("size", 1), int)
    if fault == "any mode":
        return set(params) <= {"size", "mode"} and isinstance(params.get("size", 1), int) and \
            1 <= params.get("size", 1) <= 9 and isinstance(params.get("mode", "a"), str)
    return set(params) <= {"size", "mode"} and isinstance(params.get("size", 1), int) and \
        1 <= params.get("size", 1) <= 9 and params.get("mode", "a") in ("a", "b")


def words_of_faults(password, pin):
    if fault == "noise":
        print("hello")
    if fault == "no utf-8":
        sys.stdout.buffer.write(b'{"log":"\xff\x1b[2J"}\n')
    for name, line in {"secret in log": {"log": "made " + password},
                       "secret in progress": {"progress": {"done": 1, "total": 1, "text": password}},
                       "pin in log": {"log": f"made {pin}."}, "log of numbers": {"log": 7},
                       "progress in words": {"progress": "half"},
                       "item of nothing": {"item": 9}}.items():
        if fault == name:
            say(line)
    if fault == "secret on stderr":
        print(password, file=sys.stderr)
    if fault == "config in log":
        say({"log": f"config is {config}"})
    if fault == "values in log":
        say({"log": f"values are {request['environment']['values']}"})


def provision():
    if fault == "slow":
        time.sleep(1)
    if fault == "hangs":
        time.sleep(600)
    if fault == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(4)
    if fault == "leaves a process":
        leave("sh", "-c", "trap '' TERM; sleep 5")
        time.sleep(1)
    if fault == "leaves a child":
        leave("sleep", "3")
    if fault == "leaves a session":
        leave("sleep", "20", session=True)
    params = request["resource"]["params"]
    if not params_are_good(params):
        fail("invalid", "params: " + (json.dumps(params) if fault == "params in error" else "no"))
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
    if fault == "wakes with nothing" and level() == "awake" and link(base + ".woken"):
        uid_now = uid + "x"
    else:
        uid_now = uid
    password, pin = "s3cret-" + uid_now, int.from_bytes(uid.encode()[-6:], "big")
    if fault == "changing outputs":
        password += str(time.monotonic())
    words_of_faults(password, pin)
    outputs, secret = {"password": password, "pin": pin}, ["password", "pin"]
    if fault == "missing output":
        outputs, secret = {}, []
    if fault == "null output":
        outputs, secret = {"password": password, "pin": None}, ["password"]
    if fault == "more outputs":
        outputs["host"] = "here"
    if fault == "secret of nothing":
        secret = ["nothing"]
    more = {"detail": password} if fault == "secret in detail" else {}
    if fault == "secret in note":
        more = {"notes": ["made with " + password]}
    if fault == "level of numbers":
        more = {"level": 7}
    end(state={"p": password} if fault == "secret in state" else {}, outputs=outputs, secret=secret, **more)


def inspect():
    shown = marker if fault == "echoes the marker" and found else found
    seen = bool(found) and not (fault == "needs its state" and request["resource"]["state"] is None)
    ready = {"never ready": False, "ready in words": "yes"}.get(fault, bool(found))
    end(present="present" if seen or fault == "always present" else "absent", marker=shown if seen else "",
        ready=ready, level="awake" if fault == "no level" else level())


def deprovision():
    if found and found != marker and fault not in ("touches others", "removes others"):
        fail("conflict", "another marker")
    if not found and fault == "absent is an error":
        fail("gone", "it is not there")
    if fault != "does not remove":
        for end_of_name in (".level", ".woken") + (() if fault == "leaves a file" else (".file",)) + (".mark",):
            if os.path.lexists(base + end_of_name):
                os.unlink(base + end_of_name)
        if fault == "leaves a file":
            open(base + ".file", "w", encoding="utf-8").close()
    entry = [{"kind": "file", "name": "s3cret-" + uid if fault == "secret in receipt" else uid}]
    if fault == "no receipt":
        end()
    gone = found or fault == "removed twice"
    end(removed=entry if gone else [], absent=[] if gone else entry)


def list_all():
    names = sorted(name for name in os.listdir(config["state_dir"]) if name.endswith(".mark"))
    if fault == "short list":
        names = names[1:]
    if fault == "first page of a list":
        names = names[:3]
    if fault == "sleepers not listed":
        names = [n for n in names
                 if link(os.path.join(config["state_dir"], n[:-5] + ".level")) != "stopped"]
    for name in names:
        there = link(os.path.join(config["state_dir"], name))
        parts = there.split("/")
        if parts[0] == config["installation"] or fault == "lists others":
            item = {"uid": parts[2], "marker": there, "type": "thing", "environment": parts[1],
                    "present": "present"}
            if fault == "bad item" and name == names[-1]:
                item["environment"] = "e"
            if fault == "secret in item":
                item["detail"] = "s3cret-" + parts[2]
            for _ in range(2 if fault == "lists twice" else 1):
                say({"item": item})
    if fault == "lists strangers" or fault == "lists strangers beside ours" and names:
        say({"item": {"uid": "r1", "marker": config["installation"] + "/e/r1", "type": "thing",
                      "environment": "e", "present": "present"}})
    end(complete="true" if fault == "complete in words" else fault != "incomplete list")


def wake_or_sleep():
    if found and found != marker and fault != "sleeps for others":
        fail("conflict", "another marker")
    if not found:
        fail("gone", "it is not there")
    if verb == "wake" and fault == "wakes with nothing" and level() == "stopped":
        os.symlink("x", base + ".woken")
    level({"sleep": "stopped", "wake": "awake"}[verb])
    end()


def usage():
    say({"item": {"bytes": 4096}})
    end()


def read_request():
    """The request, when it is one; everything in it that becomes a name is checked."""
    any_length = os.environ.get("BAD_PROVIDER") == "any length"
    text = sys.stdin.buffer.read(-1 if any_length else 8 * 1024 * 1024 + 1)
    asked = json.loads(text)
    assert asked["protocol"] == 1
    assert len(text) <= 8 * 1024 * 1024 or any_length
    if asked["verb"] == "describe":
        return asked
    told = asked["config"]
    assert isinstance(told["installation"], str) and isinstance(told["state_dir"], str)
    if asked["verb"] != "list":
        resource = asked["resource"]
        assert asked["verb"] in TYPE["verbs"] and resource["type"] == "thing"
        if told.get("fault") != "any name":
            assert NAME.fullmatch(resource["uid"])
            assert [bool(NAME.fullmatch(part)) for part in resource["marker"].split("/")] == [True] * 3
    return asked


fault = ""
try:
    request = read_request()
    verb = request["verb"]
except (ValueError, KeyError, TypeError, AssertionError, RecursionError, AttributeError):
    if os.environ.get("BAD_PROVIDER") == "dies on nonsense":
        raise
    fail("invalid", "the request has a wrong form")
if verb == "describe":
    describe()
config = request["config"]
fault = config.get("fault", "")
if verb == "list":
    list_all()
marker, uid = request["resource"]["marker"], request["resource"]["uid"]
base = os.path.join(config["state_dir"], uid)
found = link(base + ".mark")
{"provision": provision, "inspect": inspect, "deprovision": deprovision, "sleep": wake_or_sleep,
 "wake": wake_or_sleep, "usage": usage}[verb]()
