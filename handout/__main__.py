"""The command line: ``python3 -m handout VERB``, in the virtual environment.

Secrets go to standard output or into files of mode 0600, as asked for, and nowhere else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    from components.formats import FORMATS

    from . import files, outputs, peers, qr
    from .peers import HandoutError, Peer
except ModuleNotFoundError as missing:
    sys.exit(f"handout: {missing.name} is not installed here; run: .venv/bin/python -m handout")

Run = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and give the exit code; what cannot be done is one sentence and 1."""
    given = parser().parse_args(arguments)
    run: Run = given.run
    try:
        run(given)
    except HandoutError as error:
        print(f"handout: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"handout: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the verbs."""
    whole = argparse.ArgumentParser(
        prog="python3 -m handout",
        description="What is handed to homes and devices, in the form their owners can use.",
    )
    whole.add_argument("--stack", help="by default the selected one")
    verbs = whole.add_subparsers(metavar="VERB", required=True)

    def add(name: str, run: Run, text: str, file: str = "--file") -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(run=run)
        if name == "list":
            return verb
        verb.add_argument("name", metavar="NAME", help="a home or a device")
        verb.add_argument(
            file,
            dest="file",
            type=Path,
            metavar=file.strip("-").upper(),
            help="write there, 0600, not to standard output",
        )
        verb.add_argument("--force", action="store_true", help="replace what is there")
        return verb

    add("list", _list, "homes and devices, and what each must take; no secrets")
    add("config", _config, "the wg0.conf of a home, the WireGuard file of a device")
    add("rules", _rules, "the wg0.rules of a home that needs one beside its config")
    add("qr", _qr, "a device's config as a QR code", "--png")
    add("installer", _installer, "the script that sets a home up by itself")
    verb = add("format", _format, "the config in another form", "--into")
    verb.add_argument("format", metavar="FORMAT", help=", ".join(FORMATS))
    return whole


def _list(given: argparse.Namespace) -> None:
    everyone = peers.peers(outputs.read(given.stack, secrets=True)).values()
    width = max(len(peer.name) for peer in everyone)
    for peer in everyone:
        print(f"{'home' if peer.is_home else 'device':<7} {peer.name:<{width}}  {takes(peer)}")


def takes(peer: Peer) -> str:
    """What a peer must take, in words."""
    what = ["config"]
    if peer.rules is not None:
        what.append("rules")
    if not peer.has_commands and not peer.keeps_its_key:
        what.append("or qr")
    text = " ".join(what) + f"; or format: {', '.join(sorted(peer.formats))}"
    return text + ("; its own private key is put in there" if peer.keeps_its_key else "")


def _config(given: argparse.Namespace) -> None:
    _give(given, _peer(given).config)


def _rules(given: argparse.Namespace) -> None:
    peer = _peer(given)
    if peer.rules is None:
        raise HandoutError(f"{peer.name} needs no rules beside its config")
    _give(given, peer.rules)


def _qr(given: argparse.Namespace) -> None:
    peer = _peer(given)
    if given.file is None:
        sys.stdout.write(qr.terminal(peer))
    else:
        files.write({given.file: qr.png(peer)}, given.force)


def _installer(given: argparse.Namespace) -> None:
    _give(given, peers.installer(outputs.read(given.stack, secrets=True), given.name))


def _format(given: argparse.Namespace) -> None:
    texts = _peer(given).format(given.format)
    if given.file is not None:
        found = {given.file / name: text.encode() for name, text in texts.items()}
        files.write(found, given.force)
    elif len(texts) == 1:
        sys.stdout.writelines(texts.values())
    else:
        print("\n".join(f"==> {name} <==\n{text}" for name, text in texts.items()), end="")


def _peer(given: argparse.Namespace) -> Peer:
    return peers.find(outputs.read(given.stack, secrets=True), given.name)


def _give(given: argparse.Namespace, text: str) -> None:
    if given.file is None:
        sys.stdout.write(text)
    else:
        files.write({given.file: text.encode()}, given.force)


if __name__ == "__main__":
    sys.exit(main())
