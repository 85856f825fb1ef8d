"""What the integration tests share: where the programs are, and speaking to a provider.

MAYFLY_BUILD names the build folder to test (default: build/asan of this tree).
"""
import json
import os
import pathlib
import secrets
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", ROOT / "build" / "asan"))


def provider_program(name):
    """The path of mayfly-provider-NAME."""
    return BUILD / "providers" / name / f"mayfly-provider-{name}"


def provider_call(program, request, timeout=60, env=None):
    """One call of a provider: the parsed lines of its answer and its exit status (negative: signal)."""
    text = request if isinstance(request, (bytes, str)) else json.dumps(request)
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([str(program)], input=data, capture_output=True, timeout=timeout, env=env,
                          check=False, start_new_session=True)
    assert b"AddressSanitizer" not in done.stderr and b"runtime error" not in done.stderr, \
        done.stderr.decode(errors="replace")
    return [json.loads(line) for line in done.stdout.decode().splitlines()], done.returncode


def new_id(kind):
    return kind + "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(19))


def wait_until(condition, seconds=10, what="the condition"):
    """Waits until condition() is true and returns what it returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class Provider:
    """A provider with a state folder, an installation and an environment of its own."""

    def __init__(self, name, state_dir, program=None, **config):
        self.program = program or provider_program(name)
        state_dir = pathlib.Path(state_dir)
        state_dir.mkdir(parents=True, exist_ok=True)
        state_dir.chmod(0o711)
        self.state_dir = state_dir
        self.installation = new_id("i")
        self.config = {"state_dir": str(state_dir), "installation": self.installation,
                       "domain": "preview.localhost", "url": "http://%s.preview.localhost:8150", **config}
        self.environment = {
            "id": new_id("e"), "label": "main--shop", "host": "main--shop.preview.localhost",
            "url": "http://main--shop.preview.localhost:8150", "project": "shop", "branch": "main",
            "commit": "0" * 40, "generation": 1, "slot": 1, "owner": "ann", "team": "shop",
            "trust": "member", "workloads": {}, "values": {}}

    def resource(self, kind, params=None, uid=None, state=None, **more):
        uid = uid or new_id("r")
        return {"uid": uid, "type": kind, "class": "default", "id": kind, "name": kind,
                "marker": f"{self.installation}/{self.environment['id']}/{uid}", "slot": 1,
                "generation": 1, "params": params or {}, "state": state, **more}

    def request(self, verb, resource=None, deadline_ms=60000, **more):
        request = {"protocol": 1, "verb": verb, "call": new_id("c"), "deadline_ms": deadline_ms,
                   "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
                   "config": self.config, "environment": self.environment if resource else {}, **more}
        if resource:
            request["resource"] = resource
        return request

    def lines(self, verb, resource=None, **more):
        lines, status = provider_call(self.program, self.request(verb, resource, **more))
        assert status == 0, (status, lines)
        assert sum("result" in line or "error" in line for line in lines) == 1, lines
        assert "result" in lines[-1] or "error" in lines[-1], lines
        return lines

    def ask(self, verb, resource=None, **more):
        """The result of a call that must succeed."""
        last = self.lines(verb, resource, **more)[-1]
        assert "result" in last, last
        return last["result"]

    def fails(self, verb, resource=None, **more):
        """The error of a call that must fail."""
        last = self.lines(verb, resource, **more)[-1]
        assert "error" in last, last
        return last["error"]

    def items(self):
        """The items of list, which must be complete."""
        lines = self.lines("list")
        assert lines[-1]["result"]["complete"] is True
        return {line["item"]["uid"]: line["item"] for line in lines if "item" in line}
