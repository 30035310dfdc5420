"""Other programs that the lab runs, and what to say when they are missing or fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.errors import LabError

PACKAGES = {
    "genisoimage": "genisoimage",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh-keyscan": "openssh-client",
    "sudo": "sudo",
}
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"  # where a user's PATH often does not look
TAIL = 12  # lines of a failing program's output that its error message quotes


def find(program: str) -> str:
    """Give a program's path, or say which package has it."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_FOLDERS])
    found = shutil.which(program, path=search)
    if found is None:
        package = PACKAGES.get(program, program)
        raise LabError(f"{program} is not installed on this machine: apt install {package}")
    return found


def as_root() -> list[str]:
    """Give the words that make a command run as root: none for root itself, else sudo."""
    return [] if os.geteuid() == 0 else [find("sudo")]


def run(command: list[str], *, log: Path | None = None, cwd: Path | None = None) -> str:
    """Run a command without input and give its output.

    With ``log``, everything it prints goes to that file instead, and a failure quotes the end.
    """
    if log is None:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cwd, check=False
        )
        output, told = done.stdout, done.stderr or done.stdout
    else:
        with log.open("ab") as file:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=cwd,
                check=False,
            )
        output, told = "", tail(log, TAIL)
    if done.returncode != 0:
        name = Path(command[0]).name
        last = "\n".join(told.strip().splitlines()[-TAIL:])
        raise LabError(f"{name} failed with exit code {done.returncode}:\n{last}")
    return output


def tail(path: Path, lines: int) -> str:
    """Give the last lines of a text file; empty where there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ""
    return "\n".join(data.decode(errors="replace").replace("\r", "").splitlines()[-lines:])


def say(message: str) -> None:
    """Tell the user what goes on; stdout stays for machine-readable answers."""
    print(message, file=sys.stderr, flush=True)
