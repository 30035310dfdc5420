"""Shared by every layer."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The program and its library are run from the checkout, not installed.
sys.path.insert(0, str(ROOT))
