#!/usr/bin/env python3
"""Adds up results and prints the closing line.

Usage: count.py BROKEN FOLDER NAME:LEAST...

Every *.xml (JUnit) and *.json (meson's testlog) of FOLDER is read. Each NAME must be among them with LEAST
results or more; with a "?" behind LEAST, one in which all is skipped will do. A testlog adds nothing to the
sum, its cases are in the JUnit file: it says of each program how it ended, and anything but OK and SKIP fails.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as tree

sums = {"passed": 0, "failed": 0, "skipped": 0}


def fail(words):
    sums["failed"] += 1
    print(f"failed: {words}")


def read_junit(path):
    """(results, those of them that were skipped)"""
    cases = list(tree.parse(path).getroot().iter("testcase"))
    skipped = 0
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            fail(f"{case.get('classname', '')} {case.get('name')}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            sums["passed"] += 1
    sums["skipped"] += skipped
    return len(cases), skipped


def read_testlog(path):
    programs = [json.loads(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    for program in programs:
        if program["result"] not in ("OK", "SKIP"):
            fail(f"{path.stem}: {program['name']} ended with {program['result']}, status {program.get('returncode')}")
    return len(programs), 0


def read(path):
    try:
        return (read_testlog if path.suffix == ".json" else read_junit)(path)
    except (OSError, ValueError, KeyError, TypeError, tree.ParseError) as error:
        fail(f"{path.name} cannot be read: {error}")
        return None


def main(broken, folder, *expected):
    folder = pathlib.Path(folder)
    found = {path.name: read(path) for path in sorted([*folder.glob("*.xml"), *folder.glob("*.json")])}
    for words in expected:
        name, least, whole = re.fullmatch(r"(.+):(\d+)(\??)", words).groups()
        if name not in found:
            fail(f"{name} is missing")
        elif found[name] is not None:
            n, skipped = found[name]
            if n < max(1, int(least)) and not (whole and 0 < n == skipped):
                fail(f"{name} has {n} results, {least} are expected")
    if broken != "0" and not sums["failed"]:
        fail("something ended badly; its output stands above")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**sums))
    return 1 if sums["failed"] or not sums["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
