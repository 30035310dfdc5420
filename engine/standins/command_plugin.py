"""Stand-in for the plugin ``command``: local and remote commands, and ``local.run``."""

from __future__ import annotations

import json
import os
import secrets

from .remote import DEFAULTS, Connection, Remote, check_connection
from .server import InputError, Log, Plugin, PluginError
from .shell import Children, Echo, Result
from .wire import UNKNOWN, Properties, Secret, has_secret, plain

LOCAL, REMOTE, RUN = "command:local:Command", "command:remote:Command", "command:local:run"
SHELL = ("/bin/sh", "-c")
# What the engine shows of each stream: stdout, stderr.
LOGGING = {
    "stdout": (True, False),
    "stderr": (False, True),
    "stdoutAndStderr": (True, True),
    "none": (False, False),
}
COMMON = {"create", "update", "delete", "stdin", "environment", "triggers", "logging"}
INPUTS = {
    LOCAL: frozenset(COMMON | {"addPreviousOutputInEnv", "dir", "interpreter"}),
    REMOTE: frozenset(COMMON | {"addPreviousOutputInEnv", "connection"}),
}
# An error quotes the end of the output only: the engine repeats it on every screen it has.
QUOTED = 8000


class CommandPlugin(Plugin):
    """Runs what it is told, in this process's folder or on a host reached by SSH."""

    name = "command"
    types = (LOCAL, REMOTE)
    functions = (RUN,)

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.children = Children()

    def check(self, kind: str, inputs: Properties) -> Properties:
        """Refuse what is not known here; fill in the connection's defaults and hide it."""
        for key in inputs:
            if key not in INPUTS[kind]:
                raise InputError(key, f"is not supported by this stand-in for {self.name}")
        logging = plain(inputs.get("logging"))
        if logging not in (None, UNKNOWN, *LOGGING):
            raise InputError("logging", f"must be one of {', '.join(LOGGING)}")
        if kind == LOCAL or plain(inputs.get("connection")) is UNKNOWN:
            return inputs
        connection = plain(inputs.get("connection"))
        if not isinstance(connection, dict) or not connection.get("host"):
            raise InputError("connection", "needs a host")
        check_connection(connection)
        return {**inputs, "connection": Secret({**DEFAULTS, **connection})}

    def input_names(self, kind: str) -> frozenset[str]:
        """Every input: a change of any runs the command again."""
        return INPUTS[kind]

    def replaces(self, kind: str) -> frozenset[str]:
        """Only ``triggers``; the SDK asks the engine for the same."""
        return frozenset({"triggers"})

    def identity(self, name: str) -> str:
        """The resource's name and eight random digits."""
        return name + secrets.token_hex(4)

    def create(self, urn: str, inputs: Properties, preview: bool, limit: float) -> Properties:
        """Run ``create`` if there is one."""
        if preview:
            return {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
        return self._run(urn, "create", inputs, {}, limit)

    def update(
        self, urn: str, old: Properties, inputs: Properties, preview: bool, limit: float
    ) -> Properties:
        """Run ``update``, or ``create`` where there is none."""
        if preview:
            return {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
        verb = "create" if inputs.get("update") is None else "update"
        return self._run(urn, verb, inputs, old, limit)

    def delete(self, urn: str, old: Properties, limit: float) -> None:
        """Run ``delete`` if there is one, with the inputs of the last run."""
        self._run(urn, "delete", old, old, limit)

    def invoke(self, function: str, arguments: Properties) -> Properties:
        """``local.run``: run ``command`` now, in previews too."""
        for key in ("assetPaths", "archivePaths"):
            if arguments.get(key) is not None:
                raise PluginError(f"{key} is not supported by this stand-in for {self.name}")
        return self._run("", "command", arguments, {}, 0)

    def cancel(self) -> None:
        """Kill what runs."""
        self.children.cancel()

    def _run(
        self, urn: str, verb: str, inputs: Properties, old: Properties, limit: float
    ) -> Properties:
        """Run the command under ``verb``; the result is the new state.

        Secrecy stays with each input; the output is as public as the official plugin leaves it,
        so a caller marks it by ``additional_secret_outputs``.
        """
        opened = {key: value for key, value in plain(inputs).items() if value is not None}
        previous = {name: plain(old.get(name)) or "" for name in ("stdout", "stderr")}
        if verb not in opened:
            return {**inputs, **{name: old.get(name, "") for name in previous}}
        show_stdout, show_stderr = LOGGING[opened.get("logging", "stdoutAndStderr")]
        echo: Echo = lambda line: self.log(urn, line)  # noqa: E731
        environment = opened.get("environment", {})
        if not opened.get("addPreviousOutputInEnv", True):
            previous = {}
        earlier = {f"PULUMI_COMMAND_{k.upper()}": v for k, v in previous.items() if v}
        hidden = has_secret(inputs[verb])
        try:
            if "connection" in opened:
                remote = Remote(Connection.read(opened["connection"]), self.children, echo)
                result = remote.run(
                    opened[verb],
                    hide_command=hidden,
                    stdin=opened.get("stdin", ""),
                    environment=environment,
                    previous=earlier,
                    echo_stdout=echo if show_stdout else None,
                    echo_stderr=echo if show_stderr else None,
                    limit=limit,
                )
            else:
                result = self.children.run(
                    [*(opened.get("interpreter") or SHELL), opened[verb]],
                    stdin=opened.get("stdin", ""),
                    env={**os.environ, **environment, **earlier},
                    cwd=opened.get("dir"),
                    echo_stdout=echo if show_stdout else None,
                    echo_stderr=echo if show_stderr else None,
                    limit=limit,
                )
        except InterruptedError:
            raise PluginError("cancelled before the command was run") from None
        except OSError as error:
            raise PluginError(
                f"cannot run the command: {error.strerror}: {error.filename}"
            ) from None
        if result.ending:
            raise PluginError(_failure(result, "[secret]" if hidden else json.dumps(opened[verb])))
        return {**inputs, **_trimmed(result)}


def _failure(result: Result, command: str) -> str:
    return f"{result.ending}: running {command}:\n{result.output[-QUOTED:]}"


def _trimmed(result: Result) -> Properties:
    streams = {"stdout": result.stdout, "stderr": result.stderr}
    return {name: text.removesuffix("\n") for name, text in streams.items()}
