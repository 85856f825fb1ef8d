"""What must hold of the built tree before anything else is tried."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_top_level_is_the_contract():
    allowed = {"orchestrator", "providers", "reaper", "units", "tests", "packaging", "meson.build",
               "meson_options.txt", "README.md", "LICENSE"}
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    top = {name.split("/")[0] for name in names.stdout.split("\n") if name}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_commands_have_their_run_bit():
    for name in ("tests/run", ".ci/run", "packaging/install-packages"):
        assert (ROOT / name).stat().st_mode & 0o111, name
