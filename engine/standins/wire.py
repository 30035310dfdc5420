"""Property values as they travel between engine and plugin, and how two sets of them differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import struct_pb2

SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a tag of the protocol
UNKNOWN_SENTINEL = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]


class _Unknown:
    """A value that only exists once something has been created."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the engine encrypts in the state; its ``repr`` shows nothing."""

    value: Any = field(repr=False)


def decode(struct: struct_pb2.Struct) -> Properties:
    """Properties from the wire; secrets become ``Secret``, unknown values ``UNKNOWN``."""
    return {key: _decode(value) for key, value in struct.fields.items()}


def _decode(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = {key: _decode(item) for key, item in value.struct_value.fields.items()}
        if fields.get(SIGNATURE_KEY) == SECRET_SIGNATURE:
            return Secret(fields.get("value"))
        return fields
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_SENTINEL else value.string_value
    return None if kind in (None, "null_value") else getattr(value, kind)


def encode(properties: Properties) -> struct_pb2.Struct:
    """Properties for the wire; the reverse of ``decode``."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        struct.fields[key].CopyFrom(_encode(value))
    return struct


def _encode(value: Any) -> struct_pb2.Value:
    if isinstance(value, Secret):
        return _encode({SIGNATURE_KEY: SECRET_SIGNATURE, "value": value.value})
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_SENTINEL)
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list):
        items = struct_pb2.ListValue(values=[_encode(item) for item in value])
        return struct_pb2.Value(list_value=items)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    return struct_pb2.Value(number_value=value)


def plain(value: Any) -> Any:
    """The value with every ``Secret`` inside it opened."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def has_secret(value: Any) -> bool:
    """Whether the value or anything inside it is secret."""
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return isinstance(value, Secret)


@dataclass(frozen=True)
class Change:
    """One differing property: its path, such as ``triggers[0]``, and add, delete or update."""

    path: str
    kind: str

    @property
    def root(self) -> str:
        """The top-level property that the path lies in."""
        return self.path.split("[")[0].split(".")[0]


def changes(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """How ``new`` differs from ``old``. Secrecy alone is no difference; an unknown always is."""
    old, new = plain(old), plain(new)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = (f"{path}.{key}" if path else key) if key.isidentifier() else f'{path}["{key}"]'
            yield from _member(key in old, key in new, old.get(key), new.get(key), inner)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            was, now = index < len(old), index < len(new)
            before, after = old[index] if was else None, new[index] if now else None
            yield from _member(was, now, before, after, f"{path}[{index}]")
    elif new is UNKNOWN or old != new:
        yield Change(path, "update")


def _member(was: bool, now: bool, old: Any, new: Any, path: str) -> Iterator[Change]:
    if was and now:
        yield from changes(old, new, path)
    else:
        yield Change(path, "delete" if was else "add")
