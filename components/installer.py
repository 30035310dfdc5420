"""``homeInstaller``: one script that brings a home's tunnel up, and keeps it up."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

from .home import OWN_LINE, home_config
from .home_rules import home_rules
from .keys import RelayKeys
from .model import Home, Mode, Tunnel
from .wireguard import Uplink

STATIC = Path(__file__).resolve().parent.parent / "cloud-init" / "home"
END = "END"  # base64 has no such line: each of its is a multiple of four letters long
# The commands that a home's files call, and the packages that have them.
NEEDS = {"wg": "wireguard-tools", "ping": "iputils-ping"}
RULES_NEED = {"nft": "nftables", "iptables": "iptables"}
TLS_NEEDS = {"socat": "socat"}


def home_installer(home: Home, tunnel: Tunnel, keys: RelayKeys, uplink: Uplink) -> str:
    """A POSIX sh script: ``cloud-init/home/install``, and this home's files as data behind it.

    It holds what ``home_config`` holds, so it is as secret.
    """
    return script(home_files(home, tunnel, keys, uplink))


def home_files(home: Home, tunnel: Tunnel, keys: RelayKeys, uplink: Uplink) -> dict[str, str]:
    """The installer's data, by the names that it knows."""
    needs = dict(NEEDS)
    files = {"conf": home_config(home, tunnel, keys.peers[home.name].newest, uplink)}
    if (rules := home_rules(home, uplink)) is not None:
        files["rules"] = rules
    if home.mode is Mode.TRANSPARENT:
        needs |= RULES_NEED
    if any(forward.host for forward in home.forwards):
        files["sysctl"] = "net.ipv4.ip_forward = 1\n"
    static = ["watch", "cgnat-relay-watch@.service", "cgnat-relay-watch@.timer"]
    if keys.tls:
        needs |= TLS_NEEDS
        static.append("tls-client.service")
        files |= {"tls.crt": keys.tls.certificate, "tls.env": tls_environment(tunnel, uplink)}
    files["watch.facts"] = watch_facts(tunnel, uplink)
    files["needs"] = "".join(f"{command} {package}\n" for command, package in needs.items())
    return files | {name: (STATIC / name).read_text() for name in static}


def watch_facts(tunnel: Tunnel, uplink: Uplink) -> str:
    """``wg0.watch``: what ``watch`` must know beside ``wg0.conf``."""
    first = uplink.endpoint.rpartition(":")[2]
    ports = [first, *(str(port) for port in tunnel.other_ports)]
    lines = [f"relay {tunnel.relay}", f"ports {' '.join(ports)}"]
    if uplink.identity not in ("", uplink.public_key):
        lines.append(f"identity {uplink.identity}")
    if tunnel.tls is not None:
        lines.append(f"tls {_local_port(uplink)}")
    return "\n".join([*lines, ""])


def tls_environment(tunnel: Tunnel, uplink: Uplink) -> str:
    """``wg0.tls``, for systemd: the variables of ``tls-client.service``."""
    host = uplink.endpoint.rpartition(":")[0]
    # socat takes an option's value before the connection is made as bytes alone.
    mark = "x" + int(OWN_LINE, 16).to_bytes(4, "little").hex()
    lines = [f"LOCAL={_local_port(uplink)}", f"HOST={host}", f"PORT={tunnel.tls}", f"MARK={mark}"]
    return "\n".join([*lines, ""])


def _local_port(uplink: Uplink) -> int:
    """Where the TLS client listens on 127.0.0.1: another for each relay of a home."""
    return 52000 + uplink.slot


def script(files: Mapping[str, str]) -> str:
    """The static script, then ``files`` in quoted here-documents, then its start.

    They are gzip in base64: the state holds a script for each home. The start is the last line,
    so a script that was cut short does nothing.
    """
    head = (STATIC / "install").read_text()
    return "\n".join([head.rstrip("\n"), "", *_data(files), "", 'main "$@"', ""])


def _data(files: Mapping[str, str]) -> Iterator[str]:
    yield "data() {"
    yield "\tcase $1 in"
    for name, text in files.items():
        yield f"\t{name})"
        yield f"\t\tbase64 -d <<'{END}' | gzip -d"
        yield base64.encodebytes(gzip.compress(text.encode(), mtime=0)).decode().rstrip("\n")
        yield END
        yield "\t\t;;"
    yield "\t*) return 1 ;;"
    yield "\tesac"
    yield "}"
