"""QEMU's command line, as plain data: nothing here touches the machine.

Paths are relative: QEMU runs in the VM's folder, whose own path may be too long for a socket.
"""

import uuid
from collections.abc import Iterable
from pathlib import Path

from lab.address import Forward

DISK, SEED, CONSOLE, LOG, PID = "overlay.qcow2", "seed.iso", "console.log", "qemu.log", "pid"
MONITOR, AGENT = "qmp.sock", "agent.sock"
NETDEV = "net0"
BOOT = " ".join(
    (
        *("root=/dev/vda", "rootfstype=ext4", "rw", "fsck.mode=skip"),
        *("console=ttyS0", "net.ifnames=0", "audit=0", "mitigations=off"),
        # A host too busy to run the VM in time is no fault of the VM's clocks or tasks: without
        # these, its kernel panics ("IO-APIC + timer doesn't work") or fills the console.
        *("no_timer_check", "nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1"),
    )
)


def mark(folder: Path) -> str:
    """Give the UUID that tells a VM of this folder from every other QEMU process."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, folder.as_uri()))


def rule(forward: Forward) -> str:
    """Write a forward as QEMU's command line and its monitor take it."""
    return f"{forward.protocol}:{forward.address}:{forward.port}-:{forward.guest_port}"


def rule_removed(forward: Forward) -> str:
    """Write a forward as the monitor's ``hostfwd_remove`` takes it."""
    return f"{forward.protocol}:{forward.address}:{forward.port}"


def qemu(
    program: str,
    *,
    folder: Path,
    image: Path,
    accel: str,
    memory: int,
    network: str,
    forwards: Iterable[Forward],
    cpu: str = "",
) -> list[str]:
    """Give the command that boots the VM in ``folder``; it ends once the VM runs by itself.

    ``cpu`` is a model as QEMU names it; by default one that suits the accelerator.
    """
    user_network = f"user,id={NETDEV},net={network},ipv6=off"
    for forward in sorted(forwards, key=rule):
        user_network += f",hostfwd={rule(forward)}"
    return [
        program,
        *("-name", folder.name, "-uuid", mark(folder)),
        *("-accel", accel, "-cpu", cpu or _cpu(accel), "-smp", "2", "-m", str(memory)),
        *("-nodefaults", "-display", "none", "-daemonize", "-pidfile", PID),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img")),
        *("-append", BOOT),
        # The disk dies with the VM: nothing is gained by flushing it to the host's platters.
        *("-drive", f"file={DISK},format=qcow2,if=virtio,cache=unsafe,discard=unmap"),
        *("-drive", f"file={SEED},format=raw,if=virtio,readonly=on"),
        *("-netdev", user_network, "-device", f"virtio-net-pci,netdev={NETDEV}"),
        *("-chardev", f"file,id=console,path={CONSOLE},append=on", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,path={MONITOR},server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"socket,id=agent,path={AGENT},server=on,wait=off"),
        *("-device", "virtio-serial-pci"),
        *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
    ]


def _cpu(accel: str) -> str:
    # Without rdrand an emulated machine waits many seconds for its first random number.
    return "host" if accel == "kvm" else "qemu64,+rdrand"
