#!/usr/bin/env python3
"""Holds the include lines, file sizes and foreign libraries against the project's layer table.

Prints TAP. Usage: layers.py SOURCE_ROOT
"""
import os
import re
import sys

# folder -> folders it may include from, its own left out
ORCHESTRATOR = ["base", "glue", "ledger", "spec", "engine", "gateway", "api", "cli"]
TABLE = {
    "orchestrator/base": [],
    "orchestrator/glue": ["orchestrator/base"],
    "orchestrator/ledger": ["orchestrator/base", "orchestrator/glue"],
    "orchestrator/spec": ["orchestrator/base", "orchestrator/glue"],
    "orchestrator/engine": ["orchestrator/base", "orchestrator/glue", "orchestrator/ledger",
                            "orchestrator/spec", "reaper"],
    "orchestrator/gateway": ["orchestrator/base", "orchestrator/glue", "orchestrator/ledger"],
    "orchestrator/api": ["orchestrator/base", "orchestrator/glue", "orchestrator/ledger",
                         "orchestrator/spec", "orchestrator/engine", "orchestrator/gateway", "reaper"],
    "orchestrator/cli": ["orchestrator/base", "orchestrator/glue", "orchestrator/spec"],
    "providers/sdk": ["orchestrator/base"],
    "reaper": ["orchestrator/base"],
}
PROVIDER = ["orchestrator/base", "orchestrator/glue", "providers/sdk"]

# spec may use of glue only the YAML and JSON trees
SPEC_GLUE = {"orchestrator/glue/yaml.h", "orchestrator/glue/json.h"}

# foreign header -> the one file of the orchestrator that may include it
FOREIGN = {
    "systemd/sd-event.h": "orchestrator/glue/loop.c",
    "systemd/sd-daemon.h": "orchestrator/glue/loop.c",
    "systemd/sd-journal.h": "orchestrator/glue/journal.c",
    "sqlite3.h": "orchestrator/glue/db.c",
    "yaml.h": "orchestrator/glue/yaml.c",
    "curl/curl.h": "orchestrator/glue/http-client.c",
    "microhttpd.h": "orchestrator/glue/http-server.c",
    "libsmartcols/libsmartcols.h": "orchestrator/glue/table.c",
    "openssl/": "orchestrator/glue/crypto.c",
}

FUNCTION_MAX = 100
FILE_MAX = 1000
HEADER_MAX = 400


def folder_of(path):
    parts = path.split("/")
    if parts[0] == "reaper":
        return "reaper"
    return "/".join(parts[:2])


def allowed(folder):
    if folder in TABLE:
        return TABLE[folder]
    if folder.startswith("providers/"):
        return PROVIDER
    return None


def sources(root):
    for top in ("orchestrator", "providers", "reaper"):
        for directory, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(directory, name), root)


def check_includes(path, text):
    folder = folder_of(path)
    may = allowed(folder)
    if may is None:
        yield f"{path}: the folder {folder} is not in the layer table"
        return
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not found:
            continue
        quote, target = found.groups()
        where = f"{path}:{number}"
        if quote == '"':
            if target == "config.h":
                continue
            if "/" not in target:
                yield f"{where}: write the path from the top of the project, not \"{target}\""
                continue
            to = folder_of(target)
            if to != folder and to not in may:
                yield f"{where}: {folder} may not include from {to}"
            if folder == "orchestrator/spec" and to == "orchestrator/glue" and target not in SPEC_GLUE:
                yield f"{where}: spec is pure; of glue it may use only YAML and JSON trees"
        else:
            for header, owner in FOREIGN.items():
                if target.startswith(header) and path != owner and not path.startswith("providers/"):
                    yield f"{where}: <{target}> belongs to {owner} alone"


def check_sizes(path, text):
    lines = text.split("\n")
    if path.endswith(".c") and len(lines) > FILE_MAX:
        yield f"{path}: {len(lines)} lines, at most {FILE_MAX}: split it along its nouns"
    if path.endswith(".h") and len(lines) > HEADER_MAX:
        yield f"{path}: a header of {len(lines)} lines, at most {HEADER_MAX}"
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and line.endswith("{") and re.match(r"^[A-Za-z_].*\)\s*\{$|^\s+.*\)\s*\{$", line) \
                and not re.match(r"^\s*(if|for|while|switch|else|do)\b", line) and "=" not in line.split("(")[0]:
            if re.match(r"^[A-Za-z_ ]", line):
                start = number
        if start is not None and line == "}":
            if number - start > FUNCTION_MAX:
                yield f"{path}:{start}: a function of {number - start} lines, at most {FUNCTION_MAX}"
            start = None


def main():
    root = sys.argv[1]
    kinds = [("include lines follow the layer table", check_includes),
             ("functions and files keep to their sizes", check_sizes)]
    print(f"1..{len(kinds)}")
    bad = False
    files = {path: open(os.path.join(root, path), encoding="utf-8").read() for path in sources(root)}
    for number, (title, check) in enumerate(kinds, 1):
        faults = [fault for path, text in files.items() for fault in check(path, text)]
        for fault in faults:
            print("# " + fault)
        print(("not ok" if faults else "ok") + f" {number} - {title}")
        bad = bad or bool(faults)
    sys.exit(1 if bad else 0)


main()
