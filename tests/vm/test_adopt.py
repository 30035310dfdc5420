"""A machine of somebody's is adopted over SSH, changed while it runs, and left as it was found."""

from __future__ import annotations

import os
import threading

import pytest

from ..relay_stack import ProcessWatch
from ..waiting import BOOT, eventually
from .adopted import (
    FORWARDS,
    MATRIX,
    NAME,
    PASSWORD,
    UNFINISHED,
    Adopted,
    as_at_first,
    compared,
)
from .callers import speaks
from .test_faults import FAULTS, MEND

MORE = [*FORWARDS, "8443:8080"]
WAIT_FOR_TOKEN = f"until [ -e {UNFINISHED}/token ]; do sleep 0.1; done"
SSH_SHUT = "INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP"


@pytest.fixture(scope="module")
def bare(booted: Adopted, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    return as_at_first(booted, tmp_path_factory.mktemp("adopt"))


@pytest.fixture(scope="module")
def before(bare: Adopted) -> list[str]:
    return bare.trace()


@pytest.fixture(scope="module")
def watch() -> ProcessWatch:
    return ProcessWatch()


@pytest.fixture(scope="module")
def ours(bare: Adopted, before: list[str], watch: ProcessWatch) -> Adopted:
    """Adopted, with a home."""
    assert before
    bare.configure()
    with watch, bare.watched() as there:
        said = bare.up()
    bare.seen = "".join(there)
    assert "confirmed over a new connection" in said
    bare.house()
    return bare


def cut_by_power(machine: Adopted) -> None:
    """An update whose machine is reset once its change waits to be confirmed."""
    cut = threading.Thread(
        target=lambda: (
            machine.run(f"timeout 500 sh -c '{WAIT_FOR_TOKEN}'"),
            machine.stack.lab("reset", NAME),
        )
    )
    cut.start()
    said = machine.up(check=False)
    cut.join()
    assert "exit status 0" not in said
    assert "Traceback" not in said


@MATRIX
def test_a_first_change_that_is_cut_by_power_leaves_nothing(
    bare: Adopted, before: list[str]
) -> None:
    bare.configure()
    cut_by_power(bare)
    state = UNFINISHED.rpartition("/")[0]
    eventually(lambda: bare.well(f"[ ! -e {state} ]"), "all is undone", within=BOOT)
    said = bare.run("journalctl -b -q --no-pager -o cat -u cgnat-relay-recover")
    assert "Finished " in said, f"the boot was held up: {said}"
    failed = "systemctl list-units --failed --plain --no-legend 'cgnat-relay-*'"
    assert bare.run(failed) == ""
    bare.same(before)


@MATRIX
@pytest.mark.parametrize(
    "fault",
    [
        "the run is killed",
        "the connection is cut",
        "the network is gone for 80 s",
        "the disk is full",
    ],
)
def test_a_first_change_that_fails_while_packages_come_leaves_nothing(
    bare: Adopted, before: list[str], fault: str
) -> None:
    bare.configure()
    state = UNFINISHED.rpartition("/")[0]
    comes = f"timeout 500 sh -c 'until [ -s {state}/coming ]; do sleep 0.1; done'"
    failing = threading.Thread(target=bare.run, args=(f"{comes}; {FAULTS[fault]}",))
    failing.start()
    said = bare.up(check=False)
    failing.join()
    bare.run(MEND)
    assert "exit status 0" not in said
    assert "Traceback" not in said
    runs = "ps -eo etime,args | grep -E '[a]pply|[u]ndo|[a]pt|[d]pkg'"
    there = f"ls -l {state} {state}/* 2>&1; {runs}"
    try:
        eventually(lambda: bare.well(f"[ ! -e {state} ]"), "all is undone", within=2 * BOOT)
    except AssertionError as error:
        log = "journalctl -q --no-pager -n 40 -u 'cgnat-relay-*'; systemctl list-timers --no-pager"
        raise AssertionError(f"{error}\n{bare.run(f'{there}; {log}')}\n{said}") from error
    bare.same(before)


def test_without_a_host_key_it_is_shown_and_nothing_is_done(
    bare: Adopted, before: list[str]
) -> None:
    assert before
    bare.configure(hostKey=None)
    said = bare.stack.pulumi("preview", check=False)
    assert "exit status 0" not in said
    assert f"'cgnat-relay:vps.hostKey' '{bare.host_key}'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"hostKey": f"ssh-ed25519 {'AAAAC3NzaC1lZDI1NTE5AAAAI' + 'A' * 43}"}, "another host key"),
        ({"password": "wrong"}, "sudo on op@"),
        ({"user": "nobody-here"}, "refuses the key"),
    ],
    ids=["host key", "password", "user"],
)
def test_who_is_not_let_in_is_told_before_anything_is_created(
    bare: Adopted, wrong: dict[str, object], told: str
) -> None:
    bare.configure(**wrong)
    said = bare.stack.pulumi("preview", check=False)
    assert told in said
    assert "nothing was created" in said
    assert "Traceback" not in said


def test_who_does_not_answer_is_a_warning_and_stops_the_update(bare: Adopted) -> None:
    bare.configure(port=2222)
    assert "refuses the connection" in bare.stack.pulumi("preview")
    said = bare.up(check=False)
    assert "vps: " in said
    assert "refuses the connection" in said
    assert "nothing was created" in said
    assert "Traceback" not in said


def test_preflight_tells_all_at_once(bare: Adopted) -> None:
    taken = "systemd-run -q --unit=taken python3 -m http.server 80"
    bare.run(f"{taken}; ip link add wg0 type dummy; ip addr add 172.16.0.9/24 dev wg0")
    bare.configure()
    try:
        said = bare.stack.pulumi("preview", check=False)
    finally:
        bare.run("systemctl stop taken; ip link delete wg0")
    assert "3 faults" in said
    assert "wg0" in said
    assert "172.16.0" in said
    assert "python3" in said


def test_a_home_answers_through_it(ours: Adopted) -> None:
    assert "hello" in ours.page()


def test_its_own_ssh_and_firewall_stay(ours: Adopted, before: list[str]) -> None:
    input_rules = ours.run("iptables -S INPUT; iptables -S RELAY-INPUT")
    assert "DROP" not in input_rules
    assert "-p udp -m udp --dport 51820 -j ACCEPT" in input_rules
    assert [x for x in ours.trace() if " /etc/ssh/" in x] == [
        x for x in before if " /etc/ssh/" in x
    ]


def test_no_secret_was_in_a_command_line_or_an_environment(
    ours: Adopted, watch: ProcessWatch
) -> None:
    # The engine itself hands a program its config by this variable.
    seen = "\n".join(
        text for raw in watch.seen if "PULUMI_CONFIG=" not in (text := raw.decode(errors="replace"))
    )
    assert "sh $new/apply bring" in seen, "the off-case: the update was watched"
    for secret in {PASSWORD, *ours.stack.keys()}:
        assert secret not in seen
    assert "apply bring" in ours.seen, "the off-case: the machine was watched"
    for secret in {PASSWORD, *ours.stack.keys()}:
        assert secret not in ours.seen
    # cloud-init tells what this test itself gave it.
    kept = "-name journal -prune -o -name 'cloud-init*' -prune -o -type f -exec cat {} +"
    printable = "tr -cd '\\11\\12\\40-\\176'"
    folders = "/var/log /root /home /tmp /var/tmp"
    there = ours.run(f"{{ find {folders} {kept}; journalctl -q -o cat; }} | {printable}")
    assert "COMMAND=/usr/bin/sh -c" in there, "the off-case: sudo's own log"
    for secret in {PASSWORD, *ours.stack.keys()}:
        assert secret not in there
    assert PASSWORD not in ours.stack.state


def test_an_unchanged_program_changes_nothing(ours: Adopted) -> None:
    said = ours.up()
    assert all(word not in said for word in ("created", "updated", "replaced", "deleted"))


def test_what_was_changed_by_hand_is_named_and_mended(ours: Adopted) -> None:
    ours.run("nft flush map ip cgnat-relay ports; systemctl -q disable wg-quick@wg0")
    ours.run("sed -i '$d' /etc/wireguard/cgnat-relay/summary")  # as of an older plan
    assert not ours.answers(80)
    said = ours.stack.pulumi("preview", "--diff")
    assert "another plan, rules ip-table-cgnat-relay, tunnel wg-quick@wg0.service" in said
    ours.up()
    eventually(lambda: ours.answers(80), "the house's page", within=BOOT)
    assert "unchanged" in ours.stack.pulumi("preview")


@MATRIX
def test_a_managed_firewall_shuts_what_is_not_declared(ours: Adopted) -> None:
    """And lets it in again once the firewall is the machine's own."""
    host, _, port = ours.opened["tcp/81"].rpartition(":")
    ours.run("systemd-run -q --unit=stray python3 -m http.server 81")
    try:
        eventually(lambda: speaks(host, int(port)), "the stray service", within=BOOT)
        ours.configure(firewall="managed")
        said = ours.stack.pulumi("preview")
        assert "adds firewall managed: what is not declared is dropped" in said
        assert "confirmed" in ours.up()
        assert not speaks(host, int(port))
        assert ours.answers(80)
        ours.configure()
        ours.up()
        eventually(lambda: speaks(host, int(port)), "the stray service", within=BOOT)
    finally:
        ours.run("systemctl stop stray")


def test_a_change_that_locks_ssh_out_takes_itself_back(ours: Adopted) -> None:
    """Also where that fails at first: half of a change must not stay."""
    ours.configure(MORE)
    broken = f"iptables -I {SSH_SHUT}; mount --bind /bin/false /usr/sbin/nft"
    shutter = threading.Thread(
        target=ours.run, args=(f"timeout 300 sh -c '{WAIT_FOR_TOKEN}'; {broken}",)
    )
    shutter.start()
    failures = "journalctl -q -o cat -u 'cgnat-relay-revert-*' | grep -c 'Failed with result' || :"
    try:
        said = ours.up(check=False)
        shutter.join()
        assert "no new connection could be made" in said
        eventually(lambda: int(ours.run(failures)), "a going-back that fails", within=BOOT)
        assert ours.under_way()
        ours.run("umount /usr/sbin/nft")
        eventually(lambda: not ours.under_way(), "another that does not", within=BOOT)
        assert not ours.answers(8443)
        assert ours.answers(80)
    finally:
        ours.run(f"iptables -D {SSH_SHUT}")
    assert "confirmed" in ours.up()
    assert ours.answers(8443)


def test_a_reboot_in_the_middle_is_the_old_plan(ours: Adopted) -> None:
    ours.configure(FORWARDS)
    ours.up()
    ours.configure(MORE)
    cut_by_power(ours)
    why = "systemctl list-jobs; journalctl -b -n 60 -o cat --no-pager -u wg-quick@wg0 -u 'cgnat*'"

    def active() -> bool:
        said = ours.run(f"systemctl is-active wg-quick@wg0 || {{ {why}; }}")
        assert said == "active\n", said
        return True

    eventually(active, "the tunnel", within=BOOT)
    assert not ours.under_way()
    assert "tcp . 8443" not in ours.run("nft list map ip cgnat-relay ports")
    assert "tcp . 80 " in ours.run("nft list map ip cgnat-relay ports")
    assert "confirmed" in ours.up()
    ours.house()
    assert ours.answers(8443)


@MATRIX
def test_the_relays_key_changes_in_two_phases(ours: Adopted) -> None:
    """Under systemd; the last change is left between its phases, for the machine to be left in."""
    first = {"next": {"key": 2, "port": 51822}}
    units = "systemctl is-active wg-quick@wg0-2 cgnat-relay-rotate || :"
    number = ours.run("cat /sys/class/net/wg0/ifindex")
    ours.configure(tunnel=first)
    assert "with the present key: home" in ours.up()
    assert ours.run(units).split() == ["active", "active"]
    assert "unchanged" in ours.stack.pulumi("preview")
    assert ours.answers(80)

    ours.configure(tunnel={"key": 2, "port": 51822})
    assert "home comes with its present key, which this plan leaves out" in ours.up(check=False)
    assert ours.answers(80)

    ours.configure(tunnel=first)
    ours.up()
    ours.script("house.sh", "gone")
    ours.house()
    comes = "home comes by the relay's next key"
    eventually(lambda: comes in ours.stack.pulumi("preview"), comes, within=BOOT)
    ours.configure(tunnel={"key": 2, "port": 51822})
    assert "confirmed" in ours.up()
    eventually(lambda: ours.answers(80), "the house's page")
    assert ours.run(units).split() == ["inactive", "inactive"]
    assert ours.run("cat /sys/class/net/wg0/ifindex") == number

    ours.configure(tunnel={"key": 2, "port": 51822, "next": {"key": 3, "port": 51823}})
    ours.up()
    assert ours.run(units).split() == ["active", "active"]
    assert ours.answers(80)


def test_destroy_leaves_it_as_it_was_found(ours: Adopted, before: list[str]) -> None:
    ours.script("house.sh", "gone")
    assert len(compared(before, ours.trace())) > 20, "the off-case: the relay is in the trace"
    ours.destroy()
    assert compared(before, ours.trace()) == []


@MATRIX
def test_what_somebody_else_has_come_to_need_stays(ours: Adopted) -> None:
    ours.configure()
    ours.up()
    ours.install("ufw")
    ours.run("echo net.ipv4.ip_forward=1 >/etc/sysctl.d/99-mine.conf")
    said = ours.destroy()
    assert "package iptables stays" in said
    assert "forwarding stays on, for /etc/sysctl.d/99-mine.conf" in said
    there = "dpkg-query -W -f '${Package} ' iptables ufw; cat /proc/sys/net/ipv4/ip_forward"
    assert ours.run(there).split() == ["iptables", "ufw", "1"]
    assert not ours.well("command -v wg"), "the off-case: what nobody needs has gone"
    apt = "apt-get -q -y purge --autoremove ufw >/dev/null 2>&1"
    ours.run(f"rm /etc/sysctl.d/99-mine.conf; {apt}; echo 0 >/proc/sys/net/ipv4/ip_forward")


@pytest.fixture(scope="module")
def shared(ours: Adopted) -> tuple[Adopted, list[str]]:
    """The same machine, with a tunnel and rules of its owner's, who has the packages already."""
    ours.run("apt-get -q update >/dev/null 2>&1")
    ours.install("wireguard-tools nftables iptables iputils-ping")
    ours.script("other.sh")
    chain = "chain here { type filter hook input priority 0; tcp dport 9 drop; }"
    rules = f"table inet mine {{\n{chain}\n}}\n"
    ours.run("cat >/etc/nftables.conf; systemctl -q enable --now nftables", stdin=rules)
    ours.run("iptables -A FORWARD -d 192.0.2.77 -j DROP; sysctl -qw net.ipv4.ip_forward=1")
    return ours, ours.trace()


@MATRIX
def test_what_others_have_stays_and_runs_on(shared: tuple[Adopted, list[str]]) -> None:
    machine, before = shared
    since = machine.run("systemctl show -P ActiveEnterTimestamp wg-quick@wg1")
    machine.script("other.sh", "pings")
    machine.configure()
    machine.up()
    machine.house()
    assert machine.answers(80)
    machine.script("house.sh", "gone")
    machine.destroy()
    assert compared(before, machine.trace()) == []
    assert machine.run("systemctl show -P ActiveEnterTimestamp wg-quick@wg1") == since
    asked, heard = machine.script("other.sh", "lost").split()
    assert asked == heard
    assert int(asked) > 60, "it asked twice a second"


@MATRIX
def test_a_machine_that_is_gone_can_be_forgotten(shared: tuple[Adopted, list[str]]) -> None:
    machine = shared[0]
    machine.configure()
    machine.up()
    machine.run("setsid sh -c 'sleep 1; poweroff -ff' >/dev/null 2>&1 &")
    off = lambda: '"stopped"' in machine.stack.lab("status", NAME)  # noqa: E731
    eventually(off, "the machine is off", within=BOOT)
    said = machine.destroy(check=False)
    assert "exit status 0" not in said
    assert f"CGNAT_RELAY_FORGET={machine.reach}" in said
    machine.stack.env["CGNAT_RELAY_FORGET"] = machine.reach
    said = machine.destroy()
    assert "nothing was undone there" in said
    for named in (
        "wireguard-tools",
        "cgnat-relay-firewall.service",
        "/etc/sysctl.d: 60-cgnat-relay",
    ):
        assert named in said
    assert os.environ.get("CGNAT_RELAY_FORGET") is None
