"""The matrix as the Markdown between two markers of docs/traffic.md.

python -m tests.netns.matrix.table    writes it there anew
"""

from __future__ import annotations

from ...table import DOCS, between, markdown
from .agent import CLOSED, PROHIBITED, SILENCE
from .probes import FORWARDS, REST
from .rows import MODES, SEEN, Probe, Row

PAGE = DOCS / "traffic.md"
REFUSED = {
    SILENCE: "no answer",
    PROHIBITED: "refused by the relay (ICMP)",
    CLOSED: "home's refusal comes back",
}
HEADS = ("traffic", *MODES.values(), "probes", "deeper test")


def render() -> str:
    """Both tables: traffic that a home's mode takes part in, and the rest."""
    forwards = [
        (row.traffic, *(cell(row.cells[mode]) for mode in MODES), *proofs(row)) for row in FORWARDS
    ]
    rest = [(row.traffic, cell(row.cells[""]), *proofs(row)) for row in REST]
    return "\n".join(
        [
            *markdown(HEADS, forwards),
            "",
            *markdown(("traffic", "whatever the mode", "probes", "deeper test"), rest),
        ]
    )


def cell(held: tuple[Probe, ...] | str) -> str:
    """What is seen, or why nothing is asked."""
    if isinstance(held, str):
        return held
    return "; ".join(dict.fromkeys(_seen(probe) for probe in held))


def _seen(probe: Probe) -> str:
    if probe.want in REFUSED:
        return REFUSED[probe.want]
    if probe.want.isdecimal():
        return f"{probe.want} bytes, IPv{6 if ':' in probe.to else 4}"
    if probe.kind == "ping":
        return "answers ping"
    return f"sees {SEEN.get(probe.want, probe.want)}"


def proofs(row: Row) -> tuple[str, str]:
    """The names of its probes, without their modes, and of the tests that go deeper."""
    probes = [p for held in row.cells.values() if not isinstance(held, str) for p in held]
    names = dict.fromkeys(probe.name.partition("[")[0] for probe in probes)
    tests = [f"`{test}`" for test in row.tests] or ["the probes alone"]
    return ", ".join(f"`{name}`" for name in names), ", ".join(tests)


def block(page: str) -> str:
    """What stands between the comments."""
    return between(page, "matrix")[1].strip("\n")


def main() -> None:
    """Write the tables into the page."""
    head, _, tail = between(PAGE.read_text(), "matrix")
    PAGE.write_text(f"{head}{render()}\n{tail}")


if __name__ == "__main__":
    main()
