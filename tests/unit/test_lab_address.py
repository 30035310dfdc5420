"""Addresses and ports of the lab's VMs on this machine."""

import contextlib
import ipaddress
import socket
from pathlib import Path

import pytest

from lab import address, forwards, ports
from lab.address import Forward, Reservation
from lab.errors import LabError
from lab.ports import Ports


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("CGNAT_RELAY_LAB", str(tmp_path / "lab"))


def test_a_reservation_is_what_a_machine_shows_to_the_world():
    kept = address.reserve("relay")
    assert kept.public() == {
        "publicIp": "198.51.100.15",
        "reach": kept.reach,
        "endpointHost": "192.168.1.2",
        "endpointPort": kept.endpoint_port,
        "sshHost": kept.reach,
        "sshPort": kept.ssh_port,
    }
    assert kept.endpoint_port in address.ENDPOINT_PORTS


def test_a_reservation_keeps_its_addresses_when_asked_again():
    first = address.reserve("relay")
    assert address.reserve("relay") == first
    moved = address.reserve("relay", udp=4000, ssh=2222)
    assert (moved.udp, moved.ssh) == (4000, 2222)
    assert moved.public() == first.public()


def test_other_networks_give_other_addresses():
    kept = address.reserve("relay", network="10.9.0.0/16", home_network="10.8.0.0/24")
    assert kept.public()["publicIp"] == "10.9.0.15"
    assert kept.public()["endpointHost"] == "10.8.0.2"


@pytest.mark.parametrize("network", ["198.51.100.15/24", "198.51.100.0/28", "fd00::/64", "home"])
def test_a_bad_network_is_refused(network):
    with pytest.raises(LabError, match="network"):
        address.reserve("relay", network=network)
    assert address.load("relay") is None


@pytest.mark.parametrize("name", ["", "Relay", "-a", "a-", "../x", "a" * 64, ".addresses"])
def test_a_bad_name_is_refused(name):
    with pytest.raises(LabError, match="no name for a machine"):
        address.reserve(name)


def test_derived_addresses_stay_in_their_block_and_differ_between_labs():
    block = [ipaddress.IPv4Address(text) for text in ("127.64.0.1", "127.126.255.254")]
    derived = [address.derive(Path(f"/lab{n % 20}"), f"vm{n}") for n in range(200)]
    assert all(block[0] <= ipaddress.IPv4Address(reach) <= block[1] for reach, _ in derived)
    assert all(port in address.ENDPOINT_PORTS for _, port in derived)
    assert address.derive(Path("/one"), "relay") != address.derive(Path("/two"), "relay")
    assert address.derive(Path("/one"), "relay") == address.derive(Path("/one"), "relay")


def test_a_taken_derived_address_is_passed_over():
    first, _ = address.derive(Path("/lab"), "relay")
    assert address.derive(Path("/lab"), "relay", {first})[0] != first


def test_an_endpoint_port_in_use_is_passed_over(tmp_path):
    _, first = address.derive(tmp_path / "lab", "relay")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with contextlib.suppress(OSError):  # another lab's machine has it
            other.bind(("127.0.0.1", first))
        taken = address.reserve("relay").endpoint_port
    assert taken != first


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("tcp/80", 80, 80), ("udp/27015-27020", 27015, 27020), ("tcp/65535", 65535, 65535)],
)
def test_ports_are_read_as_they_are_written(text, first, last):
    assert Ports.parse(text) == Ports(text[:3], first, last)
    assert str(Ports.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["80", "tcp/0", "tcp/65536", "tcp/20-10", "icmp/1", "tcp/ 80", "tcp/80-", "tcp/80,81"]
)
def test_bad_ports_are_refused(text):
    with pytest.raises(LabError, match="is no port"):
        Ports.parse(text)


def test_ports_that_overlap_are_refused_and_other_protocols_do_not_overlap():
    with pytest.raises(LabError, match="tcp/80-90 and tcp/85 share ports"):
        ports.parse_all(["tcp/85", "tcp/80-90"])
    assert len(ports.parse_all(["tcp/80", "udp/80", "tcp/80"])) == 2


@pytest.mark.parametrize(
    ("text", "taken", "offset"),
    [
        ("tcp/80", set(), 0),
        ("tcp/80", {80}, 10_000),
        ("tcp/80", {80, 10_080}, 20_000),
        ("udp/27015-27020", {27018}, 10_000),  # a range moves as a whole
    ],
)
def test_ports_keep_their_number_or_move_up_together(text, taken, offset):
    assert ports.place(Ports.parse(text), lambda _kind, port: port not in taken) == offset


def test_a_user_who_may_not_bind_low_ports_gets_high_ones():
    chosen = {
        text: ports.place(Ports.parse(text), lambda _kind, port: port >= 1024)
        for text in ("tcp/22", "tcp/80", "udp/1020-1030", "tcp/8080")
    }
    assert chosen == {"tcp/22": 10_000, "tcp/80": 10_000, "udp/1020-1030": 10_000, "tcp/8080": 0}


def test_no_port_left_is_told():
    with pytest.raises(LabError, match="no port on this machine is left for tcp/80"):
        ports.place(Ports.parse("tcp/80"), lambda _kind, _port: False)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_in_use_is_not_bindable(protocol):
    with socket.socket(socket.AF_INET, ports.KINDS[protocol]) as other:
        other.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            other.listen()
        port = other.getsockname()[1]
        assert not ports.bindable("127.0.0.1", protocol, port)
    assert ports.bindable("127.0.0.1", protocol, port)


def kept(**opened: int) -> Reservation:
    return Reservation(
        reach="127.64.3.7",
        endpoint_port=20_001,
        ssh_port=10_022,
        opened={text.replace("_", "/", 1).replace("_", "-"): n for text, n in opened.items()},
    )


def nothing(_protocol: str, _port: int) -> bool:
    return False


def test_opened_ports_keep_their_place_and_make_room_for_new_ones():
    before = kept(tcp_80=10_000)
    wanted = ports.parse_all(["tcp/80", "tcp/10080", "udp/53"])
    assert forwards.choose(before, wanted, nothing) == {
        "tcp/80": 10_000,
        "tcp/10080": 10_000,  # its own number leads to the VM's port 80
        "udp/53": 0,
    }


def test_a_port_gives_way_to_the_vms_own_ssh():
    assert forwards.choose(kept(), ports.parse_all(["tcp/10022"]), nothing) == {"tcp/10022": 10_000}


def test_a_range_that_grows_keeps_its_numbers_though_the_vm_itself_holds_them():
    before = kept(udp_27015_27020=0)
    in_use = forwards.InUse(before.reach, before.forwards())
    assert not any(in_use("udp", port) for port in range(27015, 27021))


def test_a_reservation_names_every_forward_that_qemu_holds():
    opened = kept(tcp_80=10_000, udp_27015_27016=0)
    assert opened.forwards() == {
        Forward("tcp", "127.64.3.7", 10_022, 22),
        Forward("udp", "127.0.0.1", 20_001, 51820),
        Forward("tcp", "127.64.3.7", 10_080, 80),
        Forward("udp", "127.64.3.7", 27015, 27015),
        Forward("udp", "127.64.3.7", 27016, 27016),
    }
    assert opened.mapping() == {
        "tcp/80": "127.64.3.7:10080",
        "udp/27015-27016": "127.64.3.7:27015-27016",
    }


def test_ports_of_a_vm_that_does_not_run_are_kept_for_its_start():
    address.reserve("relay")
    mapping = forwards.open_ports("relay", ["tcp/18080"])
    reach = address.require("relay").reach
    assert mapping == {"tcp/18080": f"{reach}:18080"}
    assert address.require("relay").mapping() == mapping
    forwards.close_ports("relay")
    assert address.require("relay").mapping() == {}


def test_qemus_list_of_forwards_is_read():
    listing = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   24      127.64.3.7    22   198.51.100.15    22     0     0
  TCP[HOST_FORWARD]  13      127.64.3.7 10080   198.51.100.15    80     0     0
  UDP[HOST_FORWARD]  12       127.0.0.1 20001   198.51.100.15 51820     0     0
"""
    assert forwards.parse(listing) == {
        Forward("tcp", "127.64.3.7", 10_080, 80),
        Forward("udp", "127.0.0.1", 20_001, 51820),
    }
