#!/usr/bin/env python3
"""Holds run-built and count.py to it that nothing which ends badly is counted as success: a small meson
project with programs that do. Prints TAP. Usage: check-count.py SOURCE_ROOT"""
import pathlib
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(sys.argv[1]) / "tests"
GOOD = "echo 'ok 1 - a'\necho 'ok 2 - b'\necho 1..2\n"
# each: what the program does after its "ok"
PROGRAMS = {
    "aborts after ok": "echo 'ok 1 - a'\nkill -ABRT $$\n",
    "ends with 23 after all were ok": GOOD + "exit 23\n",
    "is too slow after all were ok": GOOD + "sleep 60\n",
    "says not ok": "echo 'ok 1 - a'\necho 'not ok 2 - b'\necho 1..2\n",
    "has fewer cases than it planned": "echo 1..3\necho 'ok 1 - a'\necho 'ok 2 - b'\n",
}
JUNIT = "<testsuite>{}</testsuite>"
PASS = '<testcase classname="x" name="a"/>'
SKIP = '<testcase classname="x" name="a"><skipped/></testcase>'
FAIL = '<testcase classname="x" name="a"><failure/></testcase>'
LOG = '{{"name": "p", "result": "{}", "returncode": 1}}\n'

n = bad = 0


def say(title, good, words=""):
    global n, bad
    n += 1
    bad += not good
    print(f"{'ok' if good else 'not ok'} {n} - {title}", flush=True)
    if not good:
        print("\n".join("# " + line for line in words.splitlines()), flush=True)


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def stage(program):
    """What tests/run does with a build in which there is one more program: (its status, that of count.py, words)"""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        results = folder / "results"
        results.mkdir()
        scripts = {"good": GOOD, **({"other": program} if program else {})}
        lines = ["project('count')"]
        for script, text in scripts.items():
            path = folder / f"{script}.sh"
            path.write_text("#!/bin/sh\n" + text)
            path.chmod(0o755)
            lines.append(f"test('{script}', find_program('{script}.sh'), protocol: 'tap', timeout: {3 if 'sleep' in text else 60})")
        (folder / "meson.build").write_text("\n".join(lines) + "\n")
        status, words = run("meson", "setup", folder / "build", folder)
        if status:
            return None, None, words
        built, words = run(TESTS / "run-built", folder / "build", results, "unit-x")
        status, more = run(sys.executable, TESTS / "count.py", 0, results, "unit-x.xml:1",
                           f"unit-x.json:{len(scripts)}")
        return built, status, words + more


def count(files, *expected, broken=0):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (pathlib.Path(folder) / name).write_text(text)
        return run(sys.executable, TESTS / "count.py", broken, folder, *expected)


def check(title, red, files, *expected, **options):
    status, words = count(files, *expected, **options)
    say(title, (status != 0) == red, words)


built, counted, said = stage(None)
say("programs that end well are counted", built == 0 and counted == 0 and "2 passed, 0 failed" in said, said)
for title, text in PROGRAMS.items():
    built, counted, said = stage(text)
    say(f"a program that {title} fails the stage", built == 1, said)
    say(f"a program that {title} fails the count, whatever the stage said", counted == 1, said)

check("a good file passes", False, {"a.xml": JUNIT.format(PASS)}, "a.xml:1")
check("a stage that broke fails", True, {"a.xml": JUNIT.format(PASS)}, "a.xml:1", broken=1)
check("a missing file fails", True, {"a.xml": JUNIT.format(PASS)}, "a.xml:1", "b.xml:1")
check("an empty file fails", True, {"a.xml": JUNIT.format(PASS), "b.xml": ""}, "a.xml:1", "b.xml:1")
check("a file without results fails", True, {"a.xml": JUNIT.format(PASS), "b.xml": JUNIT.format("")}, "b.xml:0")
check("too few results fail", True, {"a.xml": JUNIT.format(PASS)}, "a.xml:2")
check("a failure fails", True, {"a.xml": JUNIT.format(PASS + FAIL)}, "a.xml:1")
check("a file that nobody named is counted too", True, {"a.xml": JUNIT.format(PASS), "b.xml": JUNIT.format(FAIL)}, "a.xml:1")
check("what is skipped as a whole passes where that is allowed", False,
      {"a.xml": JUNIT.format(PASS), "b.xml": JUNIT.format(SKIP)}, "b.xml:9?")
check("what is skipped as a whole fails elsewhere", True,
      {"a.xml": JUNIT.format(PASS), "b.xml": JUNIT.format(SKIP)}, "b.xml:9")
check("what is skipped in part is short where that is allowed", True,
      {"b.xml": JUNIT.format(SKIP + PASS)}, "b.xml:9?")
check("a testlog that is broken off fails", True, {"a.xml": JUNIT.format(PASS), "a.json": '{"name":'}, "a.json:1")
for how in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "EXPECTEDFAIL", "UNEXPECTEDPASS"):
    check(f"a program that ended with {how} fails", True, {"a.xml": JUNIT.format(PASS), "a.json": LOG.format(how)}, "a.json:1")
print(f"1..{n}")
sys.exit(1 if bad else 0)
