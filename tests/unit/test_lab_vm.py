"""The life of the lab's VMs, as far as it needs no VM: decisions, commands, what is dead."""

import contextlib
import io
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lab import accel, command, folders, home, ready, seed, vm
from lab.__main__ import main
from lab.address import Forward
from lab.errors import LabError
from lab.vm import Machine, Step

MACHINE = Machine("vps", "/images/vps-1", "digest", "198.51.100.0/24", 768)


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    folder = tmp_path / "lab"
    monkeypatch.setenv("CGNAT_RELAY_LAB", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.mark.parametrize(
    ("known", "running", "step"),
    [
        (None, False, Step.CREATE),
        (MACHINE, False, Step.BOOT),
        (MACHINE, True, Step.KEEP),
        (replace(MACHINE, image="/images/vps-0"), False, Step.BOOT),  # it keeps its older image
        (replace(MACHINE, memory=512), False, Step.BOOT),
    ],
)
def test_a_start_does_what_is_left_to_do(known, running, step):
    assert vm.decide("relay", known, MACHINE, running) is step


@pytest.mark.parametrize(
    ("known", "running", "message"),
    [
        (replace(MACHINE, user_data="other"), True, "other user-data.*lab stop relay"),
        (replace(MACHINE, user_data="other"), False, "other user-data.*lab stop relay"),
        (replace(MACHINE, variant="home"), False, "image home, not vps.*lab stop relay"),
        (replace(MACHINE, cpu="max"), True, "CPU max, not as the acc.*lab stop relay"),
        (replace(MACHINE, memory=512), True, "512 MiB, not on .* 768 MiB.*lab stop relay"),
        (replace(MACHINE, network="10.0.0.0/24"), True, "10.0.0.0/24.*lab stop relay"),
    ],
)
def test_a_start_never_takes_a_disk_away(known, running, message):
    with pytest.raises(LabError, match=message):
        vm.decide("relay", known, MACHINE, running)


def dead(folder: Path) -> int:
    """Leave the folder of a VM whose QEMU is gone and whose pid went to another program."""
    folders.write_json(folder / vm.FILE, asdict(MACHINE))
    (folder / command.PID).write_text(f"{os.getpid()}\n")
    return os.getpid()


def test_a_pid_that_is_another_programs_now_is_a_dead_vm(lab):
    dead(lab / "relay")
    assert vm.running(lab / "relay") is None
    assert vm.status("relay")["state"] == "stopped"


@contextlib.contextmanager
def process(name: str) -> Iterator[int]:
    """Run a shell under another name until the block ends; give its pid."""
    words = [name, "-c", "echo ready; read _"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, executable="/bin/sh", stdin=pipe, stdout=pipe) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"ready\n"
        yield shell.pid


def test_a_pid_is_the_vms_if_its_command_line_carries_the_vms_mark(lab):
    folder = lab / "relay"
    folder.mkdir(parents=True)
    with process(command.mark(lab / "other")) as other, process(command.mark(folder)) as ours:
        (folder / command.PID).write_text(f"{other}\n")
        assert vm.running(folder) is None
        (folder / command.PID).write_text(f"{ours}\n")
        assert vm.running(folder) == ours


def test_an_unknown_vm_is_absent_and_a_reserved_one_reserved(lab, capsys):
    assert vm.status("relay") == {"name": "relay", "state": "absent", "pid": None}
    assert main(["reserve", "relay"]) == 0
    assert main(["status"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[1] == [
        {"name": "relay", "state": "reserved", "pid": None, "open": {}} | {"address": told[0]}
    ]


def test_stop_deletes_all_but_the_reservation(lab):
    main(["reserve", "relay"])
    dead(lab / "relay")
    (lab / "relay" / command.SEED).write_bytes(b"secret")
    vm.stop("relay")
    assert [path.name for path in (lab / "relay").iterdir()] == ["address.json"]
    vm.release("relay")
    assert not (lab / "relay").exists()


def test_a_disk_keeps_its_addresses_from_being_released(lab):
    main(["reserve", "relay"])
    dead(lab / "relay")
    with pytest.raises(LabError, match="lab stop relay"):
        vm.release("relay")


def test_what_is_absent_is_stopped_released_and_closed_without_complaint(lab):
    for word in ("stop", "release", "close"):
        assert main([word, "nothing"]) == 0
    assert main(["down"]) == 0
    assert folders.names() == []


def test_a_dead_vm_ends_the_wait_with_its_console(lab):
    main(["reserve", "relay"])
    dead(lab / "relay")
    (lab / "relay" / command.CONSOLE).write_bytes(b"early\r\n\x1b[0;32mlast words\x1b[0m\r\n")
    with pytest.raises(LabError, match=r"has died; .*\nearly\nlast words$"):
        ready.wait("relay", "ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["start", "relay"], "lab reserve relay"),
        (["open", "relay", "tcp/80"], "lab reserve relay"),
        (["wait", "relay", "--host-key", "AAAA"], "ssh-ed25519 AAAA"),
        (["exec", "relay", "--", "true"], "does not run"),
        (["reset", "relay"], "does not run"),
        (["console", "relay"], "no VM relay"),
        (["status", "Re lay"], "no name for a machine"),
        (["reserve", "relay", "--udp", "70000"], "is no port"),
        (["home", "h", "--config-file", "/nowhere/wg0.conf"], "cannot be read"),
    ],
)
def test_a_users_fault_is_one_message(words, message, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("lab: ") and message in told.err and "Traceback" not in told.err


def test_a_home_with_reserved_addresses_is_refused(capsys):
    main(["reserve", "home"])
    with pytest.raises(LabError, match="can be reached and is no home"):
        home.start("home", "[Interface]\n")


def test_a_home_is_given_its_configuration_and_nothing_else():
    data = home.user_data("[Interface]\nPrivateKey = secret\n")
    first, _, rest = data.partition(b"\n")
    config = json.loads(rest)
    assert first == b"#cloud-config"
    assert set(config) == {"write_files", "runcmd"}
    tunnel = config["write_files"][0]
    assert (tunnel["path"], tunnel["permissions"]) == ("/etc/wireguard/wg0.conf", "0600")
    assert tunnel["content"] == "[Interface]\nPrivateKey = secret\n"


def qemu(folder: Path, forwards: set[Forward], **more: str) -> list[str]:
    return command.qemu(
        "qemu",
        folder=folder,
        image=Path("/images/vps-1"),
        accel="tcg",
        memory=768,
        network="198.51.100.0/24",
        forwards=forwards,
        **more,
    )


@pytest.mark.parametrize(("asked", "cpu"), [({}, "qemu64,+rdrand"), ({"cpu": "max"}, "max")])
def test_a_vm_has_the_cpu_that_was_asked_for(lab, asked, cpu):
    words = qemu(lab / "vm", set(), **asked)
    assert words[words.index("-cpu") + 1] == cpu


def test_qemu_forwards_what_is_reserved_and_knows_no_long_path(lab):
    folder = lab / ("deep-" * 12 + "vm")
    words = qemu(folder, {Forward("tcp", "127.64.3.7", 10_022, 22)})
    network = words[words.index("-netdev") + 1]
    assert network.endswith(",hostfwd=tcp:127.64.3.7:10022-:22")
    assert not any(str(folder) in word for word in words)


def test_a_home_has_no_way_in(lab):
    assert "hostfwd" not in " ".join(qemu(lab / "home", set()))


def test_user_data_is_passed_on_byte_by_byte_in_a_file_of_the_owners(tmp_path, monkeypatch):
    def burn(words: list[str]) -> None:
        burned.extend(Path(word).read_bytes() for word in words[-2:])
        Path(words[words.index("-o") + 1]).write_bytes(b"iso")

    burned: list[bytes] = []
    monkeypatch.setattr(seed, "find", lambda program: program)
    monkeypatch.setattr(seed, "run", burn)
    seed.write(tmp_path / "seed.iso", "relay", b"\x1f\x8bsecret bytes")
    assert burned[0] == b"\x1f\x8bsecret bytes"
    assert b"local-hostname: relay\n" in burned[1]
    assert stat.S_IMODE((tmp_path / "seed.iso").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["seed.iso"]


def test_other_user_data_is_another_instance(tmp_path, monkeypatch):
    identities = set()

    def burn(words: list[str]) -> None:
        identities.add(Path(words[-1]).read_text())
        Path(words[words.index("-o") + 1]).write_bytes(b"")

    monkeypatch.setattr(seed, "find", lambda program: program)
    monkeypatch.setattr(seed, "run", burn)
    for text in (b"one", b"two", b"one"):
        seed.write(tmp_path / "seed.iso", "relay", text)
    assert len(identities) == 2


def test_kvm_is_asked_once_per_boot_of_this_machine(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(accel, "_runs", lambda kind: asked.append(kind) or False)
    assert accel.choose() == accel.TCG
    monkeypatch.setenv("CGNAT_RELAY_LAB", str(tmp_path / "another lab"))
    assert accel.choose() == accel.TCG
    assert asked == ["kvm"], "another lab on this machine asks no more"


def test_the_boot_sector_is_one():
    assert len(accel.BOOT_SECTOR) == 512
    assert accel.BOOT_SECTOR[-2:] == b"\x55\xaa"
