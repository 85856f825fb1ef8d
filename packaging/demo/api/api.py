"""The guestbook's API: entries in one SQLite file on the volume.

GET /api/health, GET /api/entries, POST /api/entries {"text": ...}
"""
import http.server
import json
import os
import sqlite3


def database():
    connection = sqlite3.connect(os.environ["DATABASE"], timeout=5)
    connection.execute("CREATE TABLE IF NOT EXISTS entries (at TEXT NOT NULL, text TEXT NOT NULL)")
    return connection


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one write: two would wait for each other's acknowledgement

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/api/health":
            self.answer(200, {"ok": True})
        elif self.path == "/api/entries":
            with database() as connection:
                rows = connection.execute("SELECT at, text FROM entries ORDER BY rowid DESC LIMIT 50")
                entries = [{"at": at, "text": text} for at, text in rows]
            self.answer(200, {"branch": os.environ.get("MAYFLY_BRANCH", ""), "entries": entries})
        else:
            self.answer(404, {"error": "no such path"})

    def do_POST(self):
        try:
            size = int(self.headers.get("Content-Length", "0"))
            text = str(json.loads(self.rfile.read(min(size, 4096)))["text"])[:200]
        except (ValueError, KeyError, TypeError):
            self.answer(400, {"error": 'send {"text": "..."}'})
            return
        with database() as connection:
            connection.execute("INSERT INTO entries VALUES (datetime('now'), ?)", (text,))
        self.answer(201, {"ok": True})

    def log_message(self, form, *args):
        if self.path != "/api/health":
            super().log_message(form, *args)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("", int(os.environ["PORT"])), Handler).serve_forever()
