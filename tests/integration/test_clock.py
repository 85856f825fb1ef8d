"""The machine's clock is set while previews live: nothing is slept or removed because of it, whoever asks is told, and
deadlines go on where they were. The daemon is real; its wall clock is moved through MAYFLY_CLOCK (base/fault.h)."""
import json
import signal
import time

import pytest

from mayfly import BUILD, Daemon, Repository, wait_until

DAY = 86400 * 1000
IDLE_S = 3


def has_points():
    try:
        options = json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    except OSError:
        return False
    return any(o["name"] == "points" and o["value"] for o in options)


pytestmark = pytest.mark.skipif(not has_points(), reason="the build has no points (-Dpoints=true)")


class Clock:
    """A daemon with one preview, whose clock can be set."""

    def __init__(self):
        self.daemon = d = Daemon({"clocks": {"sleep_after_idle": f"{IDLE_S}s"}})
        self.file = d.folder / "clock"
        d.env["MAYFLY_CLOCK"] = str(self.file)
        d.start()
        repository = Repository(d.folder)
        repository.push("main", repository.product("hello", volume=True))
        d.ok("project", "add", "shop", repository.bare)
        d.ok("up", "shop", "main")

    def set(self, ms, restart):
        if restart:
            self.daemon.stop()
        part = self.file.with_suffix(".new")
        part.write_text(str(ms))
        part.rename(self.file)
        if restart:
            self.daemon.start()
        else:  # the kernel would tell it; a signal makes it look as well
            self.daemon.process.send_signal(signal.SIGHUP)

    def status(self):
        return json.loads(self.daemon.ok("status", "--json"))

    def frozen(self):
        return self.status()["frozen"]

    def due(self, name):
        """When that clock ends, as the ledger has it."""
        why = json.loads(self.daemon.ok("why", "main--shop", "--json"))
        return next(c["due_ms"] for c in why["clocks"] if c["name"] == name)


@pytest.fixture
def clock():
    c = Clock()
    yield c
    c.daemon.mayfly("unfreeze", "--accept-clock")
    c.daemon.clean()


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restart"])
@pytest.mark.parametrize("step,words,is_now", [(-DAY, "set back by 1d", "1d behind"),
                                               (3650 * DAY, "set ahead by 3650d", "3650d ahead")], ids=["back", "ahead"])
def test_a_clock_that_was_set_ends_nothing(clock, step, words, is_now, restart):
    d = clock.daemon
    assert d.get("main--shop")[0] == 200  # a visit that the clock was not yet set at
    age = clock.due("delete_after_age")
    clock.set(step, restart)
    wait_until(clock.frozen, 10, "the clock's step being seen")
    seen = time.monotonic()
    assert is_now in clock.frozen()["reason"] and clock.frozen()["clock"]
    told = clock.status()["clock"]
    assert abs(told["offset_ms"] + step) < 60000 and told["trusted_ms"] - told["wall_ms"] == told["offset_ms"]
    assert is_now in told["frozen"]["reason"]
    status, why = d.ok("status"), d.ok("why", "main--shop")
    assert is_now in status and "mayfly unfreeze" in status and "when the clock is right" in status
    assert is_now in why and "mayfly unfreeze" in why
    assert words in d.ok("events") and "by the clocks" in d.ok("events")
    assert clock.due("delete_after_age") == age  # a promise to people stays what it was
    assert "3649d" not in why and "in 20d" in why  # and is told from the time in which it stands

    # long enough for the idle clock, whichever way it was read: the preview is still awake
    time.sleep(max(0, IDLE_S + 1.5 - (time.monotonic() - seen)))
    now = d.show("main--shop")
    assert (now["state"], now["level"]) == ("ready", "awake")
    assert d.get("main--shop")[:2] == (200, "hello")

    refused = d.mayfly("unfreeze")
    assert refused.returncode == 5 and is_now.split()[0] in refused.stderr and "--accept-clock" in refused.stderr
    assert clock.frozen()
    clock.set(0, restart)  # somebody sets it right; the freeze is for a person to lift
    wait_until(lambda: d.ok("events").count("machine's clock was set") == 2, 10, "the second step being seen")
    assert "right again" in clock.frozen()["reason"]
    assert "Released" in d.ok("unfreeze")
    assert not clock.frozen()
    d.wait_state("main--shop", "ready", "stopped", IDLE_S + 15)  # deadlines go on
    assert clock.due("delete_after_age") == age
    assert d.get("main--shop")[:2] == (200, "hello")  # and what sleeps wakes


def test_a_pin_for_an_hour_is_for_an_hour(clock):
    d = clock.daemon
    clock.set(-DAY, False)
    wait_until(clock.frozen, 10, "the clock's step being seen")
    d.ok("unfreeze", "--accept-clock")
    d.ok("pin", "main--shop", "--for", "1h")
    gates = {g["name"]: g for g in json.loads(d.ok("why", "main--shop", "--json"))["gates"]}
    left = gates["protection"]["until_ms"] - json.loads(d.ok("why", "main--shop", "--json"))["now_ms"]
    assert gates["protection"]["keeps"] and 3500 * 1000 < left <= 3600 * 1000, gates
    d.ok("unpin", "main--shop")


def test_a_clock_that_was_behind_and_is_right_now_is_accepted(clock):
    """The machine came up in the past, previews were made, the time was set: none of them is a month old."""
    d = clock.daemon
    clock.set(30 * DAY, False)
    wait_until(clock.frozen, 10, "the clock's step being seen")
    left = clock.due("delete_after_age") - clock.status()["clock"]["trusted_ms"]
    assert "30d ahead" in d.mayfly("unfreeze").stderr
    words = d.ok("unfreeze", "--accept-clock")
    assert "All deadlines are later by 30d" in words and "for an hour" in words
    status = clock.status()
    assert status["frozen"] is None and status["clock"]["offset_ms"] == 0
    assert abs(clock.due("delete_after_age") - status["clock"]["trusted_ms"] - left) < 60000
    assert 3500 * 1000 < status["hold_until_ms"] - status["now_ms"] <= 3600 * 1000
    assert "nothing is slept or removed by the clocks before" in d.ok("status")
    assert "held until" in d.ok("why", "main--shop")
    time.sleep(IDLE_S + 1.5)
    assert d.show("main--shop")["level"] == "awake"
    assert "the hour after an absence" in d.ok("unfreeze")
    d.wait_state("main--shop", "ready", "stopped", IDLE_S + 15)
    assert json.loads(d.ok("unfreeze", "--json"))["released"] == []
    assert d.ok("unfreeze").strip() == "Nothing was held"


def test_a_step_and_a_freeze_are_both_told(clock):
    d = clock.daemon
    d.ok("freeze", "--reason", "audit")
    clock.set(DAY, False)
    wait_until(lambda: clock.status()["clock"]["frozen"], 10, "the clock's step being seen")
    status = d.ok("status")
    assert "audit" in status and "1d ahead" in status
    assert clock.frozen()["reason"] == "audit" and not clock.frozen()["clock"]
    d.ok("unfreeze", "--accept-clock")
    assert clock.frozen() is None and clock.status()["clock"]["frozen"] is None
