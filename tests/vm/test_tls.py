"""The tunnel inside TLS, turned on and off on the relay that runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..conftest import HOMES
from ..relay_stack import Stack
from ..waiting import eventually
from .callers import page

KNOCK = "echo | timeout 10 openssl s_client -connect 127.0.0.1:8444 2>/dev/null | grep CN"
ASK = "systemctl is-enabled cgnat-relay-tls; systemctl is-active cgnat-relay-tls"


@pytest.fixture(scope="module")
def on(home: Stack) -> Iterator[Stack]:
    home.configure(vps={"kind": "lab"}, homes=HOMES, tunnel={"tls": {"port": 8444}})
    home.up()
    yield home
    home.configure(vps={"kind": "lab"}, homes=HOMES)
    home.up()
    assert home.inside("test-relay", ASK, check=False).split()[-1] != "active"
    left = "ls /etc/cgnat-relay; ls /etc/systemd/system; systemctl --failed --no-legend"
    assert "tls" not in home.inside("test-relay", left)
    assert page(home, 80).startswith("hello from home")


def test_it_is_there_and_not_root(on: Stack) -> None:
    assert on.inside("test-relay", ASK).split() == ["enabled", "active"]
    assert page(on, 80).startswith("hello from home")
    eventually(
        lambda: "CN = cgnat-relay" in on.inside("test-relay", KNOCK, check=False),
        "the certificate",
        within=60,
    )
    users = on.inside("test-relay", "ps -o user= -C socat").split()
    assert users
    assert "root" not in users
    assert on.inside("test-relay", "stat -c %a /etc/cgnat-relay/tls.pem").strip() == "600"
