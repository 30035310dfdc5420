"""Ports opened from outside, on a VM that runs: QEMU's forwards brought to what is reserved."""

import re
from collections.abc import Iterable
from dataclasses import replace

from lab import address, command, folders, ports, qmp, vm
from lab.address import Forward, Reservation
from lab.errors import LabError
from lab.ports import Ports

# "  TCP[HOST_FORWARD]  13       127.64.3.7    80  198.51.100.15    80     0     0"
LINE = re.compile(r"\s*(TCP|UDP)\[HOST_FORWARD\]\s+\S+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)\s")


def open_ports(name: str, texts: Iterable[str]) -> dict[str, str]:
    """Let exactly these ports of the VM be reached from outside, now and at later starts.

    Gives where each is reached. SSH and the tunnel's port stay forwarded whatever is asked.
    """
    wanted = ports.parse_all(texts)
    with folders.locked_vm(name) as folder:
        kept = address.require(name)
        running = vm.running(folder)
        held = kept.forwards() | (_held(name) if running is not None else set())
        changed = replace(kept, opened=choose(kept, wanted, in_use=InUse(kept.reach, held)))
        if running is not None:
            _apply(name, changed)
        changed.save(name)
    return changed.mapping()


def close_ports(name: str) -> None:
    """Let no port be reached but SSH and the tunnel's; a VM that is gone is no fault."""
    if address.load(name) is not None:
        open_ports(name, [])


def reserve(name: str, udp: int, ssh: int, network: str, home_network: str) -> Reservation:
    """Reserve addresses; a VM that runs gets the changed ports at once."""
    with folders.locked_vm(name) as folder:
        kept = address.reserve(name, udp, ssh, network, home_network)
        if vm.running(folder) is not None:
            _apply(name, kept)
    return kept


def choose(kept: Reservation, wanted: Iterable[Ports], in_use: "InUse") -> dict[str, int]:
    """Choose for each of the VM's ports how far it is moved up on the host.

    What was chosen before stays; the rest takes its own number where that can be had.
    """
    own = {("tcp", kept.ssh_port)}

    def free(protocol: str, port: int) -> bool:
        return (protocol, port) not in own and not in_use(protocol, port)

    chosen: dict[str, int] = {}
    new = []
    for one in wanted:
        if str(one) in kept.opened:
            chosen[str(one)] = kept.opened[str(one)]
            own.update((one.protocol, port) for port in one.each(chosen[str(one)]))
        else:
            new.append(one)
    for one in new:
        offset = ports.place(one, free)
        chosen[str(one)] = offset
        own.update((one.protocol, port) for port in one.each(offset))
    return chosen


class InUse:
    """Asks whether a port of an address is taken by somebody other than this VM."""

    def __init__(self, reach: str, ours: Iterable[Forward]) -> None:
        self._reach = reach
        self._ours = {(one.protocol, one.address, one.port) for one in ours}

    def __call__(self, protocol: str, port: int) -> bool:
        """Try the port, unless it is the VM's own forward that holds it."""
        if (protocol, self._reach, port) in self._ours:
            return False
        return not ports.bindable(self._reach, protocol, port)


def parse(listing: str) -> set[Forward]:
    """Read QEMU's ``info usernet``: the forwards it holds now."""
    found = set()
    for line in listing.splitlines():
        fields = LINE.match(line)
        if fields:
            protocol, host, port, guest_port = fields.groups()
            found.add(Forward(protocol.lower(), host, int(port), int(guest_port)))
    return found


def _held(name: str) -> set[Forward]:
    """What a running QEMU forwards now; more than was kept where an earlier change failed."""
    with qmp.session(folders.vm(name) / command.MONITOR) as monitor:
        return parse(monitor.human("info usernet"))


def _apply(name: str, reservation: Reservation) -> None:
    """Make a running QEMU hold this reservation's forwards and no others."""
    wanted = reservation.forwards()
    with qmp.session(folders.vm(name) / command.MONITOR) as monitor:
        held = parse(monitor.human("info usernet"))
        for forward in sorted(held - wanted, key=command.rule):
            monitor.human(f"hostfwd_remove {command.NETDEV} {command.rule_removed(forward)}")
        for forward in sorted(wanted - held, key=command.rule):
            told = monitor.human(f"hostfwd_add {command.NETDEV} {command.rule(forward)}")
            if told:
                raise LabError(refused(forward, told))


def refused(forward: Forward, told: str) -> str:
    """Say that a port could not be had."""
    return (
        f"{forward.protocol} port {forward.port} on {forward.address} cannot be forwarded "
        f"({told}): another program listens there; stop it or declare another port"
    )
