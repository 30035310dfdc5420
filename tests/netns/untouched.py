"""A machine in a namespace that has had no relay yet: what it holds, and what stands in for Debian.

Real are its files (under an overlay), its network, rules and kernel settings. Stand-ins: systemd,
which here links and runs the units of a relay, and apt and dpkg, which here keep a list of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from components.model import Site
from components.plan import HostPlan, relay_plan

from . import living
from .conftest import Lab, make
from .living import APPLY, AT_BOOT, BIN, FINE, STATE
from .topology import hosts

WANTS = "/etc/systemd/system/multi-user.target.wants"
PACKAGES = f"{BIN}/packages"
SYSTEMCTL = f"""#!/bin/sh
{AT_BOOT}
ran() {{
	case "$1 $2" in
	"start wg-quick@wg0.service")
		ip link show wg0 >/dev/null 2>&1 || setsid -w wg-quick up wg0 9>&-
		;;
	"stop wg-quick@wg0.service") ! ip link show wg0 >/dev/null 2>&1 || wg-quick down wg0 ;;
	"start cgnat-relay-firewall.service") /usr/local/lib/cgnat-relay/firewall up ;;
	"stop cgnat-relay-firewall.service")
		[ ! -e /usr/local/lib/cgnat-relay/firewall ] || /usr/local/lib/cgnat-relay/firewall down
		;;
	esac
}}
if [ "$1" = -q ]; then shift; fi
verb=$1
shift
now=
if [ "${{1-}}" = --now ]; then now=yes; shift; fi
case $verb in
enable) for unit; do ln -sf "../$unit" "{WANTS}/$unit"; done ;;
disable)
	for unit; do
		rm -f "{WANTS}/$unit"
		if [ -n "$now" ]; then ran stop "$unit"; fi
	done
	;;
start)
	if [ "$1" = --no-block ]; then
		at_boot "$2"
	else
		ran start "$1"
	fi
	;;
stop) case $1 in *.timer) : >{BIN}/timers ;; *) ran stop "$1" ;; esac ;;
is-active) grep -qsxF "$1" {BIN}/active ;;
is-enabled) [ -L "{WANTS}/$1" ] ;;
is-failed) [ -e {BIN}/failed ] ;;
esac
"""
# PACKAGES has a line for each that is installed, NAME NEEDS...
# A need of one that works without is written name~. The digest is of an empty file.
DPKG_QUERY = f"""#!/bin/sh
case "$3" in
*Recommends*) sed 's/^/installed /; s/~//g' {PACKAGES} ;;
*Conffiles*) echo ' /etc/nftables.conf d41d8cd98f00b204e9800998ecf8427e' ;;
'${{db:Status-Status}} ${{Package}}\\n') sed 's/ .*//; s/^/installed /' {PACKAGES} ;;
*)
	shift 4
	for name; do
		if grep -q "^$name\\( \\|$\\)" {PACKAGES}; then echo "$name installed"; fi
	done
	;;
esac
"""
# What is not a trial run is written down as asked.
APT_GET = f"""#!/bin/sh
words=$*
dry=
while :; do
	case $1 in
	-s) dry=yes ;;
	-o) shift ;;
	-*) ;;
	*) break ;;
	esac
	shift
done
verb=$1
shift
case $verb in
install)
	for name; do
		case $name in -*) continue ;; esac
		if [ -z "$dry" ]; then
			echo "$name" >>{PACKAGES}
			if [ "$name" = nftables ]; then : >>/etc/nftables.conf; fi
		elif ! grep -q "^$name\\( \\|$\\)" {PACKAGES}; then
			echo "Inst $name (1 Debian:12 [all])"
		fi
	done
	if [ -z "$dry" ]; then
		echo "needrestart ${{NEEDRESTART_SUSPEND-}} $words" >>{BIN}/asked
		cat {BIN}/meanwhile >>{PACKAGES} 2>/dev/null
		sort -u -o {PACKAGES} {PACKAGES}
	fi
	;;
purge)
	if [ -e {BIN}/locked ] && [ -z "$dry" ]; then
		echo "E: Could not get lock /var/lib/dpkg/lock-frontend" >&2
		exit 100
	fi
	for name; do
		while read -r there needs; do
			case " $there $needs " in *" $name "*) echo "Purg $there [1]" ;; esac
		done <{PACKAGES}
	done | sort -u >{BIN}/goes
	cat {BIN}/goes
	if [ -n "$dry" ]; then exit; fi
	echo "needrestart ${{NEEDRESTART_SUSPEND-}} $words" >>{BIN}/asked
	if grep -q ' nftables ' {BIN}/goes; then rm -f /etc/nftables.conf; fi
	awk 'FILENAME == ARGV[1] {{ goes[$2]; next }} !($1 in goes)' {BIN}/goes {PACKAGES} >{BIN}/rest
	cat {BIN}/rest >{PACKAGES}
	;;
esac
"""
TOOLS = {
    "systemctl": SYSTEMCTL,
    "dpkg-query": DPKG_QUERY,
    "apt-get": APT_GET,
    "dpkg": "#!/bin/sh\n",
}
HOLDS = f"""
find /etc /etc/wireguard /usr/local/lib /run/cgnat-relay* /run/systemd/system \\
	-xdev -path {BIN} -prune -o \\
	-printf '%p %m %y %l\\n' 2>/dev/null | sort -u
cat {PACKAGES}
nft -s list ruleset
for file in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding \\
	/proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv6/conf/*/accept_ra; do
	echo "$file $(cat $file)"
done
ip -o link show | sed 's/^[0-9]*: //'
"""


@contextmanager
def machine(env: dict[str, str]) -> Iterator[Lab]:
    """One of somebody's, with a package of its own."""
    with hosts("relay", env) as net:
        lab = make(net)
        somebodys(lab)
        yield lab


def somebodys(lab: Lab) -> None:
    """Make the relay's host one that has had no relay yet."""
    living.own_files(lab)
    tidy = "rmdir /etc/cgnat-relay /usr/local/lib/cgnat-relay;"
    tidy += f" mkdir -p {WANTS} /run/systemd/system"
    lab.net["relay"].run(["sh", "-c", tidy])
    stand_in(lab)
    lab.net["relay"].write(PACKAGES, "base-files\n")


def stand_in(lab: Lab) -> None:
    """What ``living`` has put there as well is replaced."""
    living.stand_in(lab)
    for name, text in TOOLS.items():
        lab.net["relay"].write(f"{BIN}/{name}", text)
        lab.net["relay"].run(f"chmod 755 {BIN}/{name}")
    lab.net["relay"].write(f"{BIN}/timers", "")


def adopting(lab: Lab) -> HostPlan:
    """The whole plan of an adopted machine, with all that it installs."""
    return relay_plan(replace(lab.settings, site=Site(adopted=True, ssh_port=22)), lab.keys)


def holds(lab: Lab) -> list[str]:
    """All that a relay would leave there."""
    return living.run(lab, HOLDS).splitlines()


def lay(lab: Lab, check: str = FINE) -> None:
    """The bundle of that plan, unpacked."""
    living.lay(lab, adopting(lab), check)
    stand_in(lab)


def left(lab: Lab, before: list[str]) -> list[str]:
    """What there is that was not there, or is no more."""
    now = holds(lab)
    return [x for x in now if x not in before] + [f"no {x}" for x in before if x not in now]


def brought(lab: Lab) -> None:
    """The next run, confirmed."""
    assert brings(lab)


def brings(lab: Lab) -> bool:
    """The next run, confirmed; whether there was something to do."""
    lay(lab)
    said = living.run(lab, APPLY).splitlines()[-1]
    something = said.startswith("unconfirmed ")
    if something:
        living.confirm(lab, said.split()[1])
    assert "udp . 80 :" in lab.net["relay"].run("nft list table ip cgnat-relay")
    assert lab.net["relay"].run("wg show wg0 peers").strip()
    assert lab.net["relay"].run(f"find {STATE} -name 'unfinished*' -o -name fresh") == ""
    return something


def gone(lab: Lab) -> str:
    """As ``pulumi destroy``; what it says."""
    lay(lab)
    return living.run(lab, "sh /run/new/undo all wg0")
