"""A living relay in a namespace, brought from plan to plan by the carrier's own bundle."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from components.carrier import bundle
from components.model import Site
from components.plan import HostPlan, relay_plan
from operate import remote

from ..unit import samples
from .conftest import RELAY, TALK, Lab

# A stand-in for the check, which asks systemd as well.
FINE, BROKEN = "wg show $1 >/dev/null", "echo not so >&2; exit 1"
UNPACK = "rm -rf /run/new; mkdir /run/new && base64 -d | tar -xzf - -C /run/new"
APPLY = "sh /run/new/apply bring /run/new wg0"
STATE = "/etc/wireguard/cgnat-relay"
# What its unit does at boot.
RECOVER = f"[ ! -e {STATE}/unfinished ] || sh {STATE}/unfinished/tools/apply recover wg0"
BIN = "/etc/wireguard/bin"
# Its own files, under an overlay; what is mounted in /etc already stays in sight.
OWN = """set -eu
mount -t tmpfs none /mnt
mkdir /mnt/kept
mount --bind /etc/wireguard /mnt/kept
for folder in etc usr; do
	mkdir /mnt/$folder /mnt/work-$folder
	layers=lowerdir=/$folder,upperdir=/mnt/$folder,workdir=/mnt/work-$folder
	mount -t overlay none -o $layers /$folder
done
mount --bind /mnt/kept /etc/wireguard
mkdir -p /etc/cgnat-relay /usr/local/lib/cgnat-relay
"""
# What starts a unit of this boot alone: a timer that is due.
AT_BOOT = rf"""at_boot() {{
	sed -n 's/^ExecStart=/0 /p' "/run/systemd/system/$1" | sed 's/[$][$]/$/g' >>{BIN}/timers
}}"""
# What apply asks of systemd about the tunnel, and nothing of the machine that the tests run on.
# What it starts has a group of processes of its own, and not the lock.
SYSTEMCTL = (
    f"""#!/bin/sh
{AT_BOOT}"""
    + """
up() {
	ip link show "$1" >/dev/null 2>&1 || setsid -w wg-quick up "$1" 9>&-
}
ended() {
	if [ -e /run/rotate.pid ]; then kill "$(cat /run/rotate.pid)"; fi
	rm -f /run/rotate.pid
}
case "$*" in
"stop wg-quick@wg0.service")
	# Of what was started by hand it knows nothing.
	[ -e /run/by-hand ] || ! ip link show wg0 >/dev/null 2>&1 || wg-quick down wg0
	;;
"start wg-quick@wg0.service") up wg0 ;;
"-q is-active wg-quick@wg0.service")
	[ ! -e /run/by-hand ] && ip link show wg0 >/dev/null 2>&1
	;;
"-q disable --now wg-quick@wg0-2.service") wg-quick down wg0-2 || : ;;
"start wg-quick@wg0-2.service") up wg0-2 ;;
"-q enable wg-quick@wg0-2.service") ;;
"stop cgnat-relay-revert-*.timer") : >/etc/wireguard/bin/timers ;;
"-q disable --now cgnat-relay-rotate.service") ended ;;
"-q enable cgnat-relay-rotate.service") ;;
"restart cgnat-relay-rotate.service")
	ended
	setsid /bin/sh /usr/local/lib/cgnat-relay/rotate wg0 </dev/null >>/run/rotate.log 2>&1 9>&- &
	echo $! >/run/rotate.pid
	;;
is-system-running) cat /etc/wireguard/bin/running ;;
"start --no-block cgnat-relay-revert-boot.service") at_boot "$3" ;;
*cgnat-relay-tls.service | daemon-reload) echo "$*" >>/run/asked ;;
*) exit 1 ;;
esac
"""
)
# The machine's clock, which goes on only when somebody says so.
CLOCK = f"{BIN}/uptime"
STOPPED = f"""
[ -e {CLOCK} ] || cp /proc/uptime {CLOCK}
grep -q ' /proc/uptime ' /proc/self/mountinfo || mount --bind {CLOCK} /proc/uptime
"""
# What apply asks of it: a timer, by when it is due, which a test lets run out when it likes. It
# takes a slow machine seconds to set one.
SYSTEMD_RUN = f"""#!/bin/sh
for word; do case $word in --on-active=*) after=${{word#*=}} ;; esac; done
while [ "$1" != -c ]; do shift; done
now=$(cut -d . -f 1 /proc/uptime)
echo "$((now + after)) $2" >>{BIN}/timers
echo "$((now + 7)).00" >{CLOCK}
"""


def plan(lab: Lab, homes: list[Any], *parts: str, **whole: Any) -> HostPlan:
    """Those parts of a relay's plan whose files lie in its namespace."""
    settings = samples.settings(**{"homes": homes, **whole})
    peers = samples.keys(settings).peers | lab.keys.peers
    found = relay_plan(settings, replace(lab.keys, peers=peers))
    wanted = parts or ("peers", "rules")
    return HostPlan((), tuple(part for part in found.parts if part.name in wanted), ())


def edited(of: HostPlan, name: str, edit: Callable[[str], str]) -> HostPlan:
    """A plan with one file's text changed; its name is the end of the path."""
    assert any(f.path.endswith(name) for f in of.files), name
    parts = tuple(
        replace(
            part,
            files=tuple(
                replace(f, content=edit(f.content)) if f.path.endswith(name) else f
                for f in part.files
            ),
        )
        for part in of.parts
    )
    return replace(of, parts=parts)


def own_files(lab: Lab, host: str = "relay") -> None:
    """Let a host write to /etc and /usr without anyone else's seeing it."""
    lab.net[host].run(["sh", "-c", OWN])


def adopted(lab: Lab, guarded: bool, host: str = "relay") -> None:
    """All files of the plan for a machine of somebody's, at their places; nothing runs yet."""
    site = Site(adopted=True, guarded=guarded, ssh_port=22)
    lab.settings = replace(lab.settings, site=site)
    own_files(lab, host)
    machine = lab.net[host]
    machine.run("mount -t sysfs none /sys")  # it tells of the namespace that it was mounted from
    for file in relay_plan(lab.settings, lab.keys).files:
        machine.run(["mkdir", "-p", file.path.rpartition("/")[0]])
        machine.write(file.path, file.content)
        machine.run(["chmod", file.mode, file.path])


def stand_in(lab: Lab) -> None:
    """Put the stand-ins for systemd on the relay."""
    relay = lab.net["relay"]
    relay.run(f"mkdir -p {BIN} /run/systemd/system")
    relay.run(["sh", "-c", STOPPED])
    tools = {"systemctl": SYSTEMCTL, "systemd-run": SYSTEMD_RUN}
    for name, text in tools.items():
        relay.write(f"{BIN}/{name}", text)
        relay.run(f"chmod 755 {BIN}/{name}")


def lay(lab: Lab, wanted: HostPlan, check: str = FINE) -> None:
    """The bundle of a plan on the relay, unpacked."""
    relay = lab.net["relay"]
    relay.run(["sh", "-c", UNPACK], stdin=bundle(wanted))
    relay.write("/run/new/check", check)
    stand_in(lab)


def run(lab: Lab, command: str, check: bool = True, stdin: str = "") -> str:
    """A command of the relay's, with the stand-ins for systemd."""
    words = ["sh", "-c", f"PATH={BIN}:$PATH; {command}"]
    return lab.net["relay"].run(words, check=check, stdin=stdin)


def bring(lab: Lab, wanted: HostPlan, check: str = FINE) -> str:
    """Bring the relay to a plan, as over SSH; the token that would confirm it, if one is due."""
    lay(lab, wanted, check)
    try:
        said = "".join(run(lab, APPLY).splitlines()[-1:])
    finally:
        lab.net["relay"].run("rm -rf /run/new")
    return said.removeprefix("unconfirmed ") if said.startswith("unconfirmed ") else ""


def confirm(lab: Lab, token: str) -> str:
    """As over another connection."""
    return run(lab, remote.confirm("wg0"), stdin=f"{token}\n")


@contextmanager
def room(lab: Lab, more: int) -> Iterator[None]:
    """No more than so many KiB can be written to /etc/wireguard."""
    relay = lab.net["relay"]
    used = int(relay.run("df --output=used -k /etc/wireguard").split()[-1])
    relay.run(f"mount -o remount,size={used + more}k /etc/wireguard")
    try:
        yield
    finally:
        relay.run("mount -o remount,size=50% /etc/wireguard")


def timers(lab: Lab) -> list[tuple[int, str]]:
    """When the timers that are set are due, and what they would run."""
    lines = lab.net["relay"].run(f"cat {BIN}/timers").splitlines()
    return [(int(due), command) for due, _, command in (line.partition(" ") for line in lines)]


def time_is_up(lab: Lab) -> None:
    """What the timers do, each when it is due."""
    relay = lab.net["relay"]
    for due, command in timers(lab):
        now = float(relay.run(f"cat {CLOCK}").split()[0])
        relay.write(CLOCK, f"{max(now, due):.2f}\n")
        run(lab, command)


def apply(lab: Lab, wanted: HostPlan, check: str = FINE) -> None:
    """Bring the relay to a plan and confirm it."""
    token = bring(lab, wanted, check)
    if token:
        confirm(lab, token)


def started(lab: Lab, verb: str, port: int, seconds: float = 7200) -> subprocess.Popen[str]:
    """A caller that goes on while the relay is changed, for so long or until it is ended.

    It bears as long a silence as a tunnel has that starts anew on an emulated machine.
    """
    words = [verb, RELAY, str(port), str(seconds), *(["50"] if verb == "download" else [])]
    command = lab.net["client"].argv([*TALK, *words])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """End a caller; what it says."""
    process.terminate()
    said, error = process.communicate(timeout=60)
    assert not error, error
    return said


def settled(lab: Lab) -> list[str]:
    """What is not as the last plan left it."""
    text = f"sh {STATE}/state wg0 | LC_ALL=C comm -3 - {STATE}/seen"
    return run(lab, text).splitlines()
