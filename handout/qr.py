"""A config as a QR code, which the WireGuard apps scan."""

from __future__ import annotations

import io

import segno

from .peers import HandoutError, Peer

SCALE = 6  # pixels for a module: sharp on a screen and on paper


def code(peer: Peer) -> segno.QRCode:
    """The code of a peer's config. HandoutError where no app could use it."""
    if peer.has_commands:
        raise HandoutError(
            f"{peer.name} is a transparent home, and apps drop the commands of its config;"
            f" use: config {peer.name}"
        )
    if peer.keeps_its_key:
        raise HandoutError(
            f"{peer.name} keeps its own private key, which a code would lack;"
            f" use: config {peer.name}, and put the key in there"
        )
    return segno.make_qr(peer.config)


def terminal(peer: Peer) -> str:
    """Lines of half blocks for a dark terminal, with the quiet zone around."""
    out = io.StringIO()
    code(peer).terminal(out, compact=True)
    return out.getvalue()


def png(peer: Peer) -> bytes:
    """A PNG image."""
    out = io.BytesIO()
    code(peer).save(out, kind="png", scale=SCALE)
    return out.getvalue()
