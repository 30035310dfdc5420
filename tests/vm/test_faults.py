"""Each fault at each moment of a change: the relay runs the plan before or the new one, never half.

The change touches a forward, a peer, the firewall and a service, and brings a package where apt is
at fault. A caller's connection is open all the while, and the next update finishes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from .. import table
from ..waiting import BOOT, eventually
from .adopted import MATRIX, NAME, UNFINISHED, Adopted, as_at_first

STATE = "/etc/wireguard/cgnat-relay"
# What can be seen when the moment has come. Asked often, but not without a pause: an emulated CPU
# that does nothing else makes the change itself slow.
MOMENTS = {
    "carried": "/run/cgnat-relay/all",
    "half done": f"{UNFINISHED}/deadline",
    "to be confirmed": f"{UNFINISHED}/token",
}
COMES = 480  # seconds for the moment to come: an update on a busy machine takes minutes
WAIT = f"""\
import os, sys, time
until = time.monotonic() + {COMES}
while not os.path.exists(sys.argv[1]):
    if time.monotonic() > until:
        sys.exit("it has not come: " + sys.argv[1])
    time.sleep(0.02)
"""
SILENCE = "dev $(ip -o route show default | awk '{ print $5; exit }') root"
FAULTS = {
    "nothing": ":",
    "the run is killed": "pkill -9 -f '[a]pply bring' || :",
    "the connection is cut": "pkill -9 -f '[s]shd: op@' || :",
    "the network is gone for 80 s": f"tc qdisc add {SILENCE} netem loss 100%;"
    f" sleep 80; tc qdisc del {SILENCE}",
    "the disk is full": "cd /var/tmp; free=$(stat -f -c %f .); size=$(stat -f -c %S .);"
    " fallocate -l $((free * size * 98 / 100)) fill; cat /dev/zero >fill2 2>/dev/null || :",
    "apt is locked for 40 s": 'python3 -c "import fcntl, time;'
    " held = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(held, fcntl.LOCK_EX);"
    ' time.sleep(40)"',
    "the power is cut": ":",
    "its owner reboots it": ":",
}
REBOOTS = ("the power is cut", "its owner reboots it")
ALWAYS = ("the connection is cut", "half done")  # the others are a part of the matrix alone
MEND = "rm -f /var/tmp/fill /var/tmp/fill2"
ECHO = """\
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)
socketserver.ThreadingTCPServer(("", 8082), Echo).serve_forever()
"""
FORWARDS = ["80:8080", "81:8082"]


class Changed:
    """The machine under its two plans, and how each is told."""

    def __init__(self, machine: Adopted) -> None:
        self.machine = machine
        self.plans: dict[str, set[str]] = {}
        # Both have been there once, so that what each leaves to the other is there in both.
        for wanted in ("one", "other", "one"):
            self.turn(wanted)
            assert "confirmed over a new connection" in machine.up()
            if not self.plans:
                self.house()
            self.plans[wanted] = self.state()
        assert self.plans["one"] != self.plans["other"]

    def turn(self, wanted: str) -> None:
        """Let the config say so."""
        if wanted == "one":
            self.configure(FORWARDS, "172.16.0.40", 8444)
        else:
            self.configure([*FORWARDS, "8443:8080"], "172.16.0.41", 8445)

    def configure(self, forwards: list[str], other: str, tls: int) -> None:
        """The two differ in a forward, in a peer and in a service; no key comes or goes."""
        homes = [{"name": "home", "forwards": forwards}, {"name": "other", "address": other}]
        self.machine.configure(homes=homes, tunnel={"tls": {"port": tls}})

    def house(self) -> None:
        self.machine.run("cat >/run/echo.py", stdin=ECHO)
        self.machine.house()
        echo = "ip netns exec house setsid python3 /run/echo.py >/dev/null 2>&1 &"
        self.machine.run(echo)
        eventually(self.hears, "the echo", within=BOOT)

    def state(self) -> set[str]:
        """What is loaded, written and enabled, in the relay's own words."""
        return set(self.machine.run(f"sh {STATE}/state wg0").splitlines())

    def runs(self) -> str:
        """Which plan it is; nothing while a change is under way."""
        if self.machine.under_way():
            return ""
        seen = self.state()
        return next((name for name, plan in self.plans.items() if plan == seen), "")

    def half(self) -> str:
        """What is of neither plan, and what the machine says of it, for the message."""
        seen = self.state()
        lines = [f"{name}: {sorted(plan ^ seen)[:20]}" for name, plan in self.plans.items()]
        said = "journalctl --no-pager -q -n 40 -u 'cgnat-relay-*'; systemctl list-timers --no-pager"
        held = f"ls {STATE} {UNFINISHED} 2>&1 || :; ps -eo pid,etime,args | grep '[a]pply' || :"
        return "\n".join([*lines, self.machine.run(f"{said}; {held}")])

    def call(self) -> socket.socket:
        """A caller's connection, which has been answered."""
        host, _, port = self.machine.opened["tcp/81"].rpartition(":")
        caller = socket.create_connection((host, int(port)), timeout=5)
        if alive(caller):
            return caller
        caller.close()
        raise OSError("no echo")

    def hears(self) -> bool:
        """Whether a caller is answered."""
        self.call().close()
        return True


def alive(caller: socket.socket, within: float = 5) -> bool:
    """Whether what is said comes back."""
    caller.settimeout(within)
    try:
        caller.sendall(b"x")
        return caller.recv(1) == b"x"
    except OSError:
        return False


@pytest.fixture(scope="module")
def changed(booted: Adopted, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    return Changed(as_at_first(booted, tmp_path_factory.mktemp("faults")))


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, dict[str, str]]]:
    """The rows of those that were seen whole; the page takes them."""
    found: dict[str, dict[str, str]] = {fault: {} for fault in FAULTS}
    yield found
    whole = {f: [*cells.values()] for f, cells in found.items() if list(cells) == list(MOMENTS)}
    table.write("adopt.md", "faults", ["fault", *MOMENTS], list(FAULTS), whole)


@pytest.mark.parametrize(
    ("fault", "moment"),
    [
        pytest.param(fault, moment, marks=() if (fault, moment) == ALWAYS else MATRIX)
        for fault in FAULTS
        for moment in MOMENTS
    ],
)
def test_never_half(
    changed: Changed, seen: dict[str, dict[str, str]], fault: str, moment: str
) -> None:
    machine = changed.machine
    if "apt" in fault:
        machine.run("apt-get -q -y purge conntrack >/dev/null 2>&1")
    caller = changed.call()
    before = changed.runs()
    after = {"one": "other", "other": "one"}[before]
    changed.turn(after)
    came = threading.Event()
    failed: list[BaseException] = []

    def fail() -> None:
        until = f"python3 - {MOMENTS[moment]} && {{ {FAULTS[fault]}; }}"
        try:
            machine.run(until, stdin=WAIT)
            came.set()
            if "power" in fault:
                machine.stack.lab("reset", NAME)
            elif fault in REBOOTS:
                machine.reboot()
        except BaseException as error:
            failed.append(error)

    failing = threading.Thread(target=fail)
    failing.start()
    said = machine.up(check=False)
    failing.join()
    assert not failed, f"{failed}\n{said}"
    assert came.is_set(), said
    assert "Traceback" not in said
    machine.run(MEND)
    if fault in REBOOTS:
        eventually(lambda: machine.well("wg show wg0"), "the tunnel after a reboot", within=BOOT)
    try:
        plan = eventually(changed.runs, "one of the two plans", within=BOOT)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{changed.half()}\n{said}") from error
    assert ("exit status 0" in said) <= (plan == after), "it said that it had worked"
    cell = "the new one" if plan == after else "the one before"
    if fault in REBOOTS:
        changed.house()
    else:
        assert alive(caller, within=BOOT), "the caller's connection is gone"
        cell += ", flows alive"
    caller.close()
    machine.up()
    assert changed.runs() == after, changed.half()
    if after == "other":
        eventually(lambda: machine.answers(8443), "the port that was added", within=BOOT)
    else:
        assert not machine.answers(8443)
    seen[fault][moment] = cell
