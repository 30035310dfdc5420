"""The command line: ``python3 -m operate VERB``, with a request (JSON) on standard input.

Results go to stdout, everything for the user to stderr; a fault is one message and 1.
"""

from __future__ import annotations

import json
import sys

from . import request, verbs
from .errors import OperateError

VERBS = {"bring": verbs.bring, "look": verbs.look, "undo": verbs.undo, "diagnose": verbs.diagnose}


def main(words: list[str]) -> int:
    """Run one verb and give the exit code."""
    if len(words) != 1 or words[0] not in VERBS:
        print(f"usage: python3 -m operate {'|'.join(VERBS)} <REQUEST.json", file=sys.stderr)
        return 2
    try:
        found = VERBS[words[0]](request.read(sys.stdin.read()), say)
    except OperateError as error:
        say(str(error))
        return 1
    if isinstance(found, int):
        return found
    if found is not None:
        print(json.dumps(found))
    return 0


def say(line: str) -> None:
    """A line for the user."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
