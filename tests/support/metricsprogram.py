"""A program for pods in tests: exports one counter with labels that a scrape must leave alone, at /numbers."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNTERS = b"""# TYPE model_rows_total counter
model_rows_total{model="digits",revision="digits-0a1b2c3d4e",namespace="claimed"} 7
"""


class Numbers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/numbers" else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(COUNTERS)


ThreadingHTTPServer((os.environ["POD_IP"], 9000), Numbers).serve_forever()
