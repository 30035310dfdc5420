"""The SDK's protocol stubs without the SDK.

``import pulumi`` takes three times as long as the stubs alone, and every engine command starts
every plugin once. Empty parent packages keep the SDK's ``__init__`` files from running.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _stub_parents() -> None:
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pulumi is not installed for this interpreter")
    root = Path(spec.submodule_search_locations[0])
    for name, folder in (("pulumi", root), ("pulumi.runtime", root / "runtime")):
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module


if "pulumi" not in sys.modules:
    _stub_parents()

engine = importlib.import_module("pulumi.runtime.proto.engine_pb2")
engine_grpc = importlib.import_module("pulumi.runtime.proto.engine_pb2_grpc")
plugin = importlib.import_module("pulumi.runtime.proto.plugin_pb2")
provider = importlib.import_module("pulumi.runtime.proto.provider_pb2")
provider_grpc = importlib.import_module("pulumi.runtime.proto.provider_pb2_grpc")
