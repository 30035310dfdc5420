"""Each forward is dialled from here, by `doctor` and by an update, and a failure has its name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..conftest import HOMES
from ..relay_stack import ROOT, Stack
from .adopted import MATRIX
from .callers import answers, restart_relays_tunnel

pytestmark = MATRIX
FINE = "tcp/80 to home: answers"
PORTS, RULES = "ip cgnat-relay ports", "/etc/wireguard/wg0.ip.nft"


def doctor(stack: Stack) -> tuple[int, str]:
    """Its exit code and its words."""
    words = [sys.executable, "-m", "doctor", "--stack", stack.name]
    done = subprocess.run(words, cwd=ROOT, env=stack.env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@contextmanager
def broken(stack: Stack, vm: str, wrong: str, mended: str) -> Iterator[None]:
    """A machine with something wrong with it."""
    stack.inside(vm, wrong)
    try:
        yield
    finally:
        stack.inside(vm, mended)


def test_where_all_answers_it_ends_0(home: Stack) -> None:
    code, said = doctor(home)
    assert FINE in said
    assert "tcp/443 to home: answers" in said
    assert "udp/5353 to home: answers" in said
    # The one VM joins as either home; the other has never come.
    assert "tcp/8082 to plain: no handshake: plain has never been seen" in said
    assert code == 1
    home.configure(vps={"kind": "lab"}, homes=HOMES[:1], probe=True)
    update = home.up()
    assert FINE in update, "what the update's own probe saw"
    code, said = doctor(home)
    assert (code, said.count(": answers")) == (0, 3)


# A stand-in for a provider's firewall: it drops before the relay's own conntrack. What came before
# it is forgotten, as it is by itself two minutes later.
RAW = "iptables -t raw"
OUTER = "PREROUTING -i eth0 -p tcp --dport 80 -j DROP"
FORGOTTEN = "conntrack -D -p tcp --orig-port-dst 80 >/dev/null 2>&1 || :"


@pytest.mark.parametrize(
    ("cause", "vm", "wrong", "mended"),
    [
        ("service down", "test-home", "systemctl stop hello", "systemctl start hello"),
        ("rule missing", "test-relay", f"nft flush map {PORTS}", f"nft -f {RULES}"),
        ("outer firewall", "test-relay", f"{RAW} -I {OUTER}; {FORGOTTEN}", f"{RAW} -D {OUTER}"),
    ],
    ids=["service down", "rule missing", "outer firewall"],
)
def test_a_cause_has_its_name(home: Stack, cause: str, vm: str, wrong: str, mended: str) -> None:
    with broken(home, vm, wrong, mended):
        code, said = doctor(home)
    assert f"tcp/80 to home: {cause}" in said
    assert code == 1
    answers(home)


def test_a_lost_return_path_is_named(home: Stack) -> None:
    config = home.outputs()["homeConfig"]
    rule = re.findall(r"ip -4 rule add (pref \d+ protocol kernel fwmark .*)", config)[0]
    with broken(home, "test-home", f"ip rule del {rule}", f"ip rule add {rule}"):
        code, said = doctor(home)
    assert "tcp/80 to home: return path" in said
    assert code == 1
    answers(home)


def test_an_update_that_probes_fails_by_name_and_finishes_once_it_is_mended(home: Stack) -> None:
    more = [{**HOMES[0], "forwards": [*HOMES[0]["forwards"], "8443:8081"]}]
    home.configure(vps={"kind": "lab"}, homes=more, probe=True)
    with broken(home, "test-home", "systemctl stop hello", "systemctl start hello"):
        said = home.up(check=False)
    assert "tcp/8443 to home: service down: home refuses port 8081" in said
    assert "exit status 0" not in said
    assert "Traceback" not in said
    said = home.up()
    assert "tcp/8443 to home: answers" in said


def test_a_home_that_is_gone_is_named(home: Stack) -> None:
    """The last of these: the stack has all its homes again afterwards."""
    home.inside("test-home", "systemctl stop wg-quick@wg0")
    home.inside("test-relay", "systemctl restart wg-quick@wg0")
    code, said = doctor(home)
    assert "tcp/80 to home: no handshake: home has never been seen" in said
    assert code == 1
    home.configure(vps={"kind": "lab"}, homes=HOMES)
    home.up()
    restart_relays_tunnel(home, "true")
    answers(home)
