"""Serve one stand-in: ``python engine/standins NAME VERSION ENGINE_ADDRESS``.

The file that the engine starts is a wrapper written by ``engine.plugins``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.standins import server

server.main(sys.argv[1:])
