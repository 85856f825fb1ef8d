"""Unchanged builds: taken from an earlier generation of the same environment, and from nowhere else."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

from mayfly import Daemon, Repository, wait_until
from test_process import USER, Place

MAKE = """
mkdir -p out/deep out/empty
od -An -N8 -tx1 /dev/urandom > out/stamp
cp src/a.txt out/deep/a.txt
printf '#!/bin/sh\\necho run\\n' > out/run && chmod 755 out/run
chmod 600 out/stamp
ln -sf deep/a.txt out/link
rm -f old.txt
echo more >> changed.txt
"""
FILES = {"src/a.txt": "alpha", "src/b.txt": "beta", "old.txt": "old", "changed.txt": "first\n", "other.txt": "x"}


class Builds(Place):
    """Checkouts of one environment, one after the other, with a store of their own."""

    def __init__(self, root, base):
        super().__init__(root, base)
        self.volume = base / "volume"
        self.volume.mkdir()
        self.volume.chmod(0o777)
        self.n = 0
        _, self.net = self.network()

    def push(self, **files):
        """A new checkout, as git would write it."""
        self.n += 1
        self.checkout = self.base / f"r{self.n}"
        for name, text in {**FILES, **{k.replace("__", "/").replace("_", "."): v for k, v in files.items()}}.items():
            if text is not None:
                path = self.checkout / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        if not self.root and os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", self.checkout], check=True)
        return self.checkout

    def resource(self, command=("sh", "-ec", MAKE), inputs=("src/**",), **more):
        self.provider.environment["generation"] = self.n
        return self.build(self.net, list(command), inputs=list(inputs),
                          store={"type": "bind", "source": str(self.volume)}, **more)

    def made_by(self, **more):
        """The generation whose output the checkout has now: the newest, unless it was taken."""
        self.last = self.provider.lines("provision", self.resource(**more))
        result = self.last[-1]["result"]
        found = re.fullmatch(r"taken from generation (\d+): inputs unchanged", result.get("detail", ""))
        assert (result["state"] or {}).get("detail") == result.get("detail")
        return int(found[1]) if found else self.n

    def words(self):
        return " ".join(line.get("log", "") for line in self.last)

    def kept(self):
        return sorted(p.name for p in (self.volume / "builds" / "kept").iterdir())


@pytest.fixture(params=["root", "rootless"])
def builds(request):
    root = request.param == "root"
    if root and os.getuid() != 0:
        pytest.skip("this part needs root")
    base = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-process-"))
    base.chmod(0o755)
    made = Builds(root, base)
    yield made
    uids = [r["uid"] for r in made.made]
    made.remove_all()
    made.made = [{"uid": uid} for uid in uids]
    left = made.leftovers()
    shutil.rmtree(base)
    assert not left


def look(folder):
    """Everything in a checkout: kind, mode, content, owner."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        st = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else None
        mode = 0 if path.is_symlink() else st.st_mode & 0o777
        when = st.st_mtime_ns if path.is_file() and not path.is_symlink() else 0
        seen[str(path.relative_to(folder))] = (mode, content, when if str(path).startswith(str(folder / "out")) else 0)
    return seen


def test_the_output_is_what_the_build_left(builds):
    first = builds.push()
    assert builds.made_by() == 1
    second = builds.push()
    assert builds.made_by() == 1
    assert look(first) == look(second)
    assert (second / "changed.txt").read_text() == "first\nmore\n" and not (second / "old.txt").exists()
    assert (second / "out" / "empty").is_dir() and os.readlink(second / "out" / "link") == "deep/a.txt"
    assert len({(folder / "out" / "stamp").stat().st_uid for folder in (first, second)}) == 1
    store = builds.volume / "builds"
    assert store.stat().st_mode & 0o777 == 0o700 and not (store / "new").exists()
    again = builds.made[-1]
    assert builds.provider.ask("inspect", again)["ready"] is True
    assert builds.provider.ask("provision", {**again, "state": {"detail": "x"}})["state"] == {"detail": "x"}


def test_what_decides(builds):
    builds.push()
    assert builds.made_by() == 1
    builds.push(other_txt="changed, and no input")
    assert builds.made_by() == 1
    builds.push(src__a_txt="changed")
    assert builds.made_by() == 3
    builds.push(src__new_txt="one more")
    assert builds.made_by() == 4
    builds.push(src__b_txt=None)
    assert builds.made_by() == 5
    builds.push()
    (builds.checkout / "src" / "a.txt").chmod(0o755)
    assert builds.made_by() == 6
    builds.push()
    assert builds.made_by(command=("sh", "-ec", MAKE + ":")) == 7
    builds.push()
    assert builds.made_by(variables={"LEVEL": "high"}) == 8
    builds.push()
    builds.provider.environment["commit"] = "1" * 40
    assert builds.made_by() == 1
    builds.push()
    builds.provider.environment["trust"] = "stranger"
    assert builds.made_by() == 10
    builds.push()
    builds.provider.environment["trust"] = "member"
    builds.provider.config["visible"] = ["/srv"]
    assert builds.made_by() == 11


def test_without_inputs_the_whole_checkout_decides(builds):
    builds.push()
    assert builds.made_by(inputs=()) == 1
    builds.push()
    assert builds.made_by(inputs=()) == 1
    builds.push(other_txt="y")
    assert builds.made_by(inputs=()) == 3


def test_inputs_that_name_nothing_are_never_unchanged(builds):
    for n in (1, 2):
        builds.push()
        assert builds.made_by(inputs=["scr/**"]) == n
        assert "'inputs' name no file" in builds.words()


def test_what_a_push_brought_is_not_overwritten(builds):
    builds.push()
    assert builds.made_by() == 1
    second = builds.push(changed_txt="second\n")
    assert builds.made_by() == 2
    assert (second / "changed.txt").read_text() == "second\nmore\n" and "another by now" in builds.words()
    third = builds.push()
    outside = builds.base / "outside"
    outside.mkdir(mode=0o777)
    os.symlink(outside, third / "out")
    builds.provider.lines("provision", builds.resource(command=("sh", "-ec", MAKE)))
    assert not list(outside.iterdir())


def test_a_failed_build_is_not_kept(builds):
    for n in (1, 2):
        builds.push()
        b = builds.resource(command=("sh", "-ec", "echo half > half; exit 3"))
        builds.provider.fails("provision", b)
        assert builds.kept() == []
    # the same build again, on the checkout that it left: what is there now is not what was pushed
    assert "result" in builds.provider.lines("provision", builds.resource(command=("sh", "-ec", MAKE)))[-1]
    assert builds.kept() == []


def test_a_build_that_was_cut_is_not_kept(builds):
    builds.push()
    b = builds.resource(command=("sh", "-ec", "echo > begun; while [ ! -e go ]; do sleep 0.02; done; echo > end"))
    request = json.dumps(builds.provider.request("provision", b)).encode()
    call = subprocess.Popen([builds.provider.program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            start_new_session=True)
    call.stdin.write(request)
    call.stdin.close()
    wait_until((builds.checkout / "begun").exists, 20)
    os.killpg(call.pid, signal.SIGKILL)
    call.wait()
    (builds.checkout / "go").write_text("")
    assert "result" in builds.provider.lines("provision", b)[-1]
    assert (builds.checkout / "end").exists() and builds.kept() == []
    builds.push()
    assert builds.made_by() == 2 and len(builds.kept()) == 1


def test_builds_of_one_checkout_take_turns(builds):
    slow = "touch {0}.on; sleep 0.3; test ! -e {1}.on; mkdir {0}; echo {0} > {0}/made; rm {0}.on"
    for n in (1, 2):
        folder = builds.push()
        made = [builds.resource(command=("sh", "-ec", slow.format(*pair)), inputs=["src/a.txt"], workload=pair[0])
                for pair in (("one", "two"), ("two", "one"))]
        results = []
        calls = [threading.Thread(target=lambda b=b: results.append(builds.provider.ask("provision", b)))
                 for b in made]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        assert len(results) == 2 and all(("detail" in r) == (n == 2) for r in results), results
        assert sorted(str(p.relative_to(folder)) for p in folder.glob("*/made")) == ["one/made", "two/made"]
        for name in builds.kept():
            listed = json.loads((builds.volume / "builds" / "kept" / name / "list").read_text())["entries"]
            assert len({entry[0].split("/")[0] for entry in listed}) == 1


def test_a_damaged_store_costs_a_build(builds):
    kept = builds.volume / "builds" / "kept"
    damages = [lambda f: (f / "0").write_bytes(b""),
               lambda f: (f / "list").write_text("{"), lambda f: (f / "list").write_text('{"entries":[[1]]}'),
               lambda f: (f / "list").unlink(), shutil.rmtree,
               lambda f: [p.unlink() for p in f.iterdir() if p.name != "list"]]
    builds.push()
    assert builds.made_by() == 1
    for damage in damages:
        damage(kept / builds.kept()[0])
        folder = builds.push()
        assert builds.made_by() == builds.n and (folder / "out" / "deep" / "a.txt").read_text() == "alpha"
    shutil.rmtree(builds.volume / "builds")
    (builds.volume / "builds").mkdir(mode=0o777)
    (builds.volume / "builds").chmod(0o777)  # as somebody else might have made it
    builds.push()
    assert builds.made_by() == builds.n and "cannot be used" in builds.words()


def test_special_files_and_odd_names_are_not_kept(builds):
    for command in ("mkfifo pipe", "touch \"$(printf 'a\\377b')\""):
        builds.push()
        assert builds.made_by(command=("sh", "-ec", command)) == builds.n
        assert "not kept" in builds.words() and builds.kept() == []


def test_the_store_is_bounded(builds):
    for n in range(1, 19):
        builds.push(src__a_txt=str(n))
        assert builds.made_by(command=("sh", "-ec", "cp src/a.txt made")) == n
    assert len(builds.kept()) == 16
    builds.push(src__a_txt="18")
    assert builds.made_by(command=("sh", "-ec", "cp src/a.txt made")) == 18
    builds.push(src__a_txt="1")
    assert builds.made_by(command=("sh", "-ec", "cp src/a.txt made")) == builds.n
    builds.push()
    assert builds.made_by(command=("sh", "-ec", "truncate -s 600M large")) == builds.n
    assert "too large" in builds.words() and len(builds.kept()) == 16


def test_a_push_with_unchanged_inputs():
    daemon = Daemon().start()
    try:
        repository = Repository(daemon.folder)
        product = repository.product("hello")
        product["mayfly.yaml"] = {"workloads": {"web": {"build": {
            "command": "od -An -N8 -tx1 /dev/urandom > built; chmod 755 built", "inputs": ["src/**"]}}}}
        repository.push("main", {**product, "src/a": "1"})
        daemon.ok("project", "add", "shop", repository.bare)
        daemon.ok("up", "shop", "main")
        label = daemon.environments()[0]["label"]
        daemon.ok("exec", label, "--", "cat", "built")
        first = daemon.ok("exec", label, "--", "cat", "built")
        repository.push("main", {"readme": "changed"})
        daemon.ok("up", "shop", "main")
        assert daemon.ok("exec", label, "--", "cat", "built") == first
        assert "taken from generation 1: inputs unchanged" in daemon.ok("show", label)
        events = daemon.api("GET", f"/v1/events?environment={label}&last=100")[1]["events"]
        assert any("build 'web' is ready: taken from generation 1" in event["text"] for event in events), events
        repository.push("main", {"src/a": "2"})
        daemon.ok("up", "shop", "main")
        assert daemon.ok("exec", label, "--", "cat", "built") != first
        # another branch is another environment: the same inputs, and nothing is shared
        repository.push("other", {"src/a": "1"})
        daemon.ok("up", "shop", "other")
        other = next(e["label"] for e in daemon.environments() if e["label"] != label)
        assert daemon.ok("exec", other, "--", "cat", "built") != first
        assert "taken from" not in daemon.ok("show", other)
    finally:
        daemon.clean()
