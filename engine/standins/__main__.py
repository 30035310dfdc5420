"""Serve one stand-in: ``python engine/standins NAME VERSION ENGINE_ADDRESS``.

The file that the engine starts is a wrapper written by ``engine.plugins``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.standins.command_plugin import CommandPlugin
from engine.standins.random_plugin import RandomPlugin
from engine.standins.server import serve

PLUGINS = {"command": CommandPlugin, "random": RandomPlugin}

name, *rest = sys.argv[1:]
serve(PLUGINS[name], rest)
