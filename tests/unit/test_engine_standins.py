"""The stand-ins' parts that need no engine: values, differences, children, ssh's settings."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.standins import wire
from engine.standins.command_plugin import LOCAL, REMOTE, CommandPlugin
from engine.standins.random_plugin import RandomPlugin
from engine.standins.remote import Connection, MemoryFiles
from engine.standins.server import InputError, PluginError, kind_of
from engine.standins.shell import Children

BYTES = RandomPlugin.types[0]


def command() -> tuple[CommandPlugin, list[str]]:
    lines: list[str] = []
    return CommandPlugin(lambda urn, text: lines.append(text)), lines


def test_values_survive_the_wire() -> None:
    values: dict[str, Any] = {
        "text": "a",
        "number": 2.0,
        "flag": True,
        "none": None,
        "list": [1.0, {"deep": wire.Secret("b")}],
        "unknown": wire.UNKNOWN,
        "secret": wire.Secret({"unknown": wire.UNKNOWN}),
    }
    assert wire.decode(wire.encode(values)) == values


def test_a_secret_does_not_show() -> None:
    assert "word" not in repr(wire.Secret("word"))
    assert "word" not in repr(Connection.read({"host": "h", "privateKey": "word"}))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1.0}, {"a": 1.0}, []),
        ({"a": "x"}, {"a": wire.Secret("x")}, []),
        ({}, {"a": 1.0}, ["add a"]),
        ({"a": 1.0}, {}, ["delete a"]),
        (
            {"a": {"b": 1.0, "c.d": 2.0}},
            {"a": {"b": 3.0, "c.d": 4.0}},
            ["update a.b", 'update a["c.d"]'],
        ),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, ["add a[1]"]),
        ({"a": "x"}, {"a": wire.UNKNOWN}, ["update a"]),
        ({"a": "x"}, {"a": ["x"]}, ["update a"]),
    ],
)
def test_differences(old: wire.Properties, new: wire.Properties, found: list[str]) -> None:
    changes = list(wire.changes(old, new))
    assert sorted(f"{change.kind} {change.path}" for change in changes) == sorted(found)
    assert all(change.root == "a" for change in changes)


def test_the_type_of_a_child() -> None:
    assert kind_of(f"urn:pulumi:dev::p::own:index:Relay${LOCAL}::name") == LOCAL


def test_random_bytes() -> None:
    plugin = RandomPlugin(lambda urn, text: None)
    made = plugin.create("", {"length": 8.0}, False, 0)
    assert base64.b64decode(made["base64"].value).hex() == made["hex"].value
    assert len(made["hex"].value) == 16
    with pytest.raises(InputError, match="length"):
        plugin.check(BYTES, {"length": 0.0})


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ({"assetPaths": ["*"]}, "assetPaths: is not supported"),
        ({"logging": "loud"}, "logging: must be one of"),
    ],
)
def test_local_faults(inputs: wire.Properties, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        command()[0].check(LOCAL, inputs)


@pytest.mark.parametrize(
    ("connection", "fault"),
    [
        ({}, "connection: needs a host"),
        ({"host": "h", "password": "p"}, "connection.password: is not supported"),
        ({"host": "-oProxyCommand=x"}, "connection.host: must be a plain name"),
        ({"host": "h\nProxyCommand x"}, "connection.host: must be a plain name"),
        ({"host": "h", "user": 'a"b'}, "connection.user: must be a plain name"),
    ],
)
def test_connection_faults(connection: wire.Properties, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        command()[0].check(REMOTE, {"connection": connection})


def test_connection_gets_its_defaults_and_is_hidden() -> None:
    checked = command()[0].check(REMOTE, {"connection": {"host": "h"}})["connection"]
    assert isinstance(checked, wire.Secret)
    assert checked.value == {
        "host": "h",
        "port": 22.0,
        "user": "root",
        "dialErrorLimit": 10.0,
        "perDialTimeout": 15.0,
    }


def test_an_unknown_connection_is_not_judged() -> None:
    inputs = {"connection": wire.Secret(wire.UNKNOWN)}
    assert command()[0].check(REMOTE, inputs) == inputs


def test_a_secret_command_is_not_quoted_in_its_error() -> None:
    with pytest.raises(PluginError) as caught:
        command()[0].create("", {"create": wire.Secret("false # word")}, False, 0)
    assert str(caught.value) == "exit status 1: running [secret]:\n"


def test_a_missing_folder_is_an_error_of_its_own() -> None:
    with pytest.raises(PluginError, match="cannot run the command: No such file or directory"):
        command()[0].create("", {"create": "true", "dir": "/nowhere"}, False, 0)


def test_a_limit_ends_a_command() -> None:
    with pytest.raises(PluginError, match="stopped at its time limit"):
        command()[0].create("", {"create": "sleep 60"}, False, 0.1)


def test_cancel_ends_the_command_and_what_it_started() -> None:
    plugin, lines = command()
    started = threading.Event()

    def log(urn: str, text: str) -> None:
        lines.append(text)
        started.set()

    plugin.log = log
    errors: list[PluginError] = []

    def run() -> None:
        try:
            plugin.create("", {"create": "sleep 61 & echo $!; wait"}, False, 0)
        except PluginError as error:
            errors.append(error)

    runner = threading.Thread(target=run)
    runner.start()
    assert started.wait(10)
    plugin.cancel()
    runner.join(10)
    assert not runner.is_alive()
    assert "signal: killed" in str(errors[0])
    cmdline = Path(f"/proc/{lines[0]}/cmdline")
    assert not cmdline.exists() or cmdline.read_bytes() == b""  # gone, or dead and not yet reaped
    with pytest.raises(PluginError, match="cancelled"):
        plugin.create("", {"create": "true"}, False, 0)


def test_a_command_need_not_read_its_stdin() -> None:
    assert Children().run(["true"], stdin="x" * 1_000_000).status == 0


def test_memory_files_are_private_and_pass_to_children() -> None:
    with MemoryFiles() as files:
        path = files.add("key", "text\n")
        assert path.stat().st_mode & 0o777 == 0o600
        assert Children().run(["cat", str(path)]).stdout == "text\n"
    assert not path.exists()
