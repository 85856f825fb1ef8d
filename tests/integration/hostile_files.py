"""Dependency files that mean harm, each with a word of the error that it must end in. As a program: time and
peak memory of `mayfly check` for each, whole processes.

Usage: hostile_files.py MAYFLY [RUNS]
"""
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1024 * 1024
SCORE = "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
MEMORY = 64 * MIB  # of data: heap and anonymous maps


def bomb(item):
    letters = "abcdefghijklm"
    return "a: &a [x]\n" + "".join(f"{new}: &{new} {item(new, old)}\n" for old, new in zip(letters, letters[1:]))


def numbered(n, form):
    return "".join(form.format(i) for i in range(1, n + 1))


def files():
    return {
        "score-alias-bomb.yaml": (bomb(lambda new, old: f"[{','.join(['*' + old] * 9)}]"), "aliases"),
        "score-merge-bomb.yaml": (bomb(lambda new, old: f"{{<<: [{','.join(['*' + old] * 9)}]}}"), "map"),
        "score-aliases.yaml": ("a: &a x\nb: [" + "*a," * 10001 + "]", "aliases"),
        "score-line.yaml": ("a: " + "x" * 10 * MIB, "1048576 bytes"),
        "score-line-within.yaml": ("a: " + "x" * (MIB - 10), "not a key of a Score file"),
        "score-utf8.yaml": (b"a: " + b"\xff" * 10 * MIB, "1048576 bytes"),
        "score-utf8-within.yaml": (b"a: " + b"x" * (MIB - 10) + b"\xff", "UTF-8"),
        "score-nul.yaml": (b"a: \0" * 200000, "control characters"),
        "score-keys.yaml": (numbered(1000000, "k{}: 1\n"), "1048576 bytes"),
        "score-keys-within.yaml": (numbered(24990, "k{}: 1\n"), "not a key of a Score file"),
        "score-keys-equal.yaml": ("k: 1\n" * 200000, "50000 values"),
        "score-deep.yaml": ("[" * (MIB - 1), "64 levels"),
        "score-deep-maps.yaml": ("{a: " * 250000, "64 levels"),
        "score-unknown.yaml": (SCORE + "containers: {main: {image: ., " + numbered(24000, "commnd{}: 1, ") + "}}",
                               "did you mean command?"),
        "score-placeholders.yaml": (SCORE + "containers: {main: {image: ., variables: {A: \"" +
                                    "${resources.a.b}" * 60000 + "\"}}}", "not declared"),
        "score-circle.yaml": (SCORE + "containers: {main: {image: .}}\nresources:\n" +
                              numbered(500, "  r{0}: {{type: tt, params: {{a: '${{resources.r{0}.x}}'}}}}\n"), "circle"),
        "compose-services.yaml": ("services:\n" + numbered(20000, "  s{}: {{image: x}}\n"), "50000 values"),
        "compose-keys.yaml": ("services: {web: {" + numbered(24000, "envronment{}: 1, ") + "}}", "is not a key"),
        "compose-ports.yaml": ("services: {web: {build: ., command: x, ports: [" +
                               "".join(f'"{i}-{i + 99}", ' for i in range(1, 60000, 2)) + "]}}", "at most 1000 ports"),
        "compose-variables.yaml": ("services: {web: {build: ., command: x, environment: {A: \"" + "${A:-" * 100000 +
                                   "\"}}}", "not closed"),
        "mayfly.yaml": ("{" + numbered(24000, "wrkloads{}: 1, ") + "}", "There is no 'wrkloads"),
    }


def write(folder):
    for name, (content, _) in files().items():
        (pathlib.Path(folder) / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def limit():
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def measure(mayfly, runs, folder):
    for path in sorted(pathlib.Path(folder).iterdir()):
        took, used, most = [], [], 0
        for _ in range(runs):
            start = time.perf_counter()
            child = subprocess.Popen([mayfly, "check", path], stdout=subprocess.DEVNULL)
            _, _, usage = os.wait4(child.pid, 0)
            child.returncode = 0
            took.append(time.perf_counter() - start)
            used.append(usage.ru_utime + usage.ru_stime)
            most = max(most, usage.ru_maxrss)
        print(f"{path.name:24} {statistics.median(took) * 1000:7.1f} ms, of the processor "
              f"{statistics.median(used) * 1000:6.1f} ms, at most {most / 1024:5.1f} MiB")


def main():
    mayfly, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    if len(sys.argv) > 3:
        measure(mayfly, runs, sys.argv[3])
        return
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        # a child's peak begins with what its parent has: measured from a process that holds no files
        subprocess.run([sys.executable, __file__, mayfly, str(runs), folder], check=True)


if __name__ == "__main__":
    main()
