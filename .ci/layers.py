"""Fails where a promised layer ran no test or skipped one without an accepted reason.

layers.py JUNIT.xml...
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

PROMISED = ("unit", "program", "schema", "clouds", "netns", "engine", "vm")
# The same cases run against the stand-ins, for the official plugins need a download; and the whole
# of the matrices takes longer than this may.
ACCEPTED = ("the official plugin is not installed here", "a part of make matrix")


def main(paths: list[str]) -> int:
    """Count what ran in each layer; 0 where all is as promised."""
    ran: Counter[str] = Counter()
    wrong: list[str] = []
    # pytest wrote them just now
    cases = [c for path in paths for c in ElementTree.parse(path).iter("testcase")]  # noqa: S314
    for case in cases:
        layer = case.get("classname", "").split(".")[1]
        skipped = case.find("skipped")
        if skipped is None:
            ran[layer] += 1
        elif not any(reason in (skipped.get("message") or "") for reason in ACCEPTED):
            wrong.append(f"{case.get('classname')}::{case.get('name')} was skipped")
    wrong += [f"layer {layer} ran no test" for layer in PROMISED if not ran[layer]]
    print("layers: " + ", ".join(f"{layer} {ran[layer]}" for layer in PROMISED))
    for line in wrong:
        print(f"layers: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
