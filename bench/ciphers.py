"""How fast the CPU here is at the two ciphers that all arms use, in OpenSSL's code on one core."""

from __future__ import annotations

import os
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

CIPHERS = {"ChaCha20-Poly1305": (ChaCha20Poly1305, 32), "AES-128-GCM": (AESGCM, 16)}
CHUNK = bytes(64 * 1024)  # large, so that Python's own part is small


def speeds(seconds: float = 0.5) -> dict[str, float]:
    """Megabytes a second that each seals."""
    found = {}
    for name, (cipher, length) in CIPHERS.items():
        key, number = cipher(os.urandom(length)), 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            key.encrypt(number.to_bytes(12, "big"), CHUNK, None)
            number += 1
        found[name] = number * len(CHUNK) / 1e6 / (time.perf_counter() - began)
    return found
