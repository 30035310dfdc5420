"""The second carrier: a ``HostPlan`` over SSH to a host that lives, part by part.

``operate`` does it, a program of its own that runs where Pulumi does. What it is asked is JSON on
its standard input, and what it brings is a bundle of the plan and of the scripts that apply it.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .model import Forward, Home
from .plan import STATIC, File, HostPlan

SCRIPTS = (
    *("apply", "check", "flows", "peers", "put", "restore", "setup", "state", "switch", "turn"),
    *("undo", "whose"),
)
SURVEY = (
    "answers",
    "claimed",
    "foreign",
    "heard",
    "joined",
    "overlaps",
    "overruled",
    "preflight",
    "setup",
)
PROJECT = Path(__file__).resolve().parents[1]


def command(verb: str, lines: Sequence[str] = ()) -> str:
    """What runs here. The lines follow as comments: a preview's reader sees them change."""
    return "\n".join([f"python3 -m operate {verb}", *(f"# {line}" for line in lines)])


def folder() -> str | None:
    """Where ``operate`` can be found; nothing for the project itself, so that it may be moved."""
    return None if Path.cwd() == PROJECT else str(PROJECT)


def request(
    host: Mapping[str, object],
    interface: str,
    bundle: str,
    targets: Sequence[Mapping[str, object]] = (),
) -> str:
    """The JSON that ``operate`` reads; it holds private keys. ``host``: see ``operate.request``."""
    asked = {"host": host, "interface": interface, "bundle": bundle}
    return json.dumps(asked | ({"targets": [*targets]} if targets else {}))


def target(home: Home, forward: Forward, reach: str) -> dict[str, object]:
    """A forward as ``operate.doctor.Target`` has it; of a range its first port.

    ``to`` is for the user to read: where the relay hands it to it knows by its own rules.
    """
    return {
        "protocol": forward.protocol.value,
        "port": forward.ports.first,
        "reach": reach,
        "home": home.name,
        "address": str(home.address),
        "to": f"{forward.to.first}{f' of {forward.host}' if forward.host else ''}",
    }


def bundle(
    plan: HostPlan,
    summary: Sequence[str] = (),
    drift: str = "",
    owner: str = "",
    replaced: Mapping[str, str] | None = None,
) -> str:
    """The plan and the scripts that apply it, as base64 of a tar.gz; the same for the same plan.

    It holds private keys. ``files`` has the plan at its paths, ``parts`` a line ``PART PATH`` for
    each file, ``packages`` and ``units`` a name a line; ``summary`` and ``drift`` are what the
    machine is to remember of it, ``owner`` is whose relay it is. ``replaced``: other scripts in
    place of ours, by name.
    """
    parts = [f"{part.name} {file.path}" for part in plan.parts for file in part.files]
    lists = {
        "parts": parts,
        "packages": plan.packages,
        "units": plan.units,
        "summary": summary,
        "drift": [drift] if drift else [],
        "owner": [owner] if owner else [],
    }
    return _packed(
        [
            *_scripts(SCRIPTS, replaced),
            *(_list(name, lines) for name, lines in lists.items()),
            *(File(f"files{file.path}", file.content, file.mode) for file in plan.files),
        ]
    )


def looking(terms: Iterable[str] = ()) -> str:
    """What looks at a machine; with ``terms`` also at whether it can be adopted."""
    found = list(terms)
    adopting = [*_scripts(SURVEY), _list("terms", found)] if found else []
    return _packed([*_scripts(("look", "peers", "whose")), *adopting])


def observing(
    targets: Iterable[Mapping[str, object]], replaced: Mapping[str, str] | None = None
) -> str:
    """What asks a relay about forwards, each as ``operate.doctor.Target`` has it."""
    probes = (f"{target['protocol']} {target['port']}" for target in targets)
    scripts = _scripts(("check", "dial", "flows", "foreign", "heard", "observe"), replaced)
    return _packed([*scripts, _list("probes", probes)])


def _scripts(names: Iterable[str], replaced: Mapping[str, str] | None = None) -> list[File]:
    other = replaced or {}
    return [File(name, other.get(name) or (STATIC / name).read_text()) for name in names]


def _list(name: str, lines: Iterable[str]) -> File:
    return File(name, "".join(f"{line}\n" for line in lines))


def _packed(members: Sequence[File]) -> str:
    return base64.b64encode(archive(members)).decode()


def archive(members: Sequence[File]) -> bytes:
    """A compressed tar of files alone, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in members:
            content = file.content.encode()
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode = len(content), int(file.mode, 8)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)
