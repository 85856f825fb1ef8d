"""The provider "git": exact commits of real repositories, hostile ones among them, and nothing run."""
import fcntl
import http.server
import json
import os
import pathlib
import shutil
import signal
import ssl
import stat
import subprocess
import threading
import time

import pytest

from mayfly import Provider, new_id, provider_call, wait_until

ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
       "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.com", "GIT_COMMITTER_NAME": "Ann",
       "GIT_COMMITTER_EMAIL": "ann@example.com", "GIT_CONFIG_COUNT": "2",
       "GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "main",
       "GIT_CONFIG_KEY_1": "protocol.file.allow", "GIT_CONFIG_VALUE_1": "always"}


def git(folder, *args, data=None):
    done = subprocess.run(["git", *args], cwd=folder, env=ENV, input=data, capture_output=True, check=True)
    return done.stdout.decode(errors="surrogateescape").strip()


class Repository:
    """A repository in a folder; commit() writes files and returns the new commit's name."""

    def __init__(self, path, *init):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True)
        git(self.path, "init", "-q", *init)

    def commit(self, files=None):
        for name, content in (files or {}).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(self.path, "add", "-A")
        return self.close()

    def close(self):
        git(self.path, "commit", "-q", "--allow-empty", "-m", "change")
        return git(self.path, "rev-parse", "HEAD")

    def tree(self, *entries):
        """A commit of a tree made by hand: (mode, path, content or object name)."""
        lines = b""
        for mode, path, content in entries:
            kind = {"160000": b"commit", "040000": b"tree"}.get(mode, b"blob")
            name = content if kind != b"blob" else git(self.path, "hash-object", "-w", "--stdin",
                                                       data=content)
            lines += mode.encode() + b" " + kind + b" " + name.encode() + b"\t" + path + b"\0"
        made = git(self.path, "mktree", "-z", "--missing", data=lines)
        commit = git(self.path, "commit-tree", made, "-m", "by hand")
        git(self.path, "update-ref", "refs/heads/hostile", commit)
        return commit


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "src" / "shop")


@pytest.fixture
def provider(tmp_path):
    return Provider("git", tmp_path / "state")


def checkout(provider, repository, commit, **params):
    where = str(repository.path if isinstance(repository, Repository) else repository)
    return provider.resource("checkout", {"repository": where, "commit": commit, "branch": "main", **params})


def make(provider, repository, commit, **params):
    resource = checkout(provider, repository, commit, **params)
    out = provider.ask("provision", resource)["outputs"]
    assert out["commit"] == commit
    return resource, pathlib.Path(out["path"])


def left_over(provider):
    """Files below the state folder, the empty folders that stay apart."""
    found = [path for path in provider.state_dir.rglob("*")]
    return [path for path in found if path.name not in ("worktrees", "mirrors")]


def test_one_commit_and_then_another(provider, repository):
    first = repository.commit({"a.txt": "one\n", "bin/run": "#!/bin/sh\n"})
    (repository.path / "bin/run").chmod(0o755)
    second = repository.commit({"a.txt": "two\n"})
    one, path_one = make(provider, repository, first)
    two, path_two = make(provider, repository, second)
    assert (path_one / "a.txt").read_text() == "one\n" and (path_two / "a.txt").read_text() == "two\n"
    assert sorted(p.name for p in path_one.iterdir()) == ["a.txt", "bin"]
    assert set(provider.items()) == {one["uid"], two["uid"]}
    for resource in (one, two):
        found = provider.ask("inspect", resource)
        assert (found["present"], found["ready"], found["marker"]) == \
            ("present", True, resource["marker"])
        used = [line["item"] for line in provider.lines("usage", resource) if "item" in line]
        assert used[0]["bytes"] > 0

    kinds = {r["kind"] for r in provider.ask("deprovision", one)["removed"]}
    assert kinds == {"checkout", "reference"}
    assert provider.ask("inspect", one)["present"] == "absent"
    assert list(provider.items()) == [two["uid"]] and (path_two / "a.txt").exists()
    assert provider.ask("deprovision", one)["absent"][0]["kind"] == "checkout"
    provider.ask("deprovision", two)
    assert left_over(provider) == []


def test_modes_do_not_depend_on_the_umask(provider, repository):
    repository.commit({"a.txt": "one\n", "dir/run": "x"})
    (repository.path / "dir/run").chmod(0o755)
    commit = repository.commit()
    old = os.umask(0o077)
    try:
        _, path = make(provider, repository, commit)
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((path / name).stat().st_mode) for name in (".", "a.txt", "dir", "dir/run")}
    assert modes == {".": 0o755, "a.txt": 0o644, "dir": 0o755, "dir/run": 0o755}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711


@pytest.mark.parametrize("form", ["file", "bare", "linked worktree", "git folder", "without .git"])
def test_forms_of_local_repositories(provider, repository, tmp_path, form):
    commit = repository.commit({"a.txt": "one\n"})
    where = repository.path
    if form == "file":
        where = "file://" + str(repository.path).replace("shop", "sh%6fp")
    elif form == "bare":
        where = tmp_path / "bare.git"
        git(tmp_path, "clone", "-q", "--bare", str(repository.path), str(where))
    elif form == "linked worktree":
        where = tmp_path / "linked"
        git(repository.path, "worktree", "add", "-q", "--detach", str(where))
    elif form == "git folder":
        where = repository.path / ".git"
    else:
        git(tmp_path, "clone", "-q", "--bare", str(repository.path), str(tmp_path / "x.git"))
        where = tmp_path / "x"
    _, path = make(provider, where, commit)
    assert (path / "a.txt").read_text() == "one\n"


def test_sha256_repositories(provider, tmp_path):
    repository = Repository(tmp_path / "src" / "new", "--object-format=sha256")
    _, path = make(provider, repository, repository.commit({"a": "x"}))
    assert (path / "a").read_text() == "x"


def test_repeat_changes_nothing(provider, repository):
    resource, path = make(provider, repository, repository.commit({"a.txt": "one\n"}))
    (path / "built").write_text("by a build")
    provider.ask("provision", resource)
    assert (path / "built").exists()
    resource["params"]["commit"] = repository.commit({"a.txt": "two\n"})
    assert provider.ask("inspect", resource)["ready"] is False
    provider.ask("provision", resource)
    assert (path / "a.txt").read_text() == "two\n" and not (path / "built").exists()


def test_half_made_is_made_again(provider, repository):
    commit = repository.commit({f"d{i}/f{i}": "x" * i for i in range(300)})
    resource = checkout(provider, repository, commit)
    path = provider.state_dir / "worktrees" / resource["uid"]
    for delay in (0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04):
        child = subprocess.Popen([str(provider.program)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 start_new_session=True)
        child.stdin.write(json.dumps(provider.request("provision", resource)).encode())
        child.stdin.close()
        time.sleep(delay)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        found = provider.ask("inspect", resource)
        assert found["present"] == "absent" or found["marker"] == resource["marker"]
        if found["ready"]:
            assert sum(1 for p in path.rglob("f*")) == 300
            break
        if found["present"] == "present":
            assert list(provider.items()) == [resource["uid"]]
    provider.ask("provision", resource)
    assert sum(1 for p in path.rglob("f*")) == 300
    (provider.state_dir / "worktrees" / (resource["uid"] + ".done")).unlink()
    (path / "f").write_text("left by a crash")
    assert "half-made" in provider.ask("inspect", resource)["detail"]
    provider.ask("provision", resource)
    assert not (path / "f").exists()
    provider.ask("deprovision", resource)
    assert left_over(provider) == []


def test_a_mirror_that_is_still_kept_for_one_is_seen(provider, repository):
    resource, _ = make(provider, repository, repository.commit({"a.txt": "one\n"}))
    users = next((provider.state_dir / "mirrors").glob("*/users"))
    shutil.rmtree(provider.state_dir / "worktrees" / resource["uid"])
    assert provider.items()[resource["uid"]]["present"] == "uncertain"
    for path in (provider.state_dir / "worktrees").glob(resource["uid"] + ".*"):
        path.unlink()
    seen = provider.ask("inspect", resource)
    assert (seen["present"], seen["ready"], seen["marker"]) == ("present", False, resource["marker"])
    assert provider.items()[resource["uid"]]["marker"] == resource["marker"]
    done = provider.ask("deprovision", resource)
    assert {"kind": "reference", "name": str(users / resource["uid"])} in done["removed"]
    assert provider.ask("inspect", resource)["present"] == "absent" and left_over(provider) == []


def test_errors_have_their_class(provider, repository, tmp_path):
    commit = repository.commit({"a.txt": "one\n"})
    (tmp_path / "plain").mkdir()
    cases = [
        (repository, "0" * 39 + "1", "invalid", "There is no commit 000"),
        (repository, "main", "invalid", "hexadecimal"),
        (repository, "--upload-pack=touch", "invalid", "hexadecimal"),
        (repository, commit[:10], "invalid", "hexadecimal"),
        (tmp_path / "plain", commit, "invalid", "not a Git repository"),
        (tmp_path / "nowhere", commit, "transient", "Cannot reach"),
        ("shop", commit, "invalid", "is refused"), ("git://example.com/x", commit, "invalid", "is refused"),
        ("http://example.com/x", commit, "invalid", "is refused"),
        ("ext::sh -c 'touch /tmp/x'", commit, "invalid", "is refused"),
        ("--upload-pack=touch", commit, "invalid", "is refused"),
        ("file://host/x", commit, "invalid", "another machine"),
        ("ssh://-oProxyCommand=x/y", commit, "invalid", "host"),
        ("https://user:secret@127.0.0.1/x", commit, "invalid", "user name"),
        ("https://127.0.0.1:1/x.git", commit, "transient", "Cannot fetch"),
        ("/a\nb", commit, "invalid", "control character")]
    for where, name, kind, words in cases:
        error = provider.fails("provision", checkout(provider, where, name))
        assert error["class"] == kind and words in error["message"], (where, name, error)
        assert "secret" not in error["message"]
    assert provider.items() == {} and left_over(provider) == []


def test_a_tag_or_a_tree_is_no_commit(provider, repository):
    commit = repository.commit({"a.txt": "one\n"})
    tree = git(repository.path, "rev-parse", commit + "^{tree}")
    assert "no commit" in provider.fails("provision", checkout(provider, repository, tree))["message"]


def test_size_limit(provider, repository):
    commit = repository.commit({"a": "x" * 600, "b": "y" * 400})
    make(provider, repository, commit, size_max=1000)
    error = provider.fails("provision", checkout(provider, repository, commit, size_max=999))
    assert error["class"] == "invalid" and "1000 bytes" in error["message"]
    huge = repository.commit({"zeros": b"\0" * (64 << 20)})  # small in the repository
    before = time.monotonic()
    error = provider.fails("provision", checkout(provider, repository, huge, size_max=1 << 20))
    assert "size_max" in error["message"] and time.monotonic() - before < 10
    assert len(left_over(provider)) > 0


def test_nothing_of_the_branch_runs(provider, repository, tmp_path):
    """Hooks, filters and commands of the source repository and of the branch leave no trace."""
    trace = tmp_path / "trace"
    command = f"touch {trace}; cat"
    hooks = repository.path / ".git" / "hooks"
    for name in ("post-checkout", "post-merge", "reference-transaction", "post-index-change", "pre-commit"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {trace}\n")
    commit = repository.commit({
        ".gitattributes": "* filter=evil diff=evil merge=evil text=auto\n*.big filter=lfs\n",
        ".gitconfig": f"[core]\n\tfsmonitor = {command}\n", "config": f"[core]\n\thooksPath = {hooks}\n",
        ".lfsconfig": "[lfs]\n\turl = https://127.0.0.1:1/\n", "a.txt": "one\n",
        "x.big": "version https://git-lfs.github.com/spec/v1\n", "hooks/post-checkout": f"touch {trace}\n"})
    for name in hooks.iterdir():
        name.chmod(0o755)
    git(repository.path, "config", "filter.evil.smudge", command)
    git(repository.path, "config", "filter.evil.clean", command)
    git(repository.path, "config", "filter.evil.process", command)
    git(repository.path, "config", "core.fsmonitor", command)
    git(repository.path, "config", "uploadpack.packObjectsHook", command)
    git(repository.path, "config", "core.sshCommand", command)
    git(repository.path, "config", "core.pager", command)
    git(repository.path, "config", "core.hooksPath", str(hooks))
    trace.unlink(missing_ok=True)
    _, path = make(provider, repository, commit)
    assert (path / "a.txt").read_text() == "one\n" and (path / "x.big").exists()
    assert not trace.exists()


def test_the_callers_configuration_is_not_read(provider, repository, tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "hooks").mkdir()
    (tmp_path / ".gitconfig").write_text(
        f"[filter \"evil\"]\n\tsmudge = touch {trace}; cat\n\tprocess = touch {trace}\n"
        f"[core]\n\tfsmonitor = touch {trace}\n\tattributesFile = {tmp_path}/attributes\n")
    (tmp_path / "attributes").write_text("* filter=evil\n")
    commit = repository.commit({".gitattributes": "* filter=evil\n", "a": "x"})
    resource = checkout(provider, repository, commit)
    lines, status = provider_call(provider.program, provider.request("provision", resource),
                                  env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
                                       "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
                                       "GIT_DIR": str(tmp_path), "GIT_INDEX_FILE": "/nonexistent/x"})
    assert status == 0 and "result" in lines[-1], lines
    assert not trace.exists()


def test_links_stay_links(provider, repository, tmp_path):
    (tmp_path / "secret").write_text("secret")
    commit = repository.tree(("120000", b"out", b"../../../../../../../../etc/passwd"),
                             ("120000", b"abs", str(tmp_path / "secret").encode()),
                             ("120000", b"loop", b"loop"), ("100644", b"new\nline \xff", b"x"),
                             ("100644", b"A", b"upper"), ("100644", b"a", b"lower"),
                             ("100644", b"-rf", b"x"), ("100755", b"$(touch x)", b"x"))
    resource, path = make(provider, repository, commit)
    assert os.readlink(path / "out").endswith("etc/passwd") and (path / "abs").is_symlink()
    assert (path / "A").read_text() == "upper" and (path / "a").read_text() == "lower"
    assert os.path.exists(os.path.join(os.fsencode(path), b"new\nline \xff"))
    provider.ask("deprovision", resource)
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("name", [b".git", b".GIT", b"..", b".", b"git~1", b".g\xe2\x80\x8cit"])
def test_names_that_are_git_itself_are_refused(provider, repository, name):
    inner = git(repository.path, "mktree", data=b"100644 blob " + git(
        repository.path, "hash-object", "-w", "--stdin", data=b"[core]").encode() + b"\tconfig\n")
    raw = b"40000 " + name + b"\0" + bytes.fromhex(inner)
    tree = git(repository.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=raw)
    commit = git(repository.path, "commit-tree", tree, "-m", "x")
    git(repository.path, "update-ref", "refs/heads/x", commit)
    error = provider.fails("provision", checkout(provider, repository, commit))
    assert error["class"] == "invalid", error
    assert left_over(provider) == []


def test_a_link_cannot_be_written_through(provider, repository, tmp_path):
    """A tree that holds a name twice, as a link and as a folder."""
    blob = git(repository.path, "hash-object", "-w", "--stdin", data=b"x")
    link = git(repository.path, "hash-object", "-w", "--stdin", data=str(tmp_path).encode())
    inner = git(repository.path, "mktree", data=f"100644 blob {blob}\tpwned\n".encode())
    raw = b"120000 d\0" + bytes.fromhex(link) + b"40000 d\0" + bytes.fromhex(inner)
    tree = git(repository.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=raw)
    commit = git(repository.path, "commit-tree", tree, "-m", "x")
    git(repository.path, "update-ref", "refs/heads/x", commit)
    provider.lines("provision", checkout(provider, repository, commit))
    assert not (tmp_path / "pwned").exists()


def test_another_marker_is_never_touched(provider, repository):
    commit = repository.commit({"a": "x"})
    resource, path = make(provider, repository, commit)
    provider.environment["id"] = new_id("e")
    stranger = provider.resource("checkout", resource["params"], uid=resource["uid"])
    for verb in ("provision", "deprovision"):
        assert provider.fails(verb, stranger)["class"] == "conflict"
    assert provider.ask("inspect", stranger)["marker"] == resource["marker"]
    assert (path / "a").exists()


def with_submodule(repository, url, path="lib"):
    """A commit of repository with a submodule at path, whatever the address says."""
    lib = Repository(repository.path.parent / "lib")
    inner = lib.commit({"lib.txt": "lib\n"})
    modules = f'[submodule "x"]\n\tpath = {path}\n\turl = {url}\n'
    return repository.tree(("100644", b".gitmodules", modules.encode()),
                           ("160000", path.encode(), inner), ("100644", b"a", b"x"))


@pytest.mark.parametrize("url", ["../lib", "./../lib", "{parent}/lib",
                                 "file://{parent}/lib"])
def test_submodules_beside_the_repository(provider, repository, url):
    commit = with_submodule(repository, url.format(parent=repository.path.parent))
    resource, path = make(provider, repository, commit)
    assert (path / "lib/lib.txt").read_text() == "lib\n" and not (path / "lib/.git").exists()
    other = checkout(provider, repository, commit, submodules=False)
    bare = pathlib.Path(provider.ask("provision", other)["outputs"]["path"])
    assert list((bare / "lib").iterdir()) == []
    for one in (resource, other):
        provider.ask("deprovision", one)
    assert left_over(provider) == []


def test_submodules_in_submodules(provider, repository):
    deep = Repository(repository.path.parent / "deep").commit({"deep.txt": "deep\n"})
    lib = Repository(repository.path.parent / "lib")
    inner = lib.tree(("100644", b".gitmodules", b'[submodule "d"]\npath=in\nurl=../deep\n'),
                     ("160000", b"in", deep))
    commit = repository.tree(("100644", b".gitmodules", b'[submodule "l"]\npath=lib\nurl=../lib\n'),
                             ("160000", b"lib", inner))
    _, path = make(provider, repository, commit)
    assert (path / "lib/in/deep.txt").read_text() == "deep\n"


@pytest.mark.parametrize("url, words", [
    ("ext::sh -c 'touch {trace}'", "refused"), ("-u./payload", "refused"), ("/etc", "refused"),
    ("--upload-pack=touch {trace}", "refused"), ("../../outside", "beside"), ("{outside}", "beside"),
    ("file://{outside}", "beside"), ("../../../../../../../../../../x", "leaves"), ("../link", "beside"),
    ("ssh://-oProxyCommand=touch${{IFS}}{trace}/x", "host"), ("git://127.0.0.1/x", "refused"),
    ("a@ext::x", "not valid"), ("fd::17/foo", "refused"), ("../shop/../lib", "not valid"), ("../lib\x01", "control"), ("", "refused")])
def test_submodule_addresses_that_are_refused(provider, repository, tmp_path, url, words):
    trace = tmp_path / "trace"
    outside = Repository(tmp_path / "outside")
    outside.commit({"private": "x"})
    (repository.path.parent / "link").symlink_to(outside.path)
    commit = with_submodule(repository, url.format(trace=trace, outside=outside.path))
    error = provider.fails("provision", checkout(provider, repository, commit))
    assert error["class"] == "invalid" and words in error["message"], error
    assert "Submodule 'lib'" in error["message"]
    assert not trace.exists() and left_over(provider) == []


def test_submodules_of_strangers_stay_outside(provider, repository):
    commit = with_submodule(repository, "../lib")
    provider.environment["trust"] = "stranger"
    error = provider.fails("provision", checkout(provider, repository, commit))
    assert error["class"] == "invalid" and "beside" in error["message"]


def test_submodule_without_an_address(provider, repository):
    lib = Repository(repository.path.parent / "lib").commit({"x": "x"})
    commit = repository.tree(("160000", b"lib", lib), ("100644", b"a", b"x"))
    assert provider.fails("provision", checkout(provider, repository, commit))["class"] == "invalid"
    commit = repository.tree(("160000", b"lib", lib), ("100644", b".gitmodules", b"[[[ nonsense"))
    assert provider.fails("provision", checkout(provider, repository, commit))["class"] == "invalid"


def test_submodules_count_into_the_size(provider, repository):
    commit = with_submodule(repository, "../lib")
    total = len("lib\n") + 1 + len('[submodule "x"]\n\tpath = lib\n\turl = ../lib\n')
    make(provider, repository, commit, size_max=total)
    error = provider.fails("provision", checkout(provider, repository, commit, size_max=total - 1))
    assert "size_max" in error["message"]


def test_many_at_once(provider, repository):
    commit = repository.commit({"a": "x"})
    resources = [checkout(provider, repository, commit) for _ in range(8)] * 2
    results = []

    def run(resource):
        results.append(provider.lines("provision", resource)[-1])
    threads = [threading.Thread(target=run, args=(one,)) for one in resources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("result" in one for one in results), results
    threads = [threading.Thread(target=lambda r=one: results.append(provider.lines("deprovision", r)[-1]))
               for one in resources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("result" in one for one in results), results
    assert left_over(provider) == []


def test_the_deadline_is_obeyed_while_another_holds_the_lock(provider, repository):
    resource = checkout(provider, repository, repository.commit({"a": "x"}))
    folder = provider.state_dir / "worktrees"
    folder.mkdir()
    with open(folder / (resource["uid"] + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        error = provider.fails("provision", resource, deadline_ms=200)
        assert error["class"] == "transient" and "deadline" in error["message"]
    provider.ask("provision", resource)


class Backend(http.server.BaseHTTPRequestHandler):
    """git http-backend over HTTPS; the server object says what it demands."""
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        demanded = self.server.authorization
        if demanded and self.headers.get("Authorization") != demanded:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=x")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.requests.append(self.path)
        path, _, query = self.path.partition("?")
        env = {"PATH": "/usr/bin:/bin", "GIT_PROJECT_ROOT": str(self.server.root), "PATH_INFO": path,
               "GIT_HTTP_EXPORT_ALL": "1", "QUERY_STRING": query, "REQUEST_METHOD": self.command,
               "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_ADDR": "127.0.0.1",
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        if self.server.protocol_v2 and self.headers.get("Git-Protocol"):
            env["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value[:3]) for name, value in fields if name == "Status"), 200)
        self.send_response(status)
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = handle_any

    def log_message(self, *args):
        pass


@pytest.fixture
def https(tmp_path):
    """A Git server: https.root holds its repositories, https.url its address."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout",
                    str(key), "-out", str(cert), "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.root, server.authorization, server.requests, server.protocol_v2 = tmp_path / "srv", None, [], True
    server.root.mkdir()
    server.url, server.ca = f"https://127.0.0.1:{server.server_port}", str(cert)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("protocol_v2", [True, False])
def test_https(provider, repository, https, protocol_v2):
    https.protocol_v2 = protocol_v2
    provider.config["ca_file"] = https.ca
    first = repository.commit({"a": "one"})
    second = repository.commit({"a": "two"})
    git(https.root, "clone", "-q", "--bare", str(repository.path), "shop.git")
    url = https.url + "/shop.git"
    one, path = make(provider, url, first)
    assert (path / "a").read_text() == "one"
    two, path = make(provider, url, second)
    assert (path / "a").read_text() == "two"
    count = len(https.requests)
    three, _ = make(provider, url, second)
    assert len(https.requests) == count, "a commit that is there is not fetched"
    error = provider.fails("provision", checkout(provider, url, "1" * 40))
    assert error["class"] == "invalid" and "no commit 1111" in error["message"]
    error = provider.fails("provision", checkout(provider, https.url + "/none.git", first))
    assert error["class"] == "invalid" and "none.git" in error["message"]
    for resource in (one, two, three):
        provider.ask("deprovision", resource)
    assert left_over(provider) == []


def test_https_with_authorization(provider, repository, https):
    https.authorization = "Basic dG9rZW46czNjcmV0"
    provider.config["ca_file"] = https.ca
    commit = repository.commit({"a": "one"})
    git(https.root, "clone", "-q", "--bare", str(repository.path), "shop.git")
    url = https.url + "/shop.git"
    assert provider.fails("provision", checkout(provider, url, commit))["class"] == "denied"
    provider.config["authorization"] = {https.url[len("https://"):]: https.authorization}
    _, path = make(provider, url, commit)
    assert (path / "a").read_text() == "one"
    assert "dG9rZW46" not in subprocess.run(["grep", "-r", "dG9rZW46", str(provider.state_dir)],
                                            capture_output=True, text=True, check=False).stdout


def test_submodules_of_remote_parents(provider, repository, https):
    """A relative one is fetched; the file system of this machine is closed to it."""
    provider.config["ca_file"] = https.ca
    commit = with_submodule(repository, "../lib.git")
    for name in ("shop", "lib"):
        git(https.root, "clone", "-q", "--mirror", str(repository.path.parent / name), name + ".git")
    _, path = make(provider, https.url + "/shop.git", commit)
    assert (path / "lib/lib.txt").read_text() == "lib\n"

    hostile = Repository(repository.path.parent / "hostile")
    modules = f'[submodule "x"]\n\tpath = lib\n\turl = {repository.path.parent}/lib\n'
    inner = git(repository.path.parent / "lib", "rev-parse", "HEAD")
    commit = hostile.tree(("100644", b".gitmodules", modules.encode()), ("160000", b"lib", inner))
    git(https.root, "clone", "-q", "--mirror", str(hostile.path), "hostile.git")
    error = provider.fails("provision", checkout(provider, https.url + "/hostile.git", commit))
    assert error["class"] == "invalid" and "beside" in error["message"]


def test_strangers_submodules_never_use_the_admins_keys(provider, repository, https):
    https.authorization = "Basic dG9rZW46czNjcmV0"
    provider.config["ca_file"] = https.ca
    provider.config["authorization"] = {https.url[len("https://"):]: https.authorization}
    commit = with_submodule(repository, "../lib.git")
    for name in ("shop", "lib"):
        git(https.root, "clone", "-q", "--mirror", str(repository.path.parent / name), name + ".git")
    provider.environment["trust"] = "member"
    make(provider, https.url + "/shop.git", commit)
    provider.environment["trust"] = "stranger"
    error = provider.fails("provision", checkout(provider, https.url + "/shop.git", commit))
    assert error["class"] == "denied" and "Submodule 'lib'" in error["message"]


def test_ssh(provider, repository, tmp_path):
    """ssh is asked for the right things; what it would reach is played by a local program."""
    commit = repository.commit({"a": "one"})
    bare = tmp_path / "srv" / "shop.git"
    git(tmp_path, "clone", "-q", "--bare", str(repository.path), str(bare))
    log = tmp_path / "ssh.log"
    program = tmp_path / "it's ssh"
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@" >>"' + str(log) + '"\n'
                       'case "$*" in *denied*) echo "git@denied: Permission denied (publickey)." >&2; exit 255;; '
                       '*lost*) echo "ssh: connect to host lost port 22: Connection refused" >&2; exit 255;; esac\n'
                       'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"\n'
                       'eval "exec ${!#}"\n')
    program.chmod(0o755)
    provider.config.update(ssh_program=str(program), ssh_key="/keys/a b", ssh_known_hosts="/keys/hosts")
    for url in (f"ssh://git@forge.example{bare}", f"git@forge.example:{bare}"):
        _, path = make(provider, url, commit)
        assert (path / "a").read_text() == "one"
    words = log.read_text().split("\n")
    assert "-oBatchMode=yes" in words and "/keys/a b" in words and "-oUserKnownHostsFile=/keys/hosts" in words
    for host, kind in (("denied", "denied"), ("lost", "transient")):
        error = provider.fails("provision", checkout(provider, f"git@{host}:x.git", commit))
        assert error["class"] == kind, error


def test_cancelled_fetch_ends_with_its_processes(provider, repository, tmp_path):
    commit = repository.commit({"a": "one"})
    program = tmp_path / "ssh"
    marker = tmp_path / "started"
    program.write_text(f"#!/bin/sh\necho $$ >{marker}\nexec sleep 1000\n")
    program.chmod(0o755)
    provider.config["ssh_program"] = str(program)
    resource = checkout(provider, "git@forge.example:shop.git", commit)
    child = subprocess.Popen([str(provider.program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             start_new_session=True)
    child.stdin.write(json.dumps(provider.request("provision", resource)).encode())
    child.stdin.close()
    wait_until(lambda: marker.exists() and marker.read_text().strip(), what="the fetch")
    os.killpg(child.pid, signal.SIGTERM)
    child.wait(5)
    pid = int(marker.read_text())
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/stat") or
               pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z",
               what="the end of what it started")
    error = provider.fails("provision", resource, deadline_ms=500)
    assert error["class"] == "transient"
    provider.ask("deprovision", resource)
    assert left_over(provider) == []
