#!/usr/bin/env python3
"""mayfly check beside node with ajv and js-yaml: the same file, the same schema, whole processes.

Both are started in turn, so that whatever else the machine does meets both; the ratio is that of the
medians. Usage: check-vs-node.py MAYFLY [RUNS]. Without node, npm or the packages it says so and skips
(exit 77). The packages are kept in $MAYFLY_BENCH_CACHE, default ~/.cache/mayfly-bench.
"""
import os
import shutil
import statistics
import subprocess
import sys
import time

PROGRAM = """
const fs = require('fs'), yaml = require('js-yaml'), Ajv = require('ajv/dist/2020');
const ajv = new Ajv({strict: false, allErrors: true});
const validate = ajv.compile(JSON.parse(fs.readFileSync(process.argv[2])));
const valid = validate(yaml.load(fs.readFileSync(process.argv[3], 'utf8')));
process.exit(valid ? 0 : 1);
"""


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def packages():
    cache = os.environ.get("MAYFLY_BENCH_CACHE", os.path.expanduser("~/.cache/mayfly-bench"))
    os.makedirs(cache, exist_ok=True)
    if not os.path.isdir(os.path.join(cache, "node_modules", "ajv")):
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "ajv@8", "js-yaml@4"],
                              cwd=cache, capture_output=True, text=True)
        if done.returncode != 0:
            skip("npm cannot install ajv and js-yaml: " + done.stderr.strip()[:200])
    with open(os.path.join(cache, "check.js"), "w", encoding="utf-8") as out:
        out.write(PROGRAM)
    return os.path.join(cache, "check.js")


def largest_valid(folder):
    files = [os.path.join(folder, name) for name in os.listdir(folder)]
    return max(files, key=lambda path: (os.path.getsize(path), path))


def seconds(command):
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spent = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{command[0]} says that the sample is invalid")
    return spent


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    mayfly, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    score = os.path.join(os.environ.get("MAYFLY_SHARED", "../shared"), "score")
    if not os.path.isdir(score):
        skip(f"there is no {score}")
    if not shutil.which("node") or not shutil.which("npm"):
        skip("node and npm are needed (packaging/install-packages bench)")
    sample = largest_valid(os.path.join(score, "valid"))
    ours = [mayfly, "check", sample]
    theirs = ["node", packages(), os.path.join(score, "score-v1b1.json"), sample]
    spent = {"ours": [], "theirs": []}
    for _ in range(runs + 1):
        spent["ours"].append(seconds(ours))
        spent["theirs"].append(seconds(theirs))
    a, b = (statistics.median(spent[name][1:]) for name in ("ours", "theirs"))
    print(f"{os.path.basename(sample)}, {os.path.getsize(sample)} bytes, {runs} runs each in turn, medians")
    print(f"mayfly check        {a * 1000:8.2f} ms")
    print(f"node, ajv, js-yaml  {b * 1000:8.2f} ms")
    print(f"ratio               {b / a:8.1f}")


main()
