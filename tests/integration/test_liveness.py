"""A preview whose container fails its liveness probe: started again by its keeper, told by the daemon."""
import contextlib
import json
import re

import pytest

from mayfly import Daemon, Repository, wait_until


@pytest.fixture
def daemon():
    d = Daemon({"definitions": [{"name": "impatient", "match": {"type": "workload"}, "provider": "process",
                                 "params": {"liveness_interval_ms": 50}}]}).start()
    yield d
    d.clean()


def test_the_environment_says_that_its_container_was_started_again(daemon):
    repository = Repository(daemon.folder, "shop")
    repository.push("main", repository.product("well", livenessProbe={
        "exec": {"command": ["sh", "-c", "! test -e /tmp/sick"]}}))
    daemon.ok("project", "add", "shop", repository.bare)
    daemon.ok("up", "shop", "main")
    label = "main--shop"
    assert daemon.get(label)[:2] == (200, "well")

    def told():
        events = json.loads(daemon.ok("events", label, "--json"))["events"]
        return [event["text"] for event in events if "started again" in event["text"]]

    assert not told()
    for _ in range(10):  # on a busy machine it may be up again before the daemon has looked: then there is no event
        daemon.mayfly("exec", label, "--", "touch", "/tmp/sick")
        with contextlib.suppress(AssertionError):
            wait_until(told, 5, "the event")
            break
    assert re.search(r"container 'main' ended \d+ times? and is started again", told()[0])
    wait_until(lambda: daemon.show(label)["state"] == "ready" and daemon.get(label)[:2] == (200, "well"), 20, "the next start")
    log = daemon.ok("logs", label)
    assert "failed its liveness probe 3 times; started again" in log
