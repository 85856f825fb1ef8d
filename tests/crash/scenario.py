"""What a day brings to one installation, in a few seconds. Every step can be repeated after a crash in it."""
import json
import os
import pathlib
import signal
import sqlite3
import threading
import time

import world

A, B, C = "busy-a", "busy-b", "busy-c"
HOUR_MS = 3600 * 1000


class Scenario:
    def __init__(self, host, repository):
        self.host, self.repository = host, repository
        # What was answered and must be in the ledger from then on: (kind, label, value), see world.PROMISES.
        # One that is taken back goes from here before the daemon is asked to.
        self.promises = []

    @staticmethod
    def label(branch):
        return f"{branch}--crash"

    def promised(self, kind, label, value):
        self.promises.append((kind, label, value))

    def take_back(self, *kinds):
        self.promises = [promise for promise in self.promises if promise[0] not in kinds]

    def push(self, branch, text):
        commit = self.repository.set(branch, text)
        status, _ = self.host.call("POST", "/v1/projects/crash/push", {"branch": branch, "commit": commit},
                                   may=(404, 409))
        if commit and status < 300:
            self.promised("push", self.label(branch), commit)

    def live(self, branch, text):
        label = self.label(branch)
        self.host.wait(f"{label} answers {text!r}", lambda: self.host.get(label) == (200, text))

    def state(self, branch):
        return self.host.environment_of(self.label(branch))

    def act(self, branch, verb, body=None):
        return self.host.call("POST", f"/v1/environments/{self.label(branch)}/{verb}", body or {},
                              may=(404, 409, 410))

    def project(self):
        self.host.call("POST", "/v1/projects", {"name": "crash", "repository": str(self.repository.bare)}, may=(409,))

    def run(self):
        self.project()
        self.push(A, "one")
        self.push(B, "two")
        self.live(A, "one")
        self.live(B, "two")
        self.look_into(A)
        self.hold(A)
        self.push(A, "three")  # a second generation beside the first
        self.backup()
        self.sleep_and_wake(B, "two")
        self.cut_off(C, "slow")
        self.live(A, "three")
        self.push(A, "broken")  # leaves the last good one
        self.failed(A, "three")
        self.act(A, "retry")
        self.failed(A, "three")
        self.close()

    def failed(self, branch, serving):
        self.host.wait("the broken generation failed",
                       lambda: self.state(branch).get("cause") and self.host.get(self.label(branch)) == (200, serving))

    def hold(self, branch):
        """What people say about an environment's life, and about all of them."""
        label = self.label(branch)
        for verb, body, told in (("extend", {"by_ms": HOUR_MS}, lambda e: e["extended_until_ms"]),
                                 ("pin", {"until_ms": int(time.time() * 1000) + HOUR_MS, "reason": "crash"},
                                  lambda e: e["pinned"]["until_ms"])):
            status, text = self.act(branch, verb, body)
            assert status < 300, f"{verb}: {status} {text}"
            answer = json.loads(text)
            self.promised(verb, label, told(answer.get("environment", answer)))
        self.take_back("thaw")
        self.host.call("POST", "/v1/freeze", {"on": True, "reason": "crash test"})
        self.promised("freeze", None, "crash test")
        status, text = self.act(branch, "down")
        assert status == 409, f"down in a freeze: {status} {text}"
        self.host.reload()
        self.take_back("freeze")
        self.host.call("POST", "/v1/freeze", {"on": False})
        self.promised("thaw", None, None)

    def backup(self):
        """It is a whole ledger, and holds what was promised before it was asked for."""
        before = list(self.promises)
        folder = pathlib.Path(self.host.home) / "copy"
        folder.mkdir(exist_ok=True)
        (folder / "ledger.db").write_bytes(self.host.download("/v1/backup"))
        wrong = world.broken(folder) + world.lost(folder, before)
        assert not wrong, "in a backup: " + "\n".join(wrong)

    def cut_off(self, branch, text):
        """Taken away while it is being built."""
        def builds():
            return world.rows(self.host.state, "SELECT 1 FROM intent i JOIN resource r ON r.uid = i.resource_uid"
                                               " JOIN environment e ON e.id = i.environment_id"
                                               " WHERE e.branch = ? AND r.type = 'build' AND i.verb = 'provision'"
                                               " AND i.outcome IS NULL", branch)
        self.push(branch, text)
        self.host.wait(f"{branch} is being built", builds)
        self.act(branch, "down")

    def look_into(self, branch):
        """What only looks on: logs, exec, lists; and the watch of the provider ends and comes back."""
        self.host.call("POST", "/v1/orphans/look", {})
        self.host.call("GET", f"/v1/environments/{self.label(branch)}/logs?lines=2", may=(404, 409))
        self.act(branch, "exec", {"command": ["true"]})
        for pid in self.host.children("mayfly-provider-process"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def sleep_and_wake(self, branch, text):
        def asleep():
            """Asked again: a crash may come between the wish and the ledger, or a visit wake it."""
            level = self.state(branch).get("level")
            if level == "awake":
                self.act(branch, "sleep")
            return level == "stopped"
        self.act(branch, "sleep")
        self.host.wait(f"{branch} is asleep", asleep)
        self.live(branch, text)

    def close(self):
        self.take_back("pin")
        self.act(A, "unpin")
        self.repository.set(B, None)  # nobody says so: the comparison finds it
        self.host.call("POST", "/v1/projects/crash/compare", {}, may=(404, 409))
        for branch in (A, B, C):
            self.act(branch, "down")
        for branch in (A, B, C):
            self.host.wait(f"{branch} is gone", lambda branch=branch: self.state(branch).get("state", "gone") == "gone")

    def check(self):
        """The ledger and the world agree that nothing is left, and that nothing was forgotten."""
        host = self.host
        last = []

        def clean():
            last[:] = world.ledger_leftovers(host.state) or world.leftovers(host.state, host.own_pids())
            if not last:
                last[:] = world.haproxy_routes(host.state)
            if not last:
                answers = {branch: host.get(self.label(branch))[0] for branch in (A, B, C)}
                last[:] = [f"{branch} answers {status}" for branch, status in answers.items() if status != 410]
            return not last

        try:
            host.wait("nothing is left", clean, 30, 0.1)
        except AssertionError:
            raise AssertionError("left behind:\n  " + "\n  ".join(last) + "\n" + host.log_tail()) from None
        wrong = world.lost(host.state, self.promises) + world.broken(host.state)
        assert not wrong, "\n".join(wrong)
        host.verify_log()


LIVE_ON = ("mayfly-keeper ", "mayfly-relay ", "haproxy ", "/usr/sbin/haproxy ")  # when the daemon dies


class Killer(threading.Thread):
    """Kills the daemon at random moments, now and then a keeper, a provider program or HAProxy. After each
    kill, while the daemon is dead, nothing may be in the world that the ledger does not know, and nothing
    acknowledged may be missing from the ledger."""

    PAUSES = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1)

    def __init__(self, scenario, random, kills):
        super().__init__(daemon=True)
        self.scenario, self.host, self.random, self.left = scenario, scenario.host, random, kills
        self.stop = threading.Event()
        self.killed = {"daemon": 0, "keeper": 0, "provider": 0, "haproxy": 0}
        self.wrong, self.providers = [], []

    def run(self):
        while self.left > 0 and not self.wrong:
            if self.stop.wait(self.random.choice(self.PAUSES) * self.random.uniform(0.2, 2)):
                return
            with self.host.gate:
                self.strike()

    def strike(self):
        others = self.others() if self.random.random() < 0.5 else []
        kind, pid = self.random.choice(others) if others else ("daemon", None)
        if kind != "daemon":
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
        if kind == "daemon" or self.random.random() < 0.5:
            if not self.host.alive():
                return
            self.providers = world.descendants(self.host.process.pid, LIVE_ON)
            self.host.kill()
            try:
                self.look()
            except (OSError, AssertionError, sqlite3.Error, ValueError) as error:
                self.wrong.append(f"the world cannot be looked at: {error!r}")
        self.killed[kind] += 1
        self.left -= 1

    def look(self):
        state = self.host.state
        for _ in range(400):  # they die with the daemon, each as soon as the kernel comes to it
            outlived = [pid for pid, begun in self.providers
                        if world.begun(pid) == begun and world.alive(pid) and not world.read(f"/proc/{pid}/cmdline").startswith(LIVE_ON)]
            if not outlived:
                break
            time.sleep(0.005)
        else:
            self.wrong += [f"outlives its daemon: {pid} {world.read(f'/proc/{pid}/cmdline')}" for pid in outlived]
        if world.is_made(state):
            with world.reading(state):
                self.wrong += world.unknown(state) + world.lost(state, self.scenario.promises)

    def others(self):
        """Keepers, provider programs and HAProxy of this installation, each kind as likely as the others."""
        kinds = {"provider": self.host.children("mayfly-provider"),
                 "keeper": world.keepers(world.installation_of(self.host.state)),
                 "haproxy": [pid for pid in [self.host.haproxy()] if pid]}
        kinds = {kind: pids for kind, pids in kinds.items() if pids}
        if not kinds:
            return []
        kind = self.random.choice(sorted(kinds))
        return [(kind, pid) for pid in kinds[kind]]
