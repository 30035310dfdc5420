"""OpenSSH with everything pinned: one host key, one key to enter with, nothing of the user's files.

Each call is a connection of its own, and the private key is never on a disk where the system can
hold it in memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .causes import (
    AGAIN,
    CAUSES,
    ENDED,
    LOCKED,
    NO_AGENT,
    NO_KEY_ALONE,
    REFUSED_KEY,
    REFUSES,
    AwayError,
    LostError,
)
from .errors import OperateError
from .request import CONNECT, Host

PAUSE = 1.0  # seconds between two tries
ALIVE = (5, 6)  # seconds between signs of life, and how many may stay out
# The line after which standard input is the caller's, and what is printed is the script's: before
# it a login's shell may say anything, and end its words with no newline.
BEGIN = "cgnat-relay"
BEGUN = f"\n{BEGIN}\n"
WRONG_PASSWORD, NO_SUDO, REFUSED = 77, 78, 255

# The first line of standard input is sudo's password, read by a builtin: it is in no argument, no
# environment and no file. It is tried once alone, so that a wrong one meets nothing else; sudo may
# or may not take it, so what runs as root begins behind a line that both know. sudo clears the
# environment; from where the user came is no secret, and goes on as the shell's name.
AS_USER = (
    "IFS= read -r password; command -v sudo >/dev/null || exit 78;"
    ' printf "%s\\n" "$password" | LC_ALL=C sudo -k -S -p "" true || exit 77;'
    ' {{ printf "%s\\n" "$password"; cat; }} | sudo -S -p "" sh -c {script} "$SSH_CONNECTION"'
)
ENTERED = 'export SSH_CONNECTION="$0"; '
AS_ROOT = (
    'IFS= read -r line; [ "$line" = cgnat-relay ] || IFS= read -r line;'
    ' printf "\\n%s\\n" "$line"; printf "\\n%s\\n" "$line" >&2; '
)


def run(host: Host, script: str, stdin: str, timeout: float = 1500) -> str:
    """Run a static shell script as root; what it printed.

    ``stdin`` reaches the script's standard input and nothing else. Raises ``LostError`` where SSH
    failed, and OperateError with the script's own last words where that did.
    """
    inner = AS_ROOT + script
    if host.user == "root":
        words = inner
        given = f"{BEGIN}\n{stdin}"
    else:
        words = AS_USER.format(script=shlex.quote(ENTERED + inner))
        given = f"{host.password or ''}\n{BEGIN}\n{stdin}"
    try:
        done, own = _asked(host, words, given, timeout)
    except FileNotFoundError:
        raise OperateError("the program ssh is not here; install OpenSSH's client") from None
    except subprocess.TimeoutExpired:
        late = LostError(f"{host.name} did not end its work within {timeout:.0f} s; {AGAIN}")
        late.made = True
        raise late from None
    if done.returncode == REFUSED:
        raise _lost(host, own, _ours(done.stderr), begun=BEGUN in done.stderr)
    if done.returncode == WRONG_PASSWORD:
        raise _sudo(host, done.stderr)
    if done.returncode == NO_SUDO:
        raise OperateError(f"{host.name} has no sudo; install it there, or enter as root")
    if BEGUN not in done.stdout:
        raise _not_run(host, words)
    if done.returncode:
        said = _ours(done.stderr).strip()
        raise OperateError(said or f"{host.name}: ended with {done.returncode}")
    return _ours(done.stdout)


def _asked(
    host: Host, words: str, given: str, timeout: float
) -> tuple[subprocess.CompletedProcess[str], str]:
    """These words of shell, run there with ``given`` on standard input; and ssh's own words.

    Those are in a file, for standard error is the machine's, and anything may be said there.
    """
    with _files(host) as (key, known), _held("") as log:
        done = subprocess.run(
            _command(host, key, known, log, f"sh -c {shlex.quote(words)}"),
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # names that others chose, and that the kernel cut in a letter
            timeout=timeout,
            check=False,
        )
        return done, Path(log).read_text(encoding="utf-8", errors="replace")


def _not_run(host: Host, words: str) -> OperateError:
    """Where a key may do one thing alone, or the login is no shell; how it ends tells nothing.

    What it said may be what it was sent, secrets and all. So it is asked once more, and sent none.
    """
    said = ""
    with contextlib.suppress(subprocess.TimeoutExpired):
        done, _ = _asked(host, words, "", timeout=30)
        lines = [x.strip() for x in f"{done.stdout}\n{done.stderr}".split("\n") if x.strip()]
        said = f", but says: {lines[-1][:200]}" if lines else ""
    return OperateError(
        f"{host.name} lets {host.user} in and does not run what it is sent{said}; check vps.user,"
        " and what authorized_keys and the login shell there allow"
    )


def _sudo(host: Host, said: str) -> OperateError:
    """What sudo itself says, behind a login's greeting: in English, as it is told to."""
    its = [line for line in said.splitlines() if re.search(r"^sudo: |^Sorry, |sudoers", line)]
    words = (its or [""])[-1].strip()
    if not words or re.search(r"password|try again", words):
        return OperateError(
            f"sudo on {host.name} does not take the password of {host.user}; set vps.password (as a"
            " secret), and see to it that the user is in the group sudo, or let sudo ask for none"
        )
    return OperateError(
        f"sudo on {host.name} does not let {host.user} in: {words}; see to it that the user may run"
        " any command there by sudo, without a terminal"
    )


def _ours(said: str) -> str:
    """What the script said, without what was said before it began; all where it did not begin."""
    before, began, after = said.partition(BEGUN)
    return after if began else before


def patiently(host: Host, script: str, stdin: str, patience: float | None = None) -> str:
    """The same by any way in, tried anew for ``host.patience`` seconds while there is none.

    For as long as ``patience`` says of a machine that runs, and of what may be asked twice: each
    try after a longer pause, for it may count them (``ufw limit``), and one that is refused counts
    as well; the last comes at the end.
    """
    deadline = time.monotonic() + (host.patience if patience is None else patience)
    ways, pause, made = host.ways(), PAUSE, False
    while True:
        lost: list[LostError] = []
        for way in ways:
            began = time.monotonic()
            try:
                return run(way, script, stdin)
            except LostError as error:
                # What lasted has begun its work, which is not to be done twice unasked; where no
                # connection was made, a name may have had many addresses to be tried.
                lasted = time.monotonic() - began > 2 * CONNECT
                if error.made and lasted and patience is None:
                    raise
                made |= error.made
                lost.append(error)
        left = deadline - time.monotonic()
        if left <= 0:
            kind = AwayError if all(isinstance(one, AwayError) for one in lost) else LostError
            last = kind("; ".join(map(str, lost[: 2 if host.inside_first else 1])))
            last.made = made
            raise last
        if not host.inside_first:
            del ways[1:]  # a machine that boots is not closed: the tunnel is no way to wait for it
        time.sleep(min(pause, left))
        pause *= 1 if patience is None else 2


def _command(host: Host, key: str | None, known: str, log: str, words: str) -> list[str]:
    kind = host.host_key.split()[0]
    algorithms = "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind
    interval, count = ALIVE
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": _word(known),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "relay",
        "HostKeyAlgorithms": algorithms,
        "UpdateHostKeys": "no",
        "PreferredAuthentications": "publickey",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": str(host.connect),
        "ServerAliveInterval": str(interval),
        "ServerAliveCountMax": str(count),
        "LogLevel": "ERROR",
    }
    options["IdentityFile"] = "none" if key is None else _word(key)
    if key is not None:
        options["IdentitiesOnly"] = "yes"  # an agent may have it, and is asked for that one alone
    if host.key is not None:
        options["IdentityAgent"] = "none"
    found = ["ssh", "-F", "none", "-T", "-E", log, "-p", str(host.port), "-l", host.user]
    for name, value in options.items():
        found += ["-o", f"{name}={value}"]
    return [*found, "--", host.address, words]


def _word(path: str) -> str:
    """A path as one word of ssh_config(5), which splits at spaces and knows tokens."""
    quoted = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{quoted}"'


@contextlib.contextmanager
def _files(host: Host) -> Iterator[tuple[str | None, str]]:
    """The paths of the private key, where there is one, and of the pinned host key."""
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(_held(f"relay {' '.join(host.host_key.split()[:2])}\n"))
        if host.key is None:
            yield _named(host.key_file), known
        else:
            yield stack.enter_context(_held(host.key)), known


def _named(key_file: str | None) -> str | None:
    """Its path on this computer; OperateError where it is none: ssh would say nothing of it."""
    if not key_file:
        return None
    path = Path(key_file).expanduser()
    if not path.is_file():
        raise OperateError(
            f"there is no file {key_file} on this computer; put the private key there, or set"
            " vps.key to where it is and run pulumi up"
        )
    return str(path)


@contextlib.contextmanager
def _held(text: str) -> Iterator[str]:
    """A path that has this text and is this user's alone: in memory, or else a file for a while."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("cgnat-relay")
        try:
            os.fchmod(number, 0o600)
            os.write(number, text.encode())
            # Not /dev/fd: ssh closes what it inherits. This opens the same memory anew.
            yield f"/proc/{os.getpid()}/fd/{number}"
        finally:
            os.close(number)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "held"
            path.touch(mode=0o600)
            path.write_text(text)
            yield str(path)


def _locked(host: Host) -> bool:
    """Whether the named private key is under a passphrase."""
    with _files(host) as (key, _):
        words = ["ssh-keygen", "-y", "-P", "", "-f", str(key)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    return "passphrase" in done.stderr


def _lost(host: Host, said: str, there: str = "", begun: bool = True) -> LostError:
    """Why ssh failed, by its own words, and what had been ``said`` there until then.

    Until the script has ``begun`` that may be what was sent, and is not shown.
    """
    own, theirs = (
        [line.strip() for line in text.split("\n") if line.strip()] for text in (said, there)
    )
    closed = (*ENDED, f"Connection to {host.address} closed")
    while theirs and theirs[-1].startswith(closed):
        own.append(theirs.pop())
    if not any(line.startswith(closed) for line in own):
        for kind, signs, cause in CAUSES:
            found = [line for line in own if any(sign in line for sign in signs)]
            if found:
                return kind(
                    f"{host.name} {_refused(host, found[-1]) if signs == REFUSES else cause}"
                )
    last = own[-1] if own else "it ended without a word"
    before = f" (there was said last: {theirs[-1]})" if theirs and begun else ""
    lost = AwayError(f"the connection to {host.name} was lost: {last}{before}; {AGAIN}")
    lost.made = True
    return lost


def _refused(host: Host, said: str) -> str:
    """Why no key was taken: sshd names what it would take in brackets."""
    taken = re.search(r"\(([^)]*)\)", said)
    if taken and "publickey" not in taken[1]:
        return NO_KEY_ALONE
    if host.key is None and host.key_file is None:
        return NO_AGENT
    return LOCKED if _locked(host) else REFUSED_KEY
