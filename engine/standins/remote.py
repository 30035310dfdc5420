"""A command on another host, through the OpenSSH client.

The private key and the configuration are handed to ``ssh`` as files in memory, so neither a disk
nor a process list ever shows them. The host's key is pinned when one is given.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .server import InputError, PluginError
from .shell import Children, Echo, Result
from .wire import UNKNOWN, Properties, plain

# Waiting between two attempts, in seconds: first, factor, longest. As in the official plugin.
FIRST_DELAY, BACKOFF, LONGEST_DELAY = 0.1, 1.5, 5.0
DEFAULTS: Properties = {
    "user": "root",
    "port": 22.0,
    "dialErrorLimit": 10.0,
    "perDialTimeout": 15.0,
}
UNSUPPORTED = ("password", "privateKeyPassword", "proxy")
ALIAS = "pinned"
# ssh's own status for whatever kept it from running the command; a command may end with it too.
SSH_FAILED = 255


@dataclass(frozen=True)
class Connection:
    """Where and as whom to run; ``repr`` shows no key."""

    host: str
    port: int
    user: str
    private_key: str = field(repr=False)
    host_key: str
    agent: str
    attempts: int
    timeout: int

    @classmethod
    def read(cls, value: Any) -> Connection:
        """From the input ``connection`` with its defaults filled in; raises ``InputError``."""
        given = {
            **DEFAULTS,
            **{key: item for key, item in plain(value).items() if item is not None},
        }
        for key in UNSUPPORTED:
            if key in given:
                reason = "is not supported by this stand-in; use privateKey and a direct connection"
                raise InputError(f"connection.{key}", reason)
        for key in ("host", "user"):
            if not re.fullmatch(r"[^\s\"'\\%#-][^\s\"'\\%#]*", str(given.get(key, ""))):
                raise InputError(f"connection.{key}", "must be a plain name or address")
        agent = given.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK", "")
        if "\n" in agent or '"' in agent:
            raise InputError("connection.agentSocketPath", "must be a plain path")
        return cls(
            host=given["host"],
            port=int(given["port"]),
            user=given["user"],
            private_key=given.get("privateKey", ""),
            host_key=" ".join(given.get("hostKey", "").split()),
            agent=agent,
            attempts=int(given["dialErrorLimit"]),
            timeout=int(given["perDialTimeout"]),
        )


def check_connection(value: Any) -> None:
    """Raise ``InputError`` for what is known of the connection in a preview already."""
    opened = plain(value)
    if isinstance(opened, dict) and UNKNOWN not in opened.values():
        Connection.read(opened)


class MemoryFiles:
    """Files that another process of this user can open by path and that no disk holds."""

    def __init__(self) -> None:
        self._cleanup = ExitStack()
        self._folder: Path | None = None
        if not (hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()):
            self._folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory()))

    def __enter__(self) -> MemoryFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def add(self, name: str, text: str = "") -> Path:
        """A file of mode 0600 with that text."""
        if self._folder is not None:
            path = self._folder / name
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        else:
            descriptor = os.memfd_create(name)
            # By this process's id: ssh closes the descriptors that it inherits.
            path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        self._cleanup.callback(os.close, descriptor)
        os.fchmod(descriptor, 0o600)
        with os.fdopen(descriptor, "w", closefd=False) as file:
            file.write(text)
        return path


@dataclass(frozen=True)
class Remote:
    """One host, reached anew for each command."""

    connection: Connection
    children: Children
    status: Callable[[str], None]

    def run(
        self,
        command: str,
        *,
        hide_command: bool,
        stdin: str,
        environment: Mapping[str, str],
        previous: Mapping[str, str],
        echo_stdout: Echo | None,
        echo_stderr: Echo | None,
        limit: float,
    ) -> Result:
        """Run ``command`` in the user's login shell there, as soon as the host lets us in.

        ``environment`` must be accepted by the server, ``previous`` (an earlier run's output)
        need not be. Raises ``PluginError`` where the host cannot be reached or refuses.
        """
        deadline = time.monotonic() + limit if limit > 0 else math.inf
        if environment:
            self._require_accepted(environment, deadline)
        return self._dial(
            command,
            hide_command=hide_command,
            stdin=stdin,
            environment={**environment, **previous},
            echo_stdout=echo_stdout,
            echo_stderr=echo_stderr,
            deadline=deadline,
        )

    def _require_accepted(self, environment: Mapping[str, str], deadline: float) -> None:
        """Ask first: a server drops what ``AcceptEnv`` does not name, and ssh does not say so."""
        for name in environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise PluginError("environment: a name must be letters, digits and underscores")
        tests = "; ".join(f'[ -n "${{{name}+x}}" ] || echo {name}' for name in environment)
        result = self._dial(tests, environment=environment, deadline=deadline)
        if refused := result.stdout.split():
            raise PluginError(
                f"could not set environment variable {refused[0]!r}: the SSH server there does "
                "not accept it. Name it in its AcceptEnv, or put it into the command itself"
            )

    def _dial(
        self,
        command: str,
        *,
        hide_command: bool = False,
        stdin: str = "",
        environment: Mapping[str, str],
        echo_stdout: Echo | None = None,
        echo_stderr: Echo | None = None,
        deadline: float,
    ) -> Result:
        delay, failed = FIRST_DELAY, 0
        while True:
            with MemoryFiles() as files:
                connected, said = files.add("connected"), files.add("said")
                settings = self._settings(files, connected, environment)
                arguments = ["--", ALIAS, command]
                if hide_command:
                    settings += f"RemoteCommand {_as_one_line(command)}\n"
                    arguments = ["--", ALIAS]
                config = files.add("config", settings)
                ssh = shutil.which("ssh")
                if ssh is None:
                    raise PluginError("ssh is not installed here; install the OpenSSH client")
                result = self.children.run(
                    [ssh, "-F", str(config), "-E", str(said), *arguments],
                    stdin=stdin,
                    env={**os.environ, **environment},
                    echo_stdout=echo_stdout,
                    echo_stderr=echo_stderr,
                    limit=0 if deadline == math.inf else max(deadline - time.monotonic(), 0.001),
                )
                reached = bool(connected.read_text())
                words = " ".join(said.read_text(errors="replace").split())
            if reached:
                if result.status == SSH_FAILED and words:
                    raise PluginError(f"the connection to {self._target} was lost: {words}")
                return result
            if result.timed_out or time.monotonic() + delay > deadline:
                raise PluginError(f"{self._target} did not let us in within the time limit")
            self._raise_if_final(words)
            failed += 1
            if 0 <= self.connection.attempts < failed:
                raise PluginError(f"after {failed} failed attempts: {words or 'no answer'}")
            most = "inf" if self.connection.attempts < 0 else self.connection.attempts
            self.status(f"Dial {failed}/{most} failed: retrying")
            if self.children.cancelled.wait(delay):
                raise PluginError(f"cancelled while waiting for {self._target}")
            delay = min(delay * BACKOFF, LONGEST_DELAY)

    @property
    def _target(self) -> str:
        return f"{self.connection.host} port {self.connection.port}"

    def _raise_if_final(self, words: str) -> None:
        """Raise for what no further attempt can cure; ``words`` is what ssh itself said."""
        if "Host key verification failed" in words or "host key is known for" in words:
            raise PluginError(
                f"the host key of {self._target} is not the one given as hostKey: another machine "
                "answers there, or it was installed anew. Nothing was sent to it"
            )
        if "Load key" in words:
            raise PluginError("connection.privateKey is not a private key that ssh can read")
        if "bad configuration option" in words or "/config line " in words:
            raise PluginError(f"ssh here does not take the stand-in's options: {words}")

    def _settings(self, files: MemoryFiles, connected: Path, environment: Mapping[str, str]) -> str:
        """The configuration of one ssh; nothing of the user's own is read."""
        to = self.connection
        lines = {
            "HostName": to.host,
            "Port": to.port,
            "User": to.user,
            "BatchMode": "yes",
            "LogLevel": "ERROR",  # also keeps a banner out of the command's stderr
            "ConnectTimeout": to.timeout,
            "ServerAliveInterval": 15,
            "RequestTTY": "no",
            "EscapeChar": "none",
            "ControlMaster": "no",
            "ControlPath": "none",
            "GSSAPIAuthentication": "no",
            "PreferredAuthentications": "publickey",
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "PermitLocalCommand": "yes",
            # Runs once the host has let us in, before the command starts there.
            "LocalCommand": f"echo yes >> {connected}",
            "HostKeyAlias": ALIAS,
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentityAgent": f'"{to.agent}"' if to.agent else "none",
            "IdentitiesOnly": "no",
            "IdentityFile": "none",
        }
        if to.host_key:
            known = files.add("known_hosts", f"{ALIAS} {to.host_key}\n")
            lines |= {"StrictHostKeyChecking": "yes", "UserKnownHostsFile": known}
        if to.private_key:
            key = to.private_key.replace("\r\n", "\n").rstrip("\n") + "\n"
            lines |= {"IdentityFile": files.add("key", key), "IdentitiesOnly": "yes"}
            lines["IdentityAgent"] = "none"
        if environment:
            lines["SendEnv"] = " ".join(environment)
        return "".join(f"{key} {value}\n" for key, value in lines.items())


def _as_one_line(command: str) -> str:
    """A secret command for ssh's configuration, where a line end would end it."""
    octal = "".join(f"\\0{byte:03o}" for byte in command.encode())
    return f"""eval "$(printf '%%b' '{octal}')\""""
