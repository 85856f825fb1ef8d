"""Dependency files that mean harm end in a clear error, within 64 MiB where no sanitizer needs more. How fast
is a question for tests/bench."""
import json
import subprocess

import pytest

import hostile_files
from mayfly import BUILD, ROOT

# a sanitizer keeps shadows and freed memory, so memory is limited in a build without one
FILES = {name: word for name, (_, word) in hostile_files.files().items()}
PLAIN = next((path for path in (ROOT / "build" / name / "orchestrator" / "mayfly" for name in ("release", "clang"))
              if path.exists()), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("hostile")
    hostile_files.write(made)
    return made


def check(mayfly, path, limit=None):
    done = subprocess.run([mayfly, "check", "--json", path], capture_output=True, text=True, timeout=120,
                          preexec_fn=limit, check=False)
    assert done.returncode == 1, (done.returncode, done.stderr[-2000:])
    answer = json.loads(done.stdout)
    assert not answer["valid"] and 0 < len(answer["faults"]) <= 100
    return " ".join(fault["message"] + " " + (fault.get("hint") or "") for fault in answer["faults"])


@pytest.mark.parametrize("name", FILES)
def test_the_error_is_clear(folder, name):
    assert FILES[name] in check(BUILD / "orchestrator" / "mayfly", folder / name)


@pytest.mark.skipif(PLAIN is None, reason="needs a build without sanitizers")
@pytest.mark.parametrize("name", FILES)
def test_memory_is_bounded(folder, name):
    assert FILES[name] in check(PLAIN, folder / name, hostile_files.limit)


@pytest.mark.skipif(PLAIN is None, reason="needs a build without sanitizers")
def test_the_limit_would_be_felt(folder):
    """What needs more than the limit fails under it, or the test above proves nothing."""
    done = subprocess.run(["python3", "-c", "b = bytearray(80 << 20)"], capture_output=True, timeout=60,
                          preexec_fn=hostile_files.limit, check=False)
    assert b"MemoryError" in done.stderr
