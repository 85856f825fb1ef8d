#!/usr/bin/env python3
"""Adds up JUnit results and prints the closing line. Usage: count.py BROKEN FILE..."""
import sys
import xml.etree.ElementTree as tree

passed = failed = skipped = 0
for name in sys.argv[2:]:
    for case in tree.parse(name).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"failed: {case.get('classname', '')} {case.get('name')}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1

if failed == 0 and sys.argv[1] != "0":
    print("failed: a test program ended badly; its output stands above")
    failed = 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not passed else 0)
