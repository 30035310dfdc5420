"""What a user is told."""

from __future__ import annotations


class OperateError(Exception):
    """One sentence with the cause and the fix; lines of evidence may follow."""
