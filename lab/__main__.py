"""The command line: ``python3 -m lab COMMAND``. Answers go to stdout, everything else to stderr."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab import address, folders, forwards, home, image, ready, vm
from lab.errors import LabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code; a fault of the user's is one message and 1."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int | None] = options.run
    try:
        return run(options) or 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Describe the commands."""
    whole = argparse.ArgumentParser(
        prog="python3 -m lab",
        description="Throw-away VMs that play a VPS and a home server on this machine.",
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    def add_vm(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Any:
        command = add(name, run, text)
        command.add_argument("name", metavar="NAME", help="the VM, and its host name")
        return command

    command = add("image", _image, "build a disk image, or find it built; print its folder")
    command.add_argument("--variant", default="vps", choices=image.variants())

    command = add_vm("reserve", _reserve, "reserve a VM's addresses; print them as JSON")
    command.add_argument("--udp", type=int, default=address.UDP, help="the tunnel's port in the VM")
    command.add_argument("--ssh", type=int, default=address.SSH, help="the SSH port in the VM")
    command.add_argument("--network", default=address.NETWORK, help="the VM's network")
    command.add_argument(
        "--home-network", default=address.HOME_NETWORK, help="the network of the homes that dial it"
    )
    add_vm("release", _release, "forget a VM's addresses")

    command = add_vm("start", _start, "start a VM with the user-data on stdin; print JSON")
    command.add_argument("--variant", default="vps", choices=image.variants())
    command.add_argument("--network", help="the VM's network; by default the reserved one")
    command.add_argument("--memory", type=int, default=vm.MEMORY, help="in MiB")
    command.add_argument("--cpu", default="", help="as QEMU names it, as `max`; by default by host")

    command = add_vm("home", _home, "start a home behind NAT with a wg0.conf; print JSON")
    command.add_argument("--network", default=address.HOME_NETWORK, help="the home's network")
    command.add_argument("--memory", type=int, default=vm.MEMORY, help="in MiB")
    command.add_argument("--config-file", type=Path, help="the wg0.conf; by default stdin")

    command = add_vm("wait", _wait, "wait until SSH answers with the right host key")
    command.add_argument("--host-key", required=True, help="ssh-ed25519 AAAA…")
    command.add_argument("--timeout", type=float, default=600.0, help="in seconds")

    command = add_vm("open", _open, "let exactly these ports in from outside; print JSON")
    command.add_argument("ports", nargs="*", metavar="PORT", help="tcp/80 or udp/27015-27020")
    add_vm("close", _close, "let no port in from outside")

    command = add_vm("exec", _exec, "run a command in a VM as root, without its network")
    command.add_argument("--timeout", type=float, default=600.0, help="in seconds")
    command.add_argument("--stdin", action="store_true", help="pass standard input on")
    command.add_argument("command", nargs="+", metavar="WORD", help="put -- before the first")

    command = add_vm("console", _console, "print the end of a VM's serial console")
    command.add_argument("-n", "--lines", type=int, default=40)
    command = add("status", _status, "print what is known of a VM, or of all, as JSON")
    command.add_argument("name", metavar="NAME", nargs="?")
    add_vm("reset", _reset, "switch a VM off and on, without a shutdown")
    add_vm("snapshot", _snapshot, "keep a running VM as it is now, memory and disk")
    add_vm("restore", _restore, "make a running VM what it was at its snapshot")
    add_vm("stop", _stop, "end a VM and delete its disk; its addresses stay reserved")
    add("resume", _resume, "boot the VMs that are switched off; print their names as JSON")
    add("down", _down, "stop every VM of this lab and release every address")
    return whole


def _image(options: argparse.Namespace) -> None:
    print(image.build(options.variant))


def _reserve(options: argparse.Namespace) -> None:
    reserved = forwards.reserve(
        options.name, options.udp, options.ssh, options.network, options.home_network
    )
    _print(reserved.public())


def _release(options: argparse.Namespace) -> None:
    vm.release(options.name)


def _start(options: argparse.Namespace) -> None:
    user_data = sys.stdin.buffer.read()
    given = (options.variant, options.network, options.memory, options.cpu)
    _print(vm.start(options.name, user_data, *given))


def _home(options: argparse.Namespace) -> None:
    try:
        file = options.config_file
        config = sys.stdin.read() if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"the home's configuration cannot be read: {error}") from error
    _print(home.start(options.name, config, options.network, options.memory))


def _wait(options: argparse.Namespace) -> None:
    ready.wait(options.name, options.host_key, options.timeout)


def _open(options: argparse.Namespace) -> None:
    _print(forwards.open_ports(options.name, options.ports))


def _close(options: argparse.Namespace) -> None:
    forwards.close_ports(options.name)


def _exec(options: argparse.Namespace) -> int:
    stdin = sys.stdin.buffer.read() if options.stdin else None
    done = vm.execute(options.name, options.command, stdin, options.timeout)
    for stream, data in ((sys.stdout, done.stdout), (sys.stderr, done.stderr)):
        stream.buffer.write(data)
        stream.flush()
    return done.code


def _console(options: argparse.Namespace) -> None:
    print(vm.console(options.name, options.lines))


def _status(options: argparse.Namespace) -> None:
    if options.name is not None:
        _print(vm.status(options.name))
    else:
        _print([vm.status(name) for name in folders.names()])


def _reset(options: argparse.Namespace) -> None:
    vm.reset(options.name)


def _snapshot(options: argparse.Namespace) -> None:
    vm.snapshot(options.name)


def _restore(options: argparse.Namespace) -> None:
    vm.restore(options.name)


def _stop(options: argparse.Namespace) -> None:
    vm.stop(options.name)


def _resume(options: argparse.Namespace) -> None:
    _print(vm.resume())


def _down(options: argparse.Namespace) -> None:
    vm.down()


def _print(value: Any) -> None:
    print(json.dumps(value))


if __name__ == "__main__":
    sys.exit(main())
