"""The real gateway on real sockets, without the engine: the door alone, and HAProxy with the door behind it.

gateway-driver plays the engine: it writes routes into a ledger and prints the visits and refusals it is told of.
"""
import base64
import contextlib
import hashlib
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", ROOT / "build" / "asan"))
DRIVER = BUILD / "tests" / "integration" / "gateway-driver"
UPGRADE = ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
BROWSER = "Accept: text/html,*/*;q=0.8\r\n"
ROBOT = "User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)\r\n"
SLACK_S = 20  # how long anything may take on a busy machine before it counts as hanging

pytestmark = pytest.mark.skipif(not DRIVER.exists(), reason=f"{DRIVER} is not built")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=SLACK_S):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)


# ---- the client: raw bytes in, what came back out ----

class Answer:
    def __init__(self, status, head, body):
        self.status, self.head, self.body = status, head, body

    def header(self, name):
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    def __repr__(self):
        return f"<{self.status} {self.head!r} {self.body[:200]!r}>"


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), SLACK_S)
        self.data = bytearray()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return self

    def more(self):
        part = self.socket.recv(65536)
        self.data += part
        return part

    def answer(self, no_body=False):
        while b"\r\n\r\n" not in self.data:
            assert self.more(), f"closed without an answer after {self.data!r}"
        head = self.take(self.data.index(b"\r\n\r\n") + 4)[:-4]
        result = Answer(int(head.split()[1]), head.decode("latin-1"), b"")
        if no_body or result.status in (101, 204, 304):
            return result
        if "chunked" in (result.header("Transfer-Encoding") or ""):
            result.body = self.chunks()
            return result
        length = result.header("Content-Length")
        while length is None or len(self.data) < int(length):
            if not self.more():
                assert length is None, f"cut short: {len(self.data)} of {length} bytes"
                break
        size = len(self.data) if length is None else int(length)
        result.body = self.take(size)
        return result

    def take(self, size):
        part = bytes(self.data[:size])
        del self.data[:size]
        return part

    def line(self):
        while b"\r\n" not in self.data:
            assert self.more(), "closed within a chunk"
        return self.take(self.data.index(b"\r\n") + 2)[:-2]

    def chunks(self):
        body = b""
        while True:
            size = int(self.line(), 16)
            while len(self.data) < size + 2:
                assert self.more(), "closed within a chunk"
            body += self.take(size + 2)[:-2]
            if size == 0:
                return body

    def closed(self):
        """Reads to the end; True when it came as an orderly end."""
        try:
            while self.more():
                pass
            return True
        except ConnectionResetError:
            return False

    def close(self):
        self.socket.close()


def request(host, path="/", extra="", method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n"


def get(port, host, path="/", extra=""):
    with contextlib.closing(Client(port)) as client:
        return client.send(request(host, path, extra)).answer()


# ---- the backend: says who it is and what it was asked ----

class Backend:
    def __init__(self, name, port=0):
        self.name, self.requests, self.connections = name, [], 0
        self.open = set()
        self.socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def endpoint(self, path="/"):
        return {"path": path, "address": "127.0.0.1", "port": self.port}

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for s in list(self.open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                self.connections += 1
                self.open.add(s)
                threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), s, s.makefile("rb") as f:
            while self.one(s, f):
                pass
        self.open.discard(s)

    def one(self, s, f):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = f.readline()
            if not line:
                return False
            head += line
        text = head.decode("latin-1")
        method, path, _ = text.split("\r\n")[0].split(" ")
        fields = {l.partition(":")[0].lower(): l.partition(":")[2].strip() for l in text.split("\r\n")[1:] if l}
        self.requests.append(text)
        if fields.get("upgrade") == "websocket":
            key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 4.2.2
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            while data := f.read1(65536):
                s.sendall(data.upper())
            return False
        body = f.read(int(fields.get("content-length", 0)))
        if fields.get("transfer-encoding") == "chunked":
            while size := int(f.readline(), 16):
                body += f.read(size)
                f.readline()
            f.readline()
        return self.reply(s, method, path, fields, body)

    def reply(self, s, method, path, fields, body):
        close = fields.get("connection", "").lower() == "close"
        if path.startswith("/hang-up"):
            return False
        if path.startswith("/wait/"):
            time.sleep(float(path[6:]))
        text = f"{self.name} {method} {path} {hashlib.sha256(body).hexdigest()} {len(body)}".encode()
        if path.startswith("/big/"):
            text = b"x" * int(path[5:])
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n" + ("Connection: close\r\n" if close else "")
        s.sendall(head.encode() + b"\r\n" + (b"" if method == "HEAD" else text))
        return not close


# ---- the gateway ----

class Gateway:
    def __init__(self, front, folder, wrapper=(), **variables):
        self.front, self.folder, self.wrapper, self.variables = front, folder, wrapper, variables
        self.listen = "127.0.0.1:0"
        self.haproxy = f"127.0.0.1:{free_port()}" if front == "haproxy" else "-"
        self.start()

    def start(self):
        self.lines = queue.Queue()
        self.seen = []
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="halt_on_error=1",
                           **self.variables)
        self.process = subprocess.Popen([*self.wrapper, DRIVER, self.folder, self.listen, self.haproxy], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)
        threading.Thread(target=self.read, args=(self.process,), daemon=True).start()
        self.port = int(self.expect("port").split()[1])

    def read(self, process):
        for line in process.stdout:
            self.lines.put(line.rstrip("\n"))

    def expect(self, word, seconds=SLACK_S):
        """The next line that begins with word; the others are kept in seen."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line '{word}', only {self.seen}") from None
            assert not line.startswith(("failed", "unknown")), line
            if line.split(" ")[0] == word:
                return line
            self.seen.append(line)

    def told(self, word):
        """How often the engine was told this by now."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.seen.append(self.lines.get_nowait())
        return sum(line == word for line in self.seen)

    def say(self, *words, answer="ok"):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        return self.expect(answer)

    def put(self, host, answer, endpoints=(), environment=None, facts=None):
        self.say("put", host, environment or "e-" + host.split(".")[0], answer, json.dumps(list(endpoints)),
                 json.dumps(facts or {}))
        if self.front == "haproxy":  # the map is changed over a socket; the door answers rightly until then
            time.sleep(0.02)

    def activity(self, host):
        known, age, n_open = self.say("activity", host, "e-" + host.split(".")[0], answer="activity").split()[1:]
        return known == "1", int(age), int(n_open)

    def haproxy_pid(self):
        return int((pathlib.Path(self.folder) / "haproxy.pid").read_text())

    def end(self):
        """Ends the driver as a daemon ends; HAProxy stays."""
        self.process.stdin.close()
        assert self.process.wait(SLACK_S) == 0

    def clear(self):
        """Ends everything, also after a test that failed half-way."""
        try:
            if self.process.poll() is None:
                if self.front == "haproxy":
                    self.say("stop-haproxy")
                self.end()
            assert self.process.returncode == 0
        finally:
            with contextlib.suppress(OSError, ValueError):
                self.process.kill()
            with contextlib.suppress(OSError, ValueError):
                os.kill(self.haproxy_pid(), signal.SIGKILL)  # its file is gone when it was stopped


def a_gateway(front, **variables):
    if front == "haproxy" and not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")
    with tempfile.TemporaryDirectory(prefix="mayfly-gw-") as folder:
        g = Gateway(front, folder, **variables)
        yield g
        g.clear()


@pytest.fixture(params=["door", "haproxy"])
def gateway(request):
    yield from a_gateway(request.param)


@pytest.fixture(params=["door", "haproxy"])
def impatient(request):
    yield from a_gateway(request.param, HOLD_MS="400")


@pytest.fixture
def backend():
    b = Backend("one")
    yield b
    with contextlib.suppress(OSError):
        b.close()


HOST = "pr-86--shop.preview.localhost"


# ---- awake environments ----

def test_request_reaches_its_environment(gateway, backend):
    other = Backend("two")
    gateway.put(HOST, "direct", [backend.endpoint()])
    gateway.put("main--shop.preview.localhost", "direct", [other.endpoint()])
    assert get(gateway.port, HOST, "/a?b=c").body.startswith(b"one GET /a?b=c ")
    assert get(gateway.port, "main--shop.preview.localhost").body.startswith(b"two GET / ")
    assert get(gateway.port, HOST.upper() + ":8150").body.startswith(b"one ")
    assert get(gateway.port, HOST + ".").body.startswith(b"one ")
    other.close()


def test_host_line_is_passed_on_unchanged(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    get(gateway.port, HOST + ":8150")
    assert f"host: {HOST}:8150\r\n" in backend.requests[-1].lower()


def test_longest_path_wins_on_segment_borders(gateway, backend):
    api, admin = Backend("api"), Backend("admin")
    gateway.put(HOST, "direct", [backend.endpoint(), api.endpoint("/api"), admin.endpoint("/api/admin/")])
    for path, name in [("/", "one"), ("/api", "api"), ("/api/", "api"), ("/api/x", "api"), ("/api?x=/", "api"),
                       ("/apix", "one"), ("/ap", "one"), ("/api/admin", "admin"), ("/api/admin/x", "admin"),
                       ("/api/administrator", "api"), ("//api", "one"), ("/x/api", "one")]:
        def right():
            return get(gateway.port, HOST, path).body.startswith(name.encode() + b" ")
        wait_until(right, f"{path} answered by {name}")
    api.close()
    admin.close()


def test_paths_without_a_root_answer_404(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint("/api")])
    wait_until(lambda: get(gateway.port, HOST, "/api/x").status == 200, "/api is served")
    assert get(gateway.port, HOST, "/other").header("Mayfly-Page") == "refused"


def test_each_request_of_a_connection_finds_its_path(gateway, backend):
    """A keep-alive connection must not carry a request to the workload of another path."""
    api = Backend("api")
    gateway.put(HOST, "direct", [backend.endpoint(), api.endpoint("/api")])
    wait_until(lambda: get(gateway.port, HOST, "/api").body.startswith(b"api "), "the route is there")
    client = Client(gateway.port).send(request(HOST, "/api/1") + request(HOST, "/2"))
    first = client.answer()
    assert first.body.startswith(b"api GET /api/1 ")
    if gateway.front == "door":
        assert first.header("Connection") == "close"
        assert client.closed()
        assert not any("GET /2 " in r for r in api.requests + backend.requests)
    else:
        assert client.answer().body.startswith(b"one GET /2 ")
    client.close()
    client = Client(gateway.port).send(request(HOST, "/api/up", "Content-Length: 100000\r\n", "POST") + "a" * 50000)
    client.send("a" * 50000)
    assert client.answer().body.endswith(b" 100000")
    client.close()
    api.close()


def test_keep_alive_and_pipelining(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    get(gateway.port, HOST)
    client = Client(gateway.port)
    for i in range(20):
        assert client.send(request(HOST, f"/{i}")).answer().body.startswith(f"one GET /{i} ".encode())
    client.send("".join(request(HOST, f"/p{i}") for i in range(20)))
    for i in range(20):
        assert client.answer().body.startswith(f"one GET /p{i} ".encode())
    client.close()


@pytest.mark.parametrize("size", [0, 1, 16384, 1000003, 20000003])
def test_bodies_of_all_sizes(gateway, backend, size):
    gateway.put(HOST, "direct", [backend.endpoint()])
    body = os.urandom(1) * size
    with contextlib.closing(Client(gateway.port)) as client:
        client.send(request(HOST, "/up", f"Content-Length: {size}\r\n", "POST")).send(body)
        assert client.answer().body.decode().split()[3:] == [hashlib.sha256(body).hexdigest(), str(size)]
        assert len(client.send(request(HOST, f"/big/{size}")).answer().body) == size


def test_chunked_upload(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    with contextlib.closing(Client(gateway.port)) as client:
        client.send(request(HOST, "/up", "Transfer-Encoding: chunked\r\n", "POST"))
        for _ in range(100):
            client.send("3e8\r\n" + "c" * 1000 + "\r\n")
        assert client.send("0\r\n\r\n").answer().body.endswith(b" 100000")


def test_a_slow_reader_does_not_stop_the_others(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    slow = Client(gateway.port)
    slow.send(request(HOST, "/big/30000000"))
    for _ in range(20):
        assert get(gateway.port, HOST).status == 200
    assert len(slow.answer().body) == 30000000
    slow.close()


def test_websocket(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    client = Client(gateway.port).send(request(HOST, "/ws", UPGRADE))
    assert client.answer().status == 101
    for i in range(50):
        client.send(f"hello {i}\n")
        while f"HELLO {i}\n".encode() not in client.data:
            assert client.more()
    gateway.say("remove", HOST)  # what is open stays open
    client.send("still\n")
    while b"STILL\n" not in client.data:
        assert client.more()
    client.close()


def test_half_close_still_gets_its_answer(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    with contextlib.closing(Client(gateway.port)) as client:
        client.send(request(HOST, "/wait/0.3", "Connection: close\r\n"))
        if gateway.front == "door":
            client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().status == 200
        assert client.closed()


def test_route_moves_to_a_new_endpoint(gateway, backend):
    new = Backend("new")
    gateway.put(HOST, "direct", [backend.endpoint()])
    assert get(gateway.port, HOST).body.startswith(b"one ")
    gateway.put(HOST, "direct", [new.endpoint()])
    wait_until(lambda: get(gateway.port, HOST).body.startswith(b"new "), "the new endpoint answers")
    new.close()


# ---- doubtful and slow heads ----

@pytest.mark.parametrize("text,statuses", [
    ("GET / HTTP/1.1\r\n\r\n", {400}),
    (f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: b.test\r\n\r\n", {400}),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
    (f"GET http://b.test/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n", {400}),
    (f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n", {400, 405}),
    (f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", {400}),
    (f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX Y: z\r\n\r\n", {400}),
    (f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Abc: \rxTransfer-Encoding: chunked\r\n\r\n", {400}),
    (f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX: " + "a" * 40000 + "\r\n\r\n", {400, 431}),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
])
def test_hostile_heads_are_refused(gateway, backend, text, statuses):
    gateway.put(HOST, "direct", [backend.endpoint()])
    with contextlib.closing(Client(gateway.port)) as client:
        with contextlib.suppress(ConnectionError):
            client.send(text)
        answer = client.answer()  # what is no HTTP at all, HAProxy refuses in its own words
        assert answer.status in statuses
        assert gateway.front == "haproxy" or answer.header("Mayfly-Page") == "refused-request"
    assert not backend.requests
    assert get(gateway.port, HOST).status == 200


def test_head_in_single_bytes(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    with contextlib.closing(Client(gateway.port)) as client:
        for c in request(HOST, "/slowly", "X-A: b\r\n"):
            client.send(c)
            time.sleep(0.001)
        assert client.answer().body.startswith(b"one GET /slowly ")


def test_head_that_never_ends_is_given_up(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    client, silent = Client(gateway.port).send("GET / HTTP/1.1\r\n"), Client(gateway.port)
    started = time.monotonic()
    assert client.answer().status == 408
    assert 8 < time.monotonic() - started < 18
    client.close()
    silent.socket.settimeout(SLACK_S)
    silent.closed()
    silent.close()


# ---- addresses that are not awake ----

@pytest.mark.parametrize("answer,status", [("building", 503), ("failed", 502), ("gone", 410)])
def test_pages_with_their_status(gateway, answer, status):
    gateway.put(HOST, answer)
    page = get(gateway.port, HOST, "/", BROWSER)
    assert (page.status, page.header("Content-Type")) == (status, "text/html; charset=utf-8")
    assert page.body == f"<p>page {answer} for {HOST}</p>".encode()
    assert page.header("Cache-Control") == "no-store"
    assert page.header("Mayfly-Page") == answer
    assert "default-src 'none'" in page.header("Content-Security-Policy")
    assert bool(page.header("Retry-After")) == (status == 503)
    plain = get(gateway.port, HOST)
    assert (plain.status, plain.body) == (status, f"page {answer} for {HOST}\n".encode())
    tree = json.loads(get(gateway.port, HOST, "/", "Accept: application/json\r\n").body)
    assert tree == {"error": {"code": answer, "message": f"page {answer} for {HOST}\n"}}
    client = Client(gateway.port).send(request(HOST, "/", "Connection: close\r\n", "HEAD"))
    head = client.answer(no_body=True)
    assert head.status == status and client.closed() and not client.data
    client.close()
    assert gateway.told("visit e-pr-86--shop") == 0


def test_unknown_host(gateway):
    page = get(gateway.port, "nobody--shop.preview.localhost", "/", BROWSER)
    assert page.status == 404 and b"page unknown for nobody--shop" in page.body
    assert get(gateway.port, "127.0.0.1").status == 404


def test_removed_route_is_unknown(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    assert get(gateway.port, HOST).status == 200
    gateway.say("remove", HOST)
    wait_until(lambda: get(gateway.port, HOST).status == 404, "404")


def test_page_is_answered_to_a_large_upload(gateway):
    gateway.put(HOST, "failed")
    client = Client(gateway.port).send(request(HOST, "/", "Content-Length: 3000000\r\n", "POST"))
    with contextlib.suppress(ConnectionError):
        client.send(b"x" * 3000000)
    assert client.answer().status == 502
    client.close()


# ---- asleep ----

def in_background(function):
    result = queue.Queue()

    def run():
        try:
            result.put(function())
        except BaseException as e:  # shown where it is awaited
            result.put(e)
    threading.Thread(target=run, daemon=True).start()

    def await_it():
        value = result.get(timeout=SLACK_S)
        if isinstance(value, BaseException):
            raise value
        return value
    return await_it


def test_request_is_held_while_it_wakes(gateway, backend):
    gateway.put(HOST, "asleep")
    held = in_background(lambda: get(gateway.port, HOST, "/held"))
    gateway.expect("visit")
    gateway.put(HOST, "waking")
    gateway.put(HOST, "direct", [backend.endpoint()])
    assert held().body.startswith(b"one GET /held ")


def test_post_with_body_is_held(gateway, backend):
    gateway.put(HOST, "asleep")
    body = b"y" * 900000

    def post():
        with contextlib.closing(Client(gateway.port)) as client:
            return client.send(request(HOST, "/up", f"Content-Length: {len(body)}\r\n", "POST")).send(body).answer()
    held = in_background(post)
    gateway.expect("visit")
    gateway.put(HOST, "direct", [backend.endpoint()])
    assert held().body.endswith(b" 900000")


def test_hold_ends_in_a_page_when_the_wake_takes_too_long(impatient, backend):
    impatient.put(HOST, "asleep")
    begin = time.monotonic()
    client = Client(impatient.port).send(request(HOST, "/x", "Content-Length: 3\r\n", "POST") + "abc")
    program = Client(impatient.port).send(request(HOST, "/y", "Accept: application/json\r\n"))
    assert impatient.expect("visit")
    impatient.put(HOST, "waking")
    page = client.answer()
    assert time.monotonic() - begin >= 0.4
    assert page.status == 503 and page.header("Mayfly-Page") == "waking" and page.header("Retry-After") == "1"
    assert page.body.startswith(b"page waking for ")
    page = program.answer()
    assert page.status == 503 and json.loads(page.body)["error"]["code"] == "waking"
    assert not backend.requests
    impatient.put(HOST, "direct", [backend.endpoint()])
    wait_until(lambda: get(impatient.port, HOST).status == 200, "the next request is served")
    client.close()
    program.close()


def test_websocket_is_held(gateway, backend):
    gateway.put(HOST, "asleep")
    client = Client(gateway.port)
    client.send(request(HOST, "/ws", BROWSER + UPGRADE))
    gateway.expect("visit")
    gateway.put(HOST, "direct", [backend.endpoint()])
    assert client.answer().status == 101
    client.send("hello\n")
    while b"HELLO\n" not in client.data:
        assert client.more()
    client.close()


def test_fifty_are_held_at_once(gateway, backend):
    gateway.put(HOST, "asleep")
    held = [in_background(lambda i=i: get(gateway.port, HOST, f"/{i}")) for i in range(50)]
    gateway.expect("visit")
    gateway.put(HOST, "waking")
    time.sleep(0.3)
    assert gateway.told("visit e-pr-86--shop") < 10  # not one for each
    gateway.put(HOST, "direct", [backend.endpoint()])
    for i, one in enumerate(held):
        assert one().body.startswith(f"one GET /{i} ".encode())


def test_more_than_the_limit_are_told_to_come_again(gateway, backend):
    gateway.put(HOST, "asleep")
    clients = [Client(gateway.port).send(request(HOST)) for _ in range(256)]
    wait_until(lambda: gateway.told("visit e-pr-86--shop"), "a visit")
    time.sleep(0.5)
    over = get(gateway.port, HOST)
    assert over.status == 503 and over.header("Retry-After")
    for client in clients[:100]:
        client.close()  # who leaves makes room
    gateway.put(HOST, "direct", [backend.endpoint()])
    for client in clients[100:]:
        assert client.answer().status == 200
        client.close()


def test_navigation_gets_the_waiting_page_at_once(gateway, backend):
    for answer in ("asleep", "waking"):
        gateway.put(HOST, answer)
        page = get(gateway.port, HOST, "/", BROWSER)
        assert page.status == 503 and page.body == f"<p>page {answer} for {HOST}</p>".encode()
        assert page.header("Retry-After") and page.header("Cache-Control") == "no-store"
    wait_until(lambda: gateway.told("visit e-pr-86--shop") >= 1, "the engine is told")
    gateway.put(HOST, "direct", [backend.endpoint()])
    wait_until(lambda: get(gateway.port, HOST, "/", BROWSER).status == 200, "the environment answers")


def test_robot_wakes_nothing(gateway, backend):
    gateway.put(HOST, "asleep")
    assert get(gateway.port, HOST, "/", ROBOT).status == 503
    assert get(gateway.port, HOST, "/", BROWSER + "Sec-Purpose: prefetch\r\n").status == 503
    assert gateway.told("visit e-pr-86--shop") == 0
    gateway.put(HOST, "direct", [backend.endpoint()])
    wait_until(lambda: get(gateway.port, HOST, "/", ROBOT).status == 200, "a robot is served")
    time.sleep(0.2)
    age = gateway.activity(HOST)[1]
    assert age == -1 if gateway.front == "door" else age >= 200  # HAProxy: not since it was started


def test_held_request_hears_of_a_failure(gateway):
    gateway.put(HOST, "waking")
    held = in_background(lambda: get(gateway.port, HOST))
    gateway.expect("visit")
    gateway.put(HOST, "failed")
    assert held().status == 502
    gateway.put(HOST, "waking")
    held = in_background(lambda: get(gateway.port, HOST))
    gateway.expect("visit")
    gateway.say("remove", HOST)
    assert held().status == 404


def test_host_that_belongs_to_a_new_environment(gateway, backend):
    gateway.put(HOST, "waking", environment="e-old")
    held = in_background(lambda: get(gateway.port, HOST))
    gateway.expect("visit")
    gateway.put(HOST, "direct", [backend.endpoint()], environment="e-new")
    assert held().status == 200


# ---- endpoints that do not answer ----

def test_dead_endpoint_ends_in_a_page(gateway):
    port = free_port()
    gateway.put(HOST, "direct", [{"path": "/", "address": "127.0.0.1", "port": port}])
    started = time.monotonic()
    page = get(gateway.port, HOST, "/", BROWSER)
    assert page.status == 502 and page.header("Mayfly-Page") == "refused"
    assert time.monotonic() - started > 3
    wait_until(lambda: gateway.told("refused e-pr-86--shop") >= 1, "the engine is told")


def test_request_waits_for_an_endpoint_that_restarts(gateway):
    port = free_port()
    gateway.put(HOST, "direct", [{"path": "/", "address": "127.0.0.1", "port": port}])
    held = in_background(lambda: get(gateway.port, HOST, "/again"))
    gateway.expect("refused")
    late = Backend("late", port)
    assert held().body.startswith(b"late GET /again ")
    late.close()


def test_endpoint_that_hangs_up_ends_in_a_page(gateway, backend):
    """A forwarder accepts for a workload that does not listen; GET is asked again, POST is not."""
    gateway.put(HOST, "direct", [backend.endpoint()])
    page = get(gateway.port, HOST, "/hang-up", BROWSER)
    assert page.status == 502
    assert len(backend.requests) > 1
    backend.requests.clear()
    client = Client(gateway.port).send(request(HOST, "/hang-up", "Content-Length: 3\r\n", "POST") + "abc")
    page = client.answer()
    assert page.status == 502 and page.header("Mayfly-Page") == "refused"
    if gateway.front == "haproxy":
        assert b"closed the connection before it answered" in page.body
    assert len(backend.requests) == 1
    client.close()


# ---- use ----

@pytest.mark.parametrize("agent,counts", [
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", True),
    ("curl/8.0 (a robotic arm)", True), ("Mozilla/5.0 (compatible; Googlebot/2.1)", False), ("MyBot) x", False),
    ("MATTERMOST x", False), ("blackbox exporter", False), ("a check_http b", False)])
def test_robots_do_not_count(gateway, backend, agent, counts):
    gateway.put(HOST, "direct", [backend.endpoint()])
    time.sleep(0.3)
    assert get(gateway.port, HOST, "/", f"User-Agent: {agent}\r\nConnection: close\r\n").status == 200
    age = gateway.activity(HOST)[1]
    assert (0 <= age < 300) == counts, age


def test_a_visitor_cannot_say_where_it_comes_from(gateway, backend):
    if gateway.front == "door":
        pytest.skip("the door changes no line; it listens for this machine alone")
    gateway.put(HOST, "direct", [backend.endpoint()])
    get(gateway.port, HOST, "/", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\n"
        "X-Forwarded-Host: evil.test\r\nForwarded: for=6.6.6.6\r\n")
    text = backend.requests[-1].lower()
    assert "x-forwarded-for: 127.0.0.1" in text
    assert not any(word in text for word in ("6.6.6.6", "evil.test", "https"))


def test_activity(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    time.sleep(0.3)
    known, age, n_open = gateway.activity(HOST)
    assert known and n_open == 0 and (age == -1 if gateway.front == "door" else age >= 300)
    get(gateway.port, HOST, "/", "Connection: close\r\n")
    wait_until(lambda: 0 <= gateway.activity(HOST)[1] < 300, "the visit is seen")
    slow = Client(gateway.port).send(request(HOST, "/wait/1"))
    wait_until(lambda: gateway.activity(HOST)[2] == 1, "an open request is seen")
    assert slow.answer().status == 200
    slow.close()
    wait_until(lambda: gateway.activity(HOST)[2] == 0, "it is over")
    known, age, n_open = gateway.activity("nobody--shop.preview.localhost")
    assert known and n_open == 0 and (age == -1 if gateway.front == "door" else age >= 300)


def test_visits_of_an_awake_environment_are_told_seldom(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    for _ in range(30):
        get(gateway.port, HOST)
    assert gateway.told("visit e-pr-86--shop") <= 1
    if gateway.front == "door":
        wait_until(lambda: gateway.told("visit e-pr-86--shop") == 1, "one visit")


# ---- many routes, restarts ----

def test_a_thousand_routes(gateway, backend):
    gateway.say("many", "1000", "127.0.0.1", str(backend.port))
    for i in (0, 1, 499, 998, 999):
        assert get(gateway.port, f"site-{i}.preview.localhost", f"/{i}").body.startswith(f"one GET /{i} ".encode())
    assert get(gateway.port, "site-1000.preview.localhost").status == 404


def test_restart_of_the_daemon_keeps_the_routes(gateway, backend):
    gateway.put(HOST, "direct", [backend.endpoint()])
    gateway.put("asleep--shop.preview.localhost", "asleep")
    assert get(gateway.port, HOST).status == 200
    pid = gateway.haproxy_pid() if gateway.front == "haproxy" else None
    gateway.end()
    if pid:  # previews answer while there is no daemon
        assert get(gateway.port, HOST).status == 200
    gateway.start()
    assert get(gateway.port, HOST).status == 200
    assert get(gateway.port, "asleep--shop.preview.localhost", "/", BROWSER).status == 503


# ---- HAProxy's process ----

@pytest.fixture
def haproxy():
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")
    with tempfile.TemporaryDirectory(prefix="mayfly-gw-") as folder:
        g = Gateway("haproxy", folder)
        yield g
        g.clear()


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def map_of(gateway):
    """What the running HAProxy shows, by its own word."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(pathlib.Path(gateway.folder) / "haproxy.sock"))
        s.sendall(f"show map {gateway.folder}/routes.map\n".encode())
        text = b""
        while part := s.recv(65536):
            text += part
    return dict(line.split()[1:3] for line in text.decode().splitlines() if line)


def test_awake_environments_are_reached_without_the_daemon(haproxy, backend):
    api = Backend("api")
    haproxy.put(HOST, "direct", [backend.endpoint()])
    haproxy.put("paths--shop.preview.localhost", "direct", [backend.endpoint(), api.endpoint("/api")])
    wait_until(lambda: len(map_of(haproxy)) == 2, "both are shown")
    pid = haproxy.haproxy_pid()
    haproxy.process.send_signal(signal.SIGKILL)
    haproxy.process.wait()
    assert alive(pid)
    assert get(haproxy.port, HOST).body.startswith(b"one ")
    assert get(haproxy.port, "paths--shop.preview.localhost", "/api/x").body.startswith(b"api ")
    assert get(haproxy.port, "paths--shop.preview.localhost", "/apix").body.startswith(b"one ")
    haproxy.start()
    assert haproxy.haproxy_pid() != 0 and get(haproxy.port, HOST).status == 200
    api.close()


def test_daemon_that_comes_back_is_waited_for(haproxy, backend):
    haproxy.put(HOST, "building")
    haproxy.listen = f"127.0.0.1:{free_port()}"
    haproxy.end()
    haproxy.start()  # a door that keeps its port, as the real one does
    pid = haproxy.haproxy_pid()
    haproxy.end()
    held = in_background(lambda: get(haproxy.port, HOST))
    time.sleep(0.3)
    haproxy.start()
    assert held().status == 503
    assert haproxy.haproxy_pid() == pid


def test_killed_haproxy_is_restarted_with_all_routes(haproxy, backend):
    haproxy.put(HOST, "direct", [backend.endpoint()])
    haproxy.put("two--shop.preview.localhost", "direct", [backend.endpoint()])
    assert get(haproxy.port, HOST).status == 200
    for _ in range(3):
        pid = haproxy.haproxy_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "it is dead")

        def answers():
            try:
                return get(haproxy.port, HOST).status == 200
            except (OSError, AssertionError):
                return False
        wait_until(answers, "it answers again")
        assert haproxy.haproxy_pid() != pid
        wait_until(lambda: len(map_of(haproxy)) == 2, "it shows both")
    haproxy.put("three--shop.preview.localhost", "direct", [backend.endpoint()])
    haproxy.say("remove", "two--shop.preview.localhost")
    wait_until(lambda: set(map_of(haproxy)) == {HOST, "three--shop.preview.localhost"}, "changes arrive")
    known, age, _ = haproxy.activity(HOST)
    assert known and 0 <= age < 60000  # what the dead one had counted is not "unused"


def test_strange_changes_are_repaired(haproxy, backend):
    """A map that differs from what the daemon remembers is replaced as a whole."""
    for i in range(5):
        haproxy.put(f"site-{i}.preview.localhost", "direct", [backend.endpoint()])
    wait_until(lambda: len(map_of(haproxy)) == 5, "all are shown")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(pathlib.Path(haproxy.folder) / "haproxy.sock"))
        s.sendall(f"clear map {haproxy.folder}/routes.map\n".encode())
        s.recv(100)
    assert map_of(haproxy) == {}
    assert get(haproxy.port, "site-1.preview.localhost").status == 200  # the door knows it
    haproxy.put("site-2.preview.localhost", "asleep")
    wait_until(lambda: len(map_of(haproxy)) == 4, "the others are shown again")


def test_many_routes_are_shown_and_found_again(haproxy, backend):
    haproxy.say("many", "3000", "127.0.0.1", str(backend.port))
    wait_until(lambda: len(map_of(haproxy)) == 3000, "all are shown")
    assert len((pathlib.Path(haproxy.folder) / "routes.map").read_text().splitlines()) == 3000
    haproxy.end()
    haproxy.start()
    wait_until(lambda: len(map_of(haproxy)) == 3000, "all are shown")


def test_haproxy_that_is_not_there(tmp_path):
    environment = dict(os.environ, PATH="/nonexistent")
    result = subprocess.run([DRIVER, tmp_path, "127.0.0.1:0", "127.0.0.1:1"], env=environment, text=True,
                            capture_output=True, timeout=SLACK_S, check=False)
    assert result.returncode == 1 and "apt-get install haproxy" in result.stdout


def test_haproxy_port_that_is_taken(tmp_path, backend):
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")
    result = subprocess.run([DRIVER, tmp_path, "127.0.0.1:0", f"127.0.0.1:{backend.port}"], text=True,
                            capture_output=True, timeout=SLACK_S, check=False)
    assert result.returncode == 1 and "HAProxy does not start" in result.stdout


def test_door_beyond_loopback_is_refused(tmp_path):
    result = subprocess.run([DRIVER, tmp_path, "0.0.0.0:0", "-"], text=True, capture_output=True, timeout=SLACK_S,
                            check=False)
    assert result.returncode == 1 and "front_beyond_loopback" in result.stdout


# ---- the end of means ----

def test_door_without_descriptors_waits_and_does_not_spin(backend):
    with tempfile.TemporaryDirectory(prefix="mayfly-gw-") as folder:
        g = Gateway("door", folder, ["prlimit", "--nofile=100:100"])
        g.put(HOST, "direct", [backend.endpoint()])
        idle = [Client(g.port) for _ in range(120)]

        def used():
            fields = pathlib.Path(f"/proc/{g.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        time.sleep(0.5)
        before = used()
        time.sleep(1.5)
        assert used() - before < 10  # hundredths of a second
        for client in idle:
            client.close()
        assert get(g.port, HOST).status == 200
        g.end()


def test_an_idle_gateway_sleeps():
    """No timer, no polling: nothing happens where nobody visits."""
    with tempfile.TemporaryDirectory(prefix="mayfly-gw-") as folder:
        g = Gateway("door", folder)
        g.put(HOST, "asleep")

        def switches():
            text = pathlib.Path(f"/proc/{g.process.pid}/status").read_text()
            return int(text.split("voluntary_ctxt_switches:")[1].split()[0])
        time.sleep(0.3)
        before = switches()
        time.sleep(3)
        assert switches() - before <= 1
        g.end()
