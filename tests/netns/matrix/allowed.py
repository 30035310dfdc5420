"""Rules whose absence no packet here can show, and why each is there."""

from __future__ import annotations

IDLE: dict[str, str] = {}
