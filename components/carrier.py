"""The second carrier: a ``HostPlan`` over SSH to a host that lives, part by part."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from collections.abc import Sequence

from .plan import STATIC, File, HostPlan

# Standard input is the bundle and nothing else, so no data meets a command line. All of it is here
# before the lock is taken, so that a connection that hangs keeps nobody out. It is unpacked in
# memory, at one place that the next run clears, for it holds keys.
RUN = (
    "sh -c 'umask 077; data=$(cat); exec 9>/run/cgnat-relay.lock; flock 9; new=/run/cgnat-relay;"
    ' rm -rf $new && mkdir $new && printf %s "$data" | base64 -d | tar -xzf - -C $new'
    " && sh $new/apply $new {interface}; code=$?; rm -rf $new; exit $code'"
)


def command(interface: str, summary: Sequence[str]) -> str:
    """What the host runs. The summary follows as comments: a preview's reader sees it change."""
    return "\n".join([RUN.format(interface=interface), *(f"# {line}" for line in summary)])


def bundle(plan: HostPlan) -> str:
    """The plan and the scripts that apply it, as base64 of a tar; the same text for the same plan.

    It holds private keys. ``files`` has the plan at its paths, ``parts`` a line ``PART PATH`` for
    each file, ``packages`` a name a line.
    """
    parts = [f"{part.name} {file.path}" for part in plan.parts for file in part.files]
    scripts = [File(name, (STATIC / name).read_text()) for name in ("apply", "check", "flows")]
    lists = {"parts": parts, "packages": plan.packages}
    members = [
        *scripts,
        *(File(name, "".join(f"{line}\n" for line in lines)) for name, lines in lists.items()),
        *(File(f"files{file.path}", file.content, file.mode) for file in plan.files),
    ]
    return base64.b64encode(gzip.compress(_tar(members), mtime=0)).decode()


def _tar(members: Sequence[File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in members:
            content = file.content.encode()
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = len(content), int(file.mode, 8)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
