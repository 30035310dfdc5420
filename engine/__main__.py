"""``python3 -m engine``: see ``--help``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from . import environment, obtain, plugins
from .report import EngineError, say


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python3 -m engine", description="Get a Pulumi engine, its plugins and its settings."
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    get = verbs.add_parser("get", help="print the folder of a usable pulumi command")
    get.add_argument("--only", choices=obtain.WAYS, default="", help="try this way alone")
    needs = verbs.add_parser("plugins", help="put the resource plugins into a Pulumi home")
    needs.add_argument("--home", type=Path, required=True, help="the folder for PULUMI_HOME")
    needs.add_argument("--official", action="store_true", help="replace stand-ins, or fail")
    env = verbs.add_parser("env", help="write DIR/env, to be read by a shell: . DIR/env")
    init = verbs.add_parser("init", help="env, and make or select a stack")
    init.add_argument("--stack", default="dev", help="the stack's name (%(default)s)")
    for verb in (env, init):
        verb.add_argument("--dir", type=Path, default=Path(".dev"), help="(%(default)s)")
    for verb in (needs, env, init):
        verb.add_argument(
            "--python",
            type=Path,
            default=Path(".venv/bin/python"),
            help="the program's interpreter (%(default)s)",
        )
    return top


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks; raises ``EngineError``."""
    if options.verb == "get":
        print(obtain.get(options.only))
    elif options.verb == "plugins":
        plugins.ensure(options.home, options.python, official=options.official)
    elif options.verb == "env":
        environment.write(options.dir, options.python)
        print(options.dir / "env")
    else:
        environment.init(options.dir, options.python, options.stack)


def main() -> int:
    """Run and turn a failure into one message."""
    try:
        run(parser().parse_args())
    except EngineError as error:
        say(f"error: {error}")
    except subprocess.CalledProcessError as error:
        say(f"error: {error.cmd[0]} ended with status {error.returncode}")
    except OSError as error:
        say(f"error: {error.strerror}: {error.filename}")
    except KeyboardInterrupt:
        say("stopped")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
