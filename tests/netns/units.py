"""What systemd would run of a unit, for namespaces that have no systemd."""

from __future__ import annotations

import re

CREDENTIALS = "/run/credentials"


def command(unit: str, environment: str) -> list[str]:
    """The words of ``ExecStart`` with the variables of an environment file filled in."""
    (line,) = re.findall(r"^ExecStart=(.*?[^\\])$", unit, re.MULTILINE | re.DOTALL)
    variables = dict(entry.split("=", 1) for entry in environment.splitlines())
    variables["CREDENTIALS_DIRECTORY"] = CREDENTIALS
    words = line.replace("\\\n", " ").split()
    return [re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in words]
