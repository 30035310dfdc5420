"""sshd as a command of the tests' own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .unpacked import unpacked


def sshd_program(folder: Path) -> list[str]:
    """sshd as a command; Debian's, unpacked, where it is not installed.

    As root it wants a user and a folder to drop its privileges to; it gets them in a mount
    namespace of its own. ``folder`` is the test's.
    """
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        program = str(unpacked("openssh-server", "openssh-server") / "usr" / "sbin" / "sshd")
    if os.geteuid() != 0:
        return [program]
    passwd = folder / "passwd"
    passwd.write_text(
        Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    own = 'mount --bind "$0" /etc/passwd && mount -t tmpfs -o mode=755 none /run'
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'{own} && mkdir /run/sshd && exec "$@"',
        str(passwd),
        program,
    ]
