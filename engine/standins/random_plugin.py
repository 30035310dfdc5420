"""Stand-in for the plugin ``random``: ``RandomBytes``."""

from __future__ import annotations

import base64
import os
from typing import Any

from .server import InputError, Plugin
from .wire import UNKNOWN, Properties, Secret, plain


class RandomPlugin(Plugin):
    """Bytes from the operating system, kept in the state and secret from the start."""

    name = "random"
    types = ("random:index/randomBytes:RandomBytes",)

    def check(self, kind: str, inputs: Properties) -> Properties:
        """``length`` must be a whole number from 1; it may be unknown in a preview."""
        length: Any = plain(inputs.get("length"))
        if length is not UNKNOWN and (
            not isinstance(length, float) or length < 1 or length != int(length)
        ):
            raise InputError("length", "must be a whole number of bytes, at least 1")
        return inputs

    def input_names(self, kind: str) -> frozenset[str]:
        """Length and keepers."""
        return frozenset({"length", "keepers"})

    def replaces(self, kind: str) -> frozenset[str]:
        """New bytes are a new resource, whatever asked for them."""
        return self.input_names(kind)

    def identity(self, name: str) -> str:
        """As of the official plugin, whose bytes have no id of their own."""
        return "none"

    def create(self, urn: str, inputs: Properties, preview: bool, limit: float) -> Properties:
        """The bytes as ``base64`` and as ``hex``."""
        if preview:
            return {**inputs, "base64": Secret(UNKNOWN), "hex": Secret(UNKNOWN)}
        data = os.urandom(int(plain(inputs["length"])))
        encoded = base64.b64encode(data).decode("ascii")
        return {**inputs, "base64": Secret(encoded), "hex": Secret(data.hex())}
