"""mayfly provider check: our providers and the documentation's example pass it, and a provider that breaks
one rule is found out by that rule."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest

from mayfly import BUILD, ROOT, SWIFT
from test_git import Repository

MAYFLY = BUILD / "orchestrator" / "mayfly"
BAD = ROOT / "tests" / "integration" / "bad_provider.py"

pytestmark = pytest.mark.skipif(not MAYFLY.exists(), reason=f"{MAYFLY} is not built")

WORKLOADS = {"api": {"ports": {"http": {"port": 80, "target_port": 8080, "protocol": "TCP"}},
                     "public": True}}


def provider_program(name):
    return SWIFT / "providers" / name / f"mayfly-provider-{name}"


def check(program, *args, config=None, params=None, folder=None, env=None):
    """Exit status and the parsed answer of provider check --json."""
    command = [str(MAYFLY), "provider", "check", str(program), "--json", *args]
    for option, content in (("--config", config), ("--params", params)):
        if content is not None:
            path = folder / (option[2:] + ".json")
            path.write_text(json.dumps(content))
            command += [option, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
    assert "AddressSanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def broken(answer):
    return [f"{rule['type']}: {rule['rule']}: {rule['seen']}" for rule in answer["rules"]
            if rule["verdict"] == "not ok"]


def kept(program, **more):
    status, answer, _ = check(program, **more)
    assert status == 0 and answer["kept"] is True, broken(answer)
    return {(rule["type"], rule["rule"]): rule["verdict"] for rule in answer["rules"]}


def test_address(tmp_path):
    rules = kept(provider_program("address"), folder=tmp_path, params={
        "service": {"params": {"workload": "api"}, "environment": {"workloads": WORKLOADS}},
        "service-port": {"params": {"workload": "api", "port": "http"},
                         "environment": {"workloads": WORKLOADS}},
        "dns": {},
        "route": {"params": {"workload": "api", "port": 80, "path": "/"},
                  "environment": {"workloads": WORKLOADS}}})
    assert {kind for kind, _ in rules if kind} == {"service", "service-port", "dns", "route"}
    assert not [rule for rule in rules if rule[1] == "all rules"]


def test_environment(tmp_path):
    rules = kept(provider_program("environment"), folder=tmp_path, params={
        "environment": {"environment": {"values": {"TOKEN": "s3cret-value", "LEVEL": "debug"}}}})
    assert rules["environment", "secrets stay out of words and state"] == "ok"


def test_volume(tmp_path):
    rules = kept(provider_program("volume"), folder=tmp_path)
    assert rules["volume", "nothing is left"] == "ok"


def test_git(tmp_path):
    repository = Repository(tmp_path / "src" / "shop")
    Repository(tmp_path / "src" / "lib").commit({"lib": "x"})
    inner = Repository(tmp_path / "src" / "other").commit({"o": "x"})
    commit = repository.tree(("160000", b"sub", inner), ("100644", b".gitmodules",
                             b'[submodule "s"]\npath=sub\nurl=../other\n'),
                             *[("100644", b"f%d" % i, b"x" * 4000) for i in range(200)])
    rules = kept(provider_program("git"), folder=tmp_path, params={
        "checkout": {"params": {"repository": str(repository.path), "commit": commit}}})
    assert rules["checkout", "nothing is left"] == "ok"


def test_the_documented_example():
    rules = kept(ROOT / "packaging" / "doc" / "example-provider")
    assert rules["password", "secrets stay out of words and state"] == "ok"


PROCESS = provider_program("process")


@pytest.mark.skipif(not PROCESS.exists() or os.getuid() != 0, reason="needs the process provider, and root")
@pytest.mark.parametrize("kind", ["network", "build", "workload"])
def test_process(kind):
    with tempfile.TemporaryDirectory(prefix="mayfly-test-") as name:
        base = pathlib.Path(name)
        base.chmod(0o755)
        checkout = base / "checkout"
        checkout.mkdir()
        (checkout / "index.html").write_text("hello")
        needs = [{"name": "network", "type": "network", "params": {}}]
        common = {"workload": "api", "directory": str(checkout), "checkout": str(checkout),
                  "network": "${network.namespace}"}
        container = {"name": "main", "image": ".", "command": ["python3", "-m", "http.server", "8080"],
                     "args": [], "variables": {}, "files": [], "volumes": [], "before": [], "limits": {},
                     "liveness": None, "readiness": None}
        ports = {"http": {"port": 8080, "target_port": 8080, "protocol": "TCP"}}
        status, answer, words = check(PROCESS, "--type", kind, folder=base, params={
            "network": {},
            "build": {"needs": needs, "params": {**common, "command": ["sh", "-c", "echo built >out"],
                                                 "variables": {}, "timeout_ms": 30000}},
            "workload": {"needs": needs, "params": {
                **common, "address": "${network.address}", "siblings": ["api"], "ports": ports,
                "containers": [container]}}})
        assert status == 0 and answer["kept"] is True, broken(answer) or words
        assert any(rule["type"] == kind and rule["verdict"] == "ok" for rule in answer["rules"])


def test_no_provider_of_the_tree_is_left_out():
    """Each program that the build makes is the subject of a test above."""
    built = {path.parent.name for path in (SWIFT / "providers").glob("*/mayfly-provider-*")
             if path.is_file() and not path.is_symlink()}
    assert built and built <= {"address", "environment", "git", "process", "volume"}
    assert all(f"def test_{name}(" in pathlib.Path(__file__).read_text() for name in built)


def test_bad_provider_itself_is_good(tmp_path):
    kept(BAD, folder=tmp_path, config={"fault": ""})


@pytest.mark.parametrize("fault, rule", [
    ("two answers", "keeps the protocol"), ("exit status", "keeps the protocol"),
    ("noise", "keeps the protocol"), ("two keys", "keeps the protocol"),
    ("no utf-8", "keeps the protocol"), ("log of numbers", "keeps the protocol"),
    ("progress in words", "keeps the protocol"), ("item of nothing", "keeps the protocol"),
    ("level of numbers", "keeps the protocol"), ("leaves a child", "keeps the protocol"),
    ("unknown class", "wrong params"), ("any params", "wrong params"), ("any size", "wrong params"),
    ("any mode", "wrong params"), ("any name", "hostile names"),
    ("ignores SIGTERM", "cancellation"), ("ignores SIGTERM", "deadline"),
    ("leaves a process", "cancellation"), ("touches others", "another marker"),
    ("removes others", "another marker"), ("echoes the marker", "another marker"),
    ("sleeps for others", "another marker"),
    ("repeat fails", "provision twice"), ("repeat fails", "cut answer"),
    ("changing outputs", "provision twice"), ("needs its state", "by name alone"),
    ("never ready", "inspect finds it"), ("ready in words", "inspect finds it"),
    ("secret in log", "secrets"), ("secret in progress", "secrets"), ("secret on stderr", "secrets"),
    ("secret in state", "secrets"), ("secret in detail", "secrets"), ("secret in note", "secrets"),
    ("pin in log", "secrets"), ("config in log", "secrets"), ("values in log", "secrets"),
    ("missing output", "provision gives"), ("null output", "provision gives"),
    ("more outputs", "provision gives"), ("secret of nothing", "provision gives"),
    ("always present", "never made"), ("no level", "sleep and wake"),
    ("wakes with nothing", "sleep and wake"), ("absent is an error", "twice too"),
    ("does not remove", "twice too"), ("no receipt", "twice too"), ("removed twice", "twice too"),
    ("leaves a file", "nothing is left"), ("leaves a session", "nothing is left"),
    ("thing before mark", "repeat after kill -9"), ("short list", "list is complete"),
    ("first page of a list", "list is complete"), ("sleepers not listed", "list is complete"),
    ("bad item", "list is complete"), ("lists strangers beside ours", "list is complete"),
    ("lists twice", "list is complete"), ("incomplete list", "list is complete"),
    ("complete in words", "list is complete"), ("lists strangers", "new installation"),
    ("lists others", "one installation")])
def test_each_fault_is_found_by_its_rule(tmp_path, fault, rule):
    words = "secrets" if rule == "keeps the protocol" else rule
    status, answer, _ = check(BAD, "--rule", words, config={"fault": fault}, folder=tmp_path)
    assert status == 1 and answer["kept"] is False and answer["complete"] is False
    assert any(rule in line for line in broken(answer)), broken(answer)


@pytest.mark.parametrize("fault, heard", [("secret in item", "list is complete"), ("secret in receipt", "twice too"),
                                          ("params in error", "wrong params")])
def test_what_other_rules_heard_is_searched_too(tmp_path, fault, heard):
    status, answer, _ = check(BAD, "--rule", "7", config={"fault": fault}, folder=tmp_path)
    assert status == 0 and answer["kept"] is True, broken(answer)  # nothing was said
    status, answer, _ = check(BAD, "--rule", "7", "--rule", heard, config={"fault": fault}, folder=tmp_path)
    assert status == 1 and "secrets stay out" in broken(answer)[0] and len(broken(answer)) == 1, broken(answer)


@pytest.mark.parametrize("fault, rule", [
    ("dies on nonsense", "nonsense is refused"), ("any length", "oversized"),
    *((fault, "describe is consistent") for fault in (
        "unknown scope", "unknown verb", "schema is none", "no way to wake", "outputs of numbers",
        "type twice", "no describe"))])
def test_faults_of_the_whole_program_are_found(tmp_path, fault, rule):
    status, answer, _ = check(BAD, "--rule", rule, folder=tmp_path,
                              env={**os.environ, "BAD_PROVIDER": fault})
    assert status == 1 and rule in broken(answer)[0]


def test_a_call_that_hangs_is_asked_once(tmp_path):
    begin = time.monotonic()
    status, answer, _ = check(BAD, "--timeout", "500", config={"fault": "hangs"}, folder=tmp_path)
    assert status == 1 and answer["complete"] is False and time.monotonic() - begin < 30
    assert any(rule["rule"] == "the other rules" and "provision did not end" in rule["seen"]
               for rule in answer["rules"])


def test_an_interrupted_check_takes_away_what_it_made(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"fault": "slow"}))
    before = set(pathlib.Path("/tmp").glob("mayfly-check.*"))
    with subprocess.Popen([str(MAYFLY), "provider", "check", str(BAD), "--config",
                           str(tmp_path / "config.json")], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if "provision twice" in line:
                break
        mine = set(pathlib.Path("/tmp").glob("mayfly-check.*")) - before
        run.send_signal(signal.SIGINT)
        words = run.communicate(timeout=60)
    assert run.returncode == 2 and "all that the check made is removed" in words[1]
    assert "\nnot ok" not in words[0] and "not everything was tested" in words[0]
    assert mine and not any(path.exists() for path in mine)


def test_without_params_the_answer_says_what_was_not_tested(tmp_path):
    status, answer, _ = check(provider_program("git"), folder=tmp_path)
    assert status == 0 and answer["kept"] is True and answer["complete"] is False
    assert any("give --params" in rule["seen"] for rule in answer["rules"])
    status, answer, _ = check(provider_program("environment"), folder=tmp_path)
    assert status == 0 and answer["complete"] is True


def test_verdicts_are_printable_and_say_where_to_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"fault": "no utf-8"}))
    done = subprocess.run([str(MAYFLY), "provider", "check", str(BAD), "--rule", "secrets", "--config",
                           str(tmp_path / "config.json")], capture_output=True, check=False)
    assert done.returncode == 1 and b"\x1b" not in done.stdout
    assert "(see rule 9 of providers.md)" in done.stdout.decode()


def test_command_line(tmp_path):
    def run(*args):
        return subprocess.run([str(MAYFLY), "provider", "check", *args], capture_output=True, text=True,
                              check=False)
    assert run("--help").returncode == 0 and "--params" in run("--help").stdout
    for args in ((), ("--config",), ("a", "b"), ("--what", "x"), ("x", "--timeout", "0")):
        assert run(*args).returncode == 2, args
    for program, words in (("/nonexistent/program", "No such file"), (str(tmp_path), "is a folder"),
                           ("/etc/passwd", "may not be run"), ("no-such-program-here", "in PATH")):
        gone = run(program, "--json")
        assert gone.returncode == 2 and words in gone.stderr and program in gone.stderr, gone
        answer = json.loads(gone.stdout)
        assert words in answer["error"] and answer["kept"] is False and answer["rules"] == []
    assert "as found in PATH" in run("true", "--rule", "describe").stderr
    nothing = run(str(BAD), "--rule", "zzzz")
    assert nothing.returncode == 2 and "nonsense is refused" in nothing.stderr
    (tmp_path / "no.json").write_text("[]")
    assert "no JSON object" in run(str(BAD), "--config", str(tmp_path / "no.json")).stderr
    text = run(str(provider_program("volume")), "--rule", "inspect")
    assert text.returncode == 0 and "ok       volume: inspect finds it" in text.stdout
    assert run(str(provider_program("volume")), "--type", "bucket").returncode == 1
    assert run(str(provider_program("volume")), "--rule", "nothing is left").returncode == 0
    noun = subprocess.run([str(MAYFLY), "provider", "--help"], capture_output=True, text=True, check=False)
    assert noun.returncode == 0 and "provider check PROGRAM" in noun.stdout
