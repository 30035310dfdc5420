"""The client of ``service.py``: one measure a run, printed as JSON.

caller.py who HOST PORT                   the address that the service sees
caller.py trips HOST PORT COUNT SECONDS   round trips of one byte over one connection, µs
caller.py paced HOST PORT MS SECONDS      the same, of a byte sent each MS
caller.py opens HOST PORT SLOTS SECONDS   connections a second: open, a byte there and back, close;
                                          SLOTS of them at a time
caller.py datagrams HOST PORT SIZE SECONDS  datagrams a second there and back, and the share lost
caller.py hold HOST PORT COUNT SECONDS    opens COUNT, 16 at a time, says so, leaves them idle for
                                          SECONDS, asks each for a byte; closes them at a line of
                                          standard input
caller.py trickle HOST PORT               says ``flowing``, and sends a byte each 0.1 s until it is
                                          cut; at a line of standard input awaits one answer more
"""

from __future__ import annotations

import contextlib
import json
import resource
import select
import selectors
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WARM_UP = 20  # round trips that are not counted
WINDOWS = (64, 16, 4, 1)  # datagrams on their way at a time
LOSSLESS = 0.001  # the largest share of datagrams whose loss counts as none
PATIENCE = 0.3  # seconds after which a datagram that has not come back is lost
ANSWER = 20  # seconds to wait for the answers of bytes that were sent at their pace
SLOTS = 16  # connections that are opened at the same time, of those that are held
GIVEN_UP = 5  # connections one after the other that do not answer: nor will the rest
TRICKLE, LAST = 0.1, 240  # seconds between two bytes, and to wait for the last answer


def dial(host: str, port: int, patience: float = 20) -> socket.socket:
    """A connection that sends at once what it is given."""
    sock = socket.create_connection((host, port), timeout=patience)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def who(host: str, port: int) -> str:
    """The address that the service sees."""
    with dial(host, port, patience=3) as sock:
        sock.sendall(b"w")
        return sock.makefile().readline().strip()


def trips(host: str, port: int, count: int, seconds: float) -> dict[str, float]:
    """The median and the 99th percentile of up to ``count`` round trips."""
    found: list[float] = []
    with dial(host, port) as sock:
        end = time.monotonic() + seconds
        while len(found) < WARM_UP + count and (time.monotonic() < end or len(found) < 2 * WARM_UP):
            start = time.perf_counter()
            sock.sendall(b"?")
            if not sock.recv(1):
                raise ConnectionError("the service closed the connection")
            found.append((time.perf_counter() - start) * 1e6)
    return spread(found[WARM_UP:])


def spread(found: list[float]) -> dict[str, float]:
    """The median and the 99th percentile."""
    return {
        "median": statistics.median(found),
        "p99": statistics.quantiles(found, n=100)[98],
        "count": len(found),
    }


def paced(host: str, port: int, every: int, seconds: float) -> dict[str, float]:
    """Round trips of a byte each ``every`` ms, from when it was due: none waits for another."""
    with dial(host, port) as sock:
        sock.sendall(b"?")
        sock.recv(1)  # a proxy dials its session first
        began = time.perf_counter()
        due = [began + every / 1000 * turn for turn in range(int(seconds * 1000 / every))]
        return spread(at_their_pace(sock, due))


def at_their_pace(sock: socket.socket, due: list[float]) -> list[float]:
    """A byte at each of these moments, and microseconds from then until each was back."""
    found: list[float] = []
    sent = 0
    while len(found) < len(due):
        while sent < len(due) and due[sent] <= time.perf_counter():
            sock.sendall(b"?")
            sent += 1
        wait = max(0.0, due[sent] - time.perf_counter()) if sent < len(due) else ANSWER
        if select.select([sock], [], [], wait)[0]:
            back = len(sock.recv(4096))
            if not back:
                raise ConnectionError("the service closed the connection")
            now = time.perf_counter()
            found += [(now - at) * 1e6 for at in due[len(found) : len(found) + back]]
        elif sent == len(due):
            raise TimeoutError("a byte did not come back")
    return found


def opens(host: str, port: int, slots: int, seconds: float) -> float:
    """Connections a second, each with a byte there and back."""
    waiting = selectors.DefaultSelector()

    def start() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((host, port))
        waiting.register(sock, selectors.EVENT_WRITE)

    for _ in range(slots):
        start()
    done, began = 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        ready = waiting.select(timeout=5)
        if not ready:
            raise TimeoutError("no connection answers")
        for key, _ in ready:
            sock: Any = key.fileobj
            if key.events & selectors.EVENT_WRITE:
                sock.send(b"?")  # raises where the connection was refused
                waiting.modify(sock, selectors.EVENT_READ)
                continue
            if not sock.recv(1):
                raise ConnectionError("closed without an answer")
            waiting.unregister(sock)
            sock.close()
            done += 1
            start()
    return done / (now - began)


def closed_loop(sock: socket.socket, size: int, window: int, seconds: float) -> tuple[float, float]:
    """Datagrams a second with ``window`` of them on their way, and the share that was lost."""
    under_way: dict[int, float] = {}
    sent = back = lost = 0
    rest = bytes(size - 4)
    began = now = time.monotonic()
    end = began + seconds
    while now < end:
        while len(under_way) < window:
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                sock.send(struct.pack("!I", sent) + rest)
            under_way[sent] = now
            sent += 1
        select.select([sock], [], [], PATIENCE)
        now = time.monotonic()
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                (number,) = struct.unpack("!I", sock.recv(2048)[:4])
                back += under_way.pop(number, None) is not None
        late = [number for number, at in under_way.items() if at < now - PATIENCE]
        lost += len(late)
        for number in late:
            del under_way[number]
    return back / (now - began), lost / max(1, back + lost)


def datagrams(host: str, port: int, size: int, seconds: float) -> dict[str, float]:
    """The rate with the widest window that loses none, and what was lost with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        sock.setblocking(False)
        closed_loop(sock, size, 1, PATIENCE)  # a proxy dials its session first
        for window in WINDOWS:
            rate, lost = closed_loop(sock, size, window, seconds)
            if lost <= LOSSLESS:
                break
            time.sleep(PATIENCE)  # what is still on its way belongs to this window
    return {"rate": rate, "lost": lost, "window": window}


def hold(host: str, port: int, count: int, seconds: float) -> dict[str, Any]:
    """How many of ``count`` connections opened, and how many of them answered when asked."""
    failed = threading.Event()

    def one(_: int) -> socket.socket | None:
        with contextlib.suppress(OSError):
            if not failed.is_set():
                sock = dial(host, port)
                sock.sendall(b"?")
                if sock.recv(1):
                    return sock
        failed.set()  # no other waits for what does not come
        return None

    start = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        held = [sock for sock in pool.map(one, range(count)) if sock]
    opened = time.monotonic() - start
    print("open", flush=True)
    time.sleep(seconds)  # idle, which is what is measured
    answered = silent = 0
    for sock in held:
        if silent == GIVEN_UP:
            break
        silent += 1
        with contextlib.suppress(OSError):
            sock.sendall(b"?")
            if sock.recv(1):
                answered, silent = answered + 1, 0
    sys.stdin.readline()
    return {"opened": len(held), "answered": answered, "seconds": round(opened, 2)}


def trickle(host: str, port: int) -> dict[str, Any]:
    """Whether a connection lives through what happens meanwhile, and its longest silence."""
    longest, asked, last = 0.0, False, float("inf")
    with dial(host, port) as sock:
        sock.settimeout(LAST)
        while True:
            start = time.monotonic()
            try:
                sock.sendall(b"?")
                if not sock.recv(1):
                    raise ConnectionError("closed")
            except OSError as error:
                return {"kept": False, "why": type(error).__name__}
            now = time.monotonic()
            longest = max(longest, now - start)
            if last == float("inf"):
                print("flowing", flush=True)
            last = now
            if asked:
                return {"kept": True, "silence": round(longest, 3)}
            asked = bool(select.select([sys.stdin], [], [], TRICKLE)[0])


VERBS: dict[str, Callable[..., Any]] = {
    "who": who,
    "trips": trips,
    "paced": paced,
    "opens": opens,
    "datagrams": datagrams,
    "hold": hold,
    "trickle": trickle,
}

if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    verb, host, port, *rest = sys.argv[1:]
    print(json.dumps(VERBS[verb](host, int(port), *map(int, rest[:1]), *map(float, rest[1:]))))
