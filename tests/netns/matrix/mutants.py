"""Every generated rule, taken out alone.

A mutant is one host's files without one line, statement, element or address. Lines that are no
rule are named in ``KEPT``, with the reason; whatever else a file holds is taken out, so that a new
kind of rule cannot pass unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .config import HOSTS, Files, Generated

# Lines that no packet can tell of, and what does instead.
KEPT = {
    r"\s*[{}]|\s*\[\w+\]|\s*|COMMIT|\*filter|# .*": "the frame of a file",
    r"\s*(table|chain|set|map) .*\{|\s*(type|flags|elements) .*": "the frame of nft",
    r":[\w-]+ - \[0:0\]": "a chain's name: without it the file does not load",
    r"(add|delete) table .*|flush (set|map) .*": "makes a second load replace the first",
    r"PostUp = sh .*\.call back .*": "calls who is connected again: test_called_back.py",
    r"(PreDown|PostDown) = .*": "undoes: test_up_twice_is_the_same_and_down_leaves_nothing",
}
# One element at a time where each stands for another network, else the whole group.
EACH = ("not_internet",)
LISTS = ("AllowedIPs", "Address")
_CHAIN = re.compile(r"chain (\w+) \{ (?:type [^;]*; )?((?:[^{}]|\{[^{}]*\})*)\}")


@dataclass(frozen=True)
class Mutant:
    """``host`` without one rule. ``rule`` is its text, the same at every host of one role."""

    host: str
    path: str
    rule: str
    files: Files = field(repr=False)

    @property
    def kind(self) -> str:
        """The same rule at another home or device is the same kind."""
        role = "relay" if self.host == "relay" else "peer"
        return f"{role} {self.path.rpartition('/')[2]}: {self.rule}"

    @property
    def name(self) -> str:
        """For people: what is missing, and where."""
        return f"{self.host} {self.path.rpartition('/')[2]}: {self.rule}"


def mutants(generated: Generated) -> list[Mutant]:
    """All of them, host by host."""
    return [
        Mutant(host, path, _neutral(rule, host, generated), {**files, path: text})
        for host, files in generated.files.items()
        for path, content in files.items()
        for rule, text in _without(content)
    ]


def _neutral(rule: str, host: str, generated: Generated) -> str:
    """Without what differs between hosts and runs: keys, addresses of peers, numbers of a slot."""
    rule = re.sub(r"(Key) = \S+", r"\1", rule)
    rule = re.sub(r"(Endpoint) = \S+", r"\1", rule)
    for number in HOSTS.values():
        rule = re.sub(rf"\b172\.16\.0\.{number}\b", "INNER", rule)
        rule = re.sub(rf"\bfd00:c9a7::{number:x}\b", "INNER6", rule)
    if host == "relay":
        return rule
    slot = _slot(generated)
    for value, word in (
        (f"{slot << 24:#010x}", "MARK"),
        (f"cgnat-relay-{slot}", "TABLE"),
        (f"lookup {7000 + slot}", "lookup TABLE"),
        (f"table {7000 + slot}", "table TABLE"),
    ):
        rule = rule.replace(value, word)
    return re.sub(r"\bpref \d+ ", "", rule)


def _slot(generated: Generated) -> int:
    found = re.search(r"table ip cgnat-relay-(\d+)", "".join(generated.files["home"].values()))
    assert found
    return int(found[1])


def _without(content: str) -> Iterator[tuple[str, str]]:
    """Each rule of a file, and the file without it."""
    lines = content.split("\n")
    group = ""
    elements: list[int] = []
    for number, line in enumerate(lines):
        rest = [*lines[:number], *lines[number + 1 :]]
        if found := re.fullmatch(r"\s*(?:set|map) (\w+) \{", line):
            group = found[1]
        elif line.strip() == "elements = {":
            elements = [number]
        elif elements and line.strip() == "}":
            whole = range(elements[0], number + 1)
            if group not in EACH:
                left = [text for at, text in enumerate(lines) if at not in whole]
                yield f"elements of {group}", "\n".join(left)
            elements = []
        elif elements:
            if group in EACH:
                yield f"{group}: {line.strip().rstrip(',')}", "\n".join(rest)
        elif line.startswith(("PostUp = nft '", "PreUp = nft '")):
            for rule, text in _statements(line):
                yield rule, "\n".join([*lines[:number], text, *lines[number + 1 :]])
        elif any(line.startswith(f"{key} = ") for key in LISTS):
            key, _, value = line.partition(" = ")
            items = value.split(", ")
            for item in items:
                left = [one for one in items if one != item]
                text = [f"{key} = {', '.join(left)}"] if left else []
                yield f"{key} {item}", "\n".join([*lines[:number], *text, *lines[number + 1 :]])
        elif not any(re.fullmatch(kept, line) for kept in KEPT):
            yield line.strip(), "\n".join(rest)


def _statements(line: str) -> Iterator[tuple[str, str]]:
    """The statements of an nft table that is written on one line, one taken out at a time."""
    table = re.findall(r"table (\w+) \S+ \{", line)[-1]
    chains = [*_CHAIN.finditer(line)]
    assert len(chains) == line.count("chain "), line
    for chain in chains:
        start = chain.start(2)
        body = chain[2].rstrip()
        statements = re.findall(r"[^;]+;|[^;]+$", body)
        for at, statement in enumerate(statements):
            left = "".join(statements[:at] + statements[at + 1 :])
            text = line[:start] + left + line[start + len(body) :]
            yield f"{table} {chain[1]}: {statement.strip().rstrip(';')}", text
