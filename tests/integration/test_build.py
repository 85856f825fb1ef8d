"""What must hold of the built tree before anything else is tried."""
import re
import shutil
import subprocess

import pytest

from mayfly import BUILD, ROOT


def test_top_level_is_the_contract():
    allowed = {"orchestrator", "providers", "reaper", "units", "tests", "packaging", "meson.build",
               "meson_options.txt", "README.md", "LICENSE"}
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    top = {name.split("/")[0] for name in names.stdout.split("\n") if name}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_commands_have_their_run_bit():
    for name in ("tests/run", ".ci/run", "packaging/install-packages"):
        assert (ROOT / name).stat().st_mode & 0o111, name


def test_manual_pages_are_well_formed():
    for page in sorted((ROOT / "packaging" / "man").iterdir()):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and done.stderr == "", (page.name, done.stderr)


def test_completion_is_valid_and_knows_the_commands():
    completion = ROOT / "packaging" / "completions" / "mayfly"
    subprocess.run(["bash", "-n", completion], check=True)
    script = (f'. {completion}; PATH={BUILD}/orchestrator:$PATH; '
              'COMP_WORDS=(mayfly proj); COMP_CWORD=1; _mayfly; echo "${COMPREPLY[@]}"; '
              'COMP_WORDS=(mayfly project a); COMP_CWORD=2; _mayfly; echo "${COMPREPLY[@]}"; '
              'COMP_WORDS=(mayfly up --com); COMP_CWORD=2; _mayfly; echo "${COMPREPLY[@]}"')
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.split("\n")[:3] == ["project", "add", "--commit"]


def test_units_are_valid(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    unit = (BUILD / "units" / "mayflyd.service").read_text()
    unit = unit.replace("/usr/bin/mayflyd", "/bin/true")
    unit = "\n".join(line for line in unit.split("\n") if not line.startswith("Documentation="))
    (tmp_path / "mayflyd.service").write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "mayflyd.service"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0 and "mayflyd.service" not in done.stderr, done.stderr


def test_catalog_explains_every_record():
    header = (ROOT / "orchestrator" / "glue" / "journal.h").read_text()
    catalog = (ROOT / "units" / "mayfly.catalog").read_text()
    ids = re.findall(r'"([0-9a-f]{32})"', header)
    assert ids and sorted(ids) == sorted(re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.M))
