"""Serves web/public/ on $PORT."""
import functools
import http.server
import os
import pathlib


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def end_headers(self):
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


public = pathlib.Path(__file__).resolve().parent / "public"
server = http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])),
                                         functools.partial(Handler, directory=public))
server.serve_forever()
