"""A home's tunnel in the words of other programs than wg-quick.

Each form is made from the text of ``home_config`` and from nothing else that says how a tunnel or
its return path works.
"""

from __future__ import annotations

from ..home import Way, home_config
from ..home_rules import home_rules
from ..keys import PeerKeys
from ..model import Home, Mode, Tunnel
from ..wireguard import Uplink
from .compose import compose
from .networkd import networkd

# Forms that have no place for the commands of a return path, and what to use instead.
PLAIN_ONLY = {
    "networkmanager": "NetworkManager drops PostUp, and with it the way back of a transparent home:"
    " use systemd-networkd or wg-quick, or give the home mode: masquerade",
    "plain": "a transparent home needs its way back, which plain WireGuard has no words for:"
    " use wg-quick, systemd-networkd or docker-compose, or give the home mode: masquerade",
}
FORMATS = ("docker-compose", "networkmanager", "plain", "systemd-networkd")


def home_formats(
    home: Home, tunnel: Tunnel, keys: PeerKeys, uplink: Uplink
) -> dict[str, dict[str, str]]:
    """Every form that fits this home: the name of the form, then of the file, then its text.

    The names of forms are those of ``FORMATS``. All files go into one folder; the texts say
    where on a host they belong. They hold the home's private key.
    """
    config = home_config(home, tunnel, keys, uplink)
    rules = home_rules(home, uplink)
    beside = {f"{tunnel.interface}.rules": rules} if rules is not None else {}
    found = {
        "docker-compose": compose(config, tunnel.interface) | beside,
        "systemd-networkd": networkd(config, home, tunnel, Way(uplink.slot)) | beside,
    }
    if home.mode is Mode.MASQUERADE:
        found |= {form: {f"{tunnel.interface}.conf": config} for form in PLAIN_ONLY}
    return found
