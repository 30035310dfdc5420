#!/usr/bin/python3
"""The home's services: pages on TCP 8080 and 8081, answers on UDP 5353.

Each says which address it saw, which is what a test of a relay wants to know.
"""

import http.server
import socketserver
import threading

ANY = ""  # every address: a service that nobody has made ready for a relay
PAGES = (8080, 8081)
DATAGRAMS = 5353


def greeting(address: str) -> bytes:
    """Name the caller."""
    return f"hello from home, you are {address}\n".encode()


class Page(http.server.BaseHTTPRequestHandler):
    """Answers any path with the greeting."""

    def do_GET(self) -> None:
        """Greet."""
        body = greeting(self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Datagram(socketserver.BaseRequestHandler):
    """Answers any datagram with the greeting."""

    def handle(self) -> None:
        """Greet."""
        self.request[1].sendto(greeting(self.client_address[0]), self.client_address)


class Pages(socketserver.ThreadingTCPServer):
    """Not HTTPServer, which looks its own name up and hangs where DNS does not answer."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


servers: list[socketserver.BaseServer] = [Pages((ANY, port), Page) for port in PAGES]
servers.append(socketserver.ThreadingUDPServer((ANY, DATAGRAMS), Datagram))
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
