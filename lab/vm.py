"""The life of a VM: start, stop, reset, and what is known of it.

A VM is its folder in the lab: the disk over an image, the seed, a reservation, and the pid of a
QEMU that lives on after the command that started it.
"""

import contextlib
import enum
import os
import re
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lab import accel, address, agent, command, folders, image, programs, qmp, seed
from lab.address import Forward, Reservation
from lab.errors import LabError

FILE = "machine.json"
MEMORY = 768  # MiB
DEATH = 10.0  # seconds a QEMU gets to end before it is killed
SNAPSHOT, COPYING = "kept", 300.0  # its name in the disk; seconds to write or read all memory
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG")  # QEMU lives long: no secrets in its environment
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Machine:
    """What a VM's disk was made from, and how it is run."""

    variant: str
    image: str  # folder of the image below the disk
    user_data: str  # digest; the text itself is in the seed alone
    network: str
    memory: int
    cpu: str = ""  # as QEMU names it; empty where the accelerator decides


class Step(enum.Enum):
    """What starting a VM comes to."""

    KEEP = "it runs already"
    BOOT = "its disk is there"
    CREATE = "it is new"


def decide(name: str, known: Machine | None, wanted: Machine, running: bool) -> Step:
    """Decide what to do for a wanted machine, given what is known of the present one.

    User-data is read at the first boot only, so a changed text needs a new disk, and losing the
    old one is the user's decision. The image may be a newer one: the disk keeps its own.
    """
    if known is None:
        return Step.CREATE
    again = f"run `python3 -m lab stop {name}` first, which deletes its disk, then start it anew"
    if known.user_data != wanted.user_data:
        raise LabError(
            f"{name} was started with other user-data, which cloud-init reads only once: {again}"
        )
    if known.variant != wanted.variant:
        raise LabError(
            f"{name} was started with image {known.variant}, not {wanted.variant}: {again}"
        )
    if not running:
        return Step.BOOT
    if known.cpu != wanted.cpu:
        raise LabError(
            f"{name} runs with CPU {known.cpu or 'as the accelerator has it'}, "
            f"not {wanted.cpu or 'as the accelerator has it'}: {again}"
        )
    if (known.network, known.memory) != (wanted.network, wanted.memory):
        raise LabError(
            f"{name} runs on {known.network} with {known.memory} MiB, "
            f"not on {wanted.network} with {wanted.memory} MiB: {again}"
        )
    return Step.KEEP


def start(
    name: str,
    user_data: bytes,
    variant: str = "vps",
    network: str | None = None,
    memory: int = MEMORY,
    cpu: str = "",
) -> dict[str, Any]:
    """Start a VM at its reserved addresses; one that runs with the same user-data is left alone.

    ``network`` is the VM's own, by default the reserved one. Gives the pid and the network.
    """
    with folders.locked_vm(name):
        reserved = address.require(name)
        if network is not None and network != reserved.network:
            address.guest(network)  # refuses what is no network
            reserved = replace(reserved, network=network)
            reserved.save(name)
        wanted = Machine(variant, "", seed.digest(user_data), reserved.network, memory, cpu)
        return _start(name, user_data, wanted, reserved)


def start_unreachable(
    name: str, user_data: bytes, variant: str, network: str, memory: int = MEMORY
) -> dict[str, Any]:
    """Start a VM behind a NAT with no way in: it has no addresses here, and no forwards."""
    address.guest(network)
    with folders.locked_vm(name):
        if address.load(name) is not None:
            raise LabError(
                f"{name} has reserved addresses, so it can be reached and is no home: choose "
                f"another name, or run `python3 -m lab release {name}`"
            )
        wanted = Machine(variant, "", seed.digest(user_data), network, memory)
        return _start(name, user_data, wanted, None)


def stop(name: str) -> None:
    """End a VM and delete its disk; its reservation stays. One that is absent is no fault."""
    with folders.locked_vm(name) as folder:
        _end(folder)
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            if path.name != address.FILE:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def release(name: str) -> None:
    """Forget a VM's reservation; one that is absent is no fault."""
    with folders.locked_vm(name) as folder:
        if (folder / FILE).exists() or running(folder) is not None:
            raise LabError(f"{name} uses its addresses: run `python3 -m lab stop {name}` first")
        (folder / address.FILE).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def resume() -> list[str]:
    """Boot every VM that has a disk and does not run, as after a reboot of this machine."""
    booted = []
    for name in folders.names():
        with folders.locked_vm(name) as folder:
            machine = _machine(folder)
            if machine is not None and running(folder) is None:
                reserved = address.load(name)
                _launch(folder, machine, reserved.forwards() if reserved else set())
                booted.append(name)
    return booted


def down() -> None:
    """Stop every VM of this lab and release every reservation."""
    for name in folders.names():
        stop(name)
        release(name)


def reset(name: str) -> None:
    """Switch a running VM off and on, without a shutdown, as a power cut does."""
    with folders.locked_vm(name) as folder:
        _require_running(name, folder)
        with qmp.session(folder / command.MONITOR) as monitor:
            monitor.execute("system_reset")


def snapshot(name: str) -> None:
    """Keep a running VM as it is now, memory and disk, for ``restore``; an older one goes.

    It lies in the VM's own disk, so it ends with it.
    """
    _copy(name, "savevm")


def restore(name: str) -> None:
    """Make a running VM what it was at its snapshot, with the present time on its clock.

    What it drew at random since then it will draw again: fit for a test, and for nothing else.
    """
    _copy(name, "loadvm")
    done = execute(name, ["date", "-u", "-s", f"@{time.time():.3f}"])
    if done.code:
        raise LabError(f"{name} has not the present time: {done.stderr.decode().strip()}")


def execute(
    name: str, words: list[str], stdin: bytes | None = None, timeout: float = 600.0
) -> agent.Done:
    """Run a command inside a running VM, as root, whatever its network does."""
    folder = folders.vm(name)
    _require_running(name, folder)
    return agent.execute(
        folder / command.AGENT, words, stdin, timeout, lambda: running(folder) is not None
    )


def status(name: str) -> dict[str, Any]:
    """Tell what is known of a VM; ``state`` is running, stopped, reserved or absent."""
    folder = folders.vm(name)
    pid, machine, reserved = running(folder), _machine(folder), address.load(name)
    if pid is not None:
        state = "running"
    elif machine is not None:
        state = "stopped"
    else:
        state = "reserved" if reserved else "absent"
    told: dict[str, Any] = {"name": name, "state": state, "pid": pid}
    if machine is not None:
        told |= {key: asdict(machine)[key] for key in ("variant", "image", "network", "memory")}
    if reserved is not None:
        told |= {"address": reserved.public(), "open": reserved.mapping()}
    return told


def console(name: str, lines: int) -> str:
    """Give the last lines of a VM's serial console, without what only a terminal understands."""
    folder = folders.vm(name)
    if not (folder / FILE).exists():
        raise LabError(f"there is no VM {name} in this lab; see `python3 -m lab status`")
    return ESCAPES.sub("", programs.tail(folder / command.CONSOLE, lines))


def running(folder: Path) -> int | None:
    """Give the pid of the VM's QEMU, or None.

    A pid may have gone to another process since, so its command line has to name this VM.
    """
    try:
        pid = int((folder / command.PID).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if command.mark(folder).encode() in words else None


def _start(
    name: str, user_data: bytes, wanted: Machine, reserved: Reservation | None
) -> dict[str, Any]:
    folder = folders.vm(name)
    pid, known = running(folder), _machine(folder)
    step = decide(name, known, wanted, pid is not None)
    if step is Step.CREATE:
        wanted = replace(wanted, image=str(image.build(wanted.variant)))
        _create(folder, wanted, user_data)
    elif known is not None:
        wanted = replace(wanted, image=known.image)
    if step is not Step.KEEP:
        folders.write_json(folder / FILE, asdict(wanted))
        try:
            pid = _launch(folder, wanted, reserved.forwards() if reserved else set())
        except LabError:
            if step is Step.CREATE:  # nothing ran: another try may have other user-data
                for path in (FILE, command.DISK, command.SEED):
                    (folder / path).unlink(missing_ok=True)
            raise
    return {"pid": pid, "network": wanted.network}


def _machine(folder: Path) -> Machine | None:
    value = folders.read_json(folder / FILE)
    return None if value is None else Machine(**value)


def _require_running(name: str, folder: Path) -> None:
    if running(folder) is None:
        raise LabError(f"{name} does not run; see `python3 -m lab status`")


def _copy(name: str, act: str) -> None:
    """Have QEMU write or read a snapshot; it says nothing where all went well."""
    with folders.locked_vm(name) as folder:
        _require_running(name, folder)
        with qmp.session(folder / command.MONITOR, COPYING) as monitor:
            # Asked first: a loadvm that finds none leaves the VM paused (QEMU 7.2).
            if act == "loadvm" and SNAPSHOT not in _snapshots(monitor):
                raise LabError(
                    f"{name} has no snapshot: run `python3 -m lab snapshot {name}` while it is "
                    "as you want it back"
                )
            told = monitor.human(f"{act} {SNAPSHOT}")
    if told:
        raise LabError(f"{act} of {name}: {told}")


def _snapshots(monitor: qmp.Monitor) -> set[str]:
    """The names of the snapshots that the VM's disks hold."""
    images = [d.get("inserted", {}).get("image", {}) for d in monitor.execute("query-block")]
    return {kept["name"] for image in images for kept in image.get("snapshots", [])}


def _create(folder: Path, machine: Machine, user_data: bytes) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    seed.write(folder / command.SEED, folder.name, user_data)
    disk = folder / command.DISK
    disk.unlink(missing_ok=True)
    (folder / command.CONSOLE).unlink(missing_ok=True)
    base = Path(machine.image) / "disk.raw"
    create = [programs.find("qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
    programs.run([*create, str(base), str(disk)])
    disk.chmod(0o600)


def _launch(folder: Path, machine: Machine, forwards: set[Forward]) -> int:
    """Run QEMU, which leaves this process as soon as the VM has all it needs."""
    if not (Path(machine.image) / "disk.raw").exists():
        raise LabError(
            f"the image below the disk of {folder.name} is gone from {machine.image}: "
            f"run `python3 -m lab stop {folder.name}`, then start it anew"
        )
    words = command.qemu(
        programs.find("qemu-system-x86_64"),
        folder=folder,
        image=Path(machine.image),
        accel=accel.choose(),
        memory=machine.memory,
        network=machine.network,
        forwards=forwards,
        cpu=machine.cpu,
    )
    environment = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    log = folder / command.LOG
    with log.open("wb") as file:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            check=False,
        )
    pid = running(folder)
    if done.returncode != 0 or pid is None:
        told = programs.tail(log, programs.TAIL)
        busy = re.search(r"host forwarding rule '(tcp|udp):([^:]+):(\d+)", told)
        if busy:
            raise LabError(
                f"{busy[1]} port {busy[3]} on {busy[2]} cannot be forwarded to {folder.name}: "
                "another program listens there; stop it and start again"
            )
        raise LabError(f"QEMU did not start {folder.name}:\n{told}")
    return pid


def _end(folder: Path) -> None:
    """End the VM's QEMU: asked, then told, then killed."""
    for act in (_quit, signal.SIGTERM, signal.SIGKILL):
        pid = running(folder)
        if pid is None:
            return
        if isinstance(act, signal.Signals):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, act)
        else:
            act(folder)
        deadline = time.monotonic() + DEATH
        while running(folder) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    if running(folder) is not None:
        raise LabError(f"process {pid}, the QEMU of {folder.name}, cannot be killed")


def _quit(folder: Path) -> None:
    with (
        contextlib.suppress(LabError),  # it dies while it answers, or it hangs: the next act tells
        qmp.session(folder / command.MONITOR, timeout=DEATH / 2) as monitor,
    ):
        monitor.execute("quit")
