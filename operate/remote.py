"""The shell that is sent to a relay's machine. It is static: data comes by standard input alone."""

from __future__ import annotations

STATE = "/etc/wireguard/cgnat-relay"
BY_TUNNEL = "by-tunnel"  # said where this connection would go with the tunnel
OPEN = 120  # seconds for a connection past it, while SSH is open to the public for that
_FIREWALL, _ETC = "/usr/local/lib/cgnat-relay/firewall", "/etc/cgnat-relay"
_CLOSING = "cgnat-relay-revert-ssh-"  # undo ends these timers, and confirm
# All of standard input is here before the lock is taken, so that a connection that hangs keeps
# nobody out. It is unpacked in memory, at one place that the next run clears, for it holds keys.
_UNPACK = 'printf %s "$data" | base64 -d | tar -xzf - -C $new'
# The one who had the lock may have taken it away, and then it keeps nobody out.
_LOCK = (
    "until exec 9>/run/cgnat-relay.lock; flock 9; [ /proc/self/fd/9 -ef /run/cgnat-relay.lock ];"
    " do :; done"
)
_ALONE = (
    "umask 077; data=$(cat); " + _LOCK + "; new=/run/cgnat-relay;"
    " rm -rf $new && mkdir $new && " + _UNPACK + " && {}; code=$?; rm -rf $new; exit $code"
)
# Beside a run that may last, so without its lock.
_BESIDE = (
    "umask 077; data=$(cat); new=$(mktemp -d -p /run) && "
    + _UNPACK
    + " && {}; code=$?; rm -rf $new; exit $code"
)

# Whether we come by the tunnel, to whichever of the relay's addresses: a device may send all its
# traffic by it.
_COMES_BY_TUNNEL = (
    'ip -o route get ${{SSH_CONNECTION%% *}} 2>/dev/null | grep -qE " dev {wg}(-2)? "'
)
_SHUT = f"[ ! -x {_FIREWALL} ] || flock /run/cgnat-relay.lock {_FIREWALL} up"
# Loaded alone, with what closes SSH left on the disk: whatever loads the firewall next closes it,
# be it a reboot. The timer comes first, and waits for whoever undoes by then.
_OPEN_SSH = (
    f"systemd-run --quiet --collect --on-active={OPEN} --timer-property=AccuracySec=1s"
    f' --unit="{_CLOSING}$(cat /proc/sys/kernel/random/uuid)"'
    f' sh -c "{_SHUT}" &&'
    f" iptables-restore --wait --noflush {_ETC}/firewall.v4 &&"
    " if [ -e /proc/sys/net/ipv6 ]; then"
    f" ip6tables-restore --wait --noflush {_ETC}/firewall.v6; fi"
)


def bring(interface: str, taking: bool = False) -> str:
    """Bring the plan of a bundle; says ``unconfirmed TOKEN`` where something was changed.

    ``taking``: also where the relay there is another stack's.
    """
    return _ALONE.format(f"sh $new/apply bring $new {interface}{' take-over' if taking else ''}")


def confirm(interface: str) -> str:
    """Confirm the change whose token comes by standard input; once more does no harm."""
    tool = f"{STATE}/unfinished/tools/apply"
    gone = "the change was not confirmed in time; the relay has gone back to the plan before"
    was = f'read -r token; [ "$(cat {STATE}/confirmed 2>/dev/null)" = "$token" ]'
    over = f'{{ {was} && exit; echo "{gone}" >&2; exit 1; }}'
    return f"[ -e {tool} ] || {over}; sh {tool} confirm {interface}"


def undo(interface: str) -> str:
    """Take all of the relay away, by the scripts of a bundle; says what stays.

    Not by the tunnel, which goes with it: then SSH is opened to the public for a while, and that is
    all. What closes SSH goes first, or a run that is cut short might leave no way in at all.
    """
    asked = _COMES_BY_TUNNEL.format(wg=interface)
    gone = f"rm -f {_ETC}/ssh-closed; sh $new/undo all {interface}"
    opened = f"{_OPEN_SSH} && echo {BY_TUNNEL}"
    done = f"if [ -d {STATE} ] && {{ {asked}; }}; then {opened}; else {gone}; fi"
    return _ALONE.format(f"sh $new/undo ours && {done}")


def close() -> str:
    """Close SSH again where it was opened for a while."""
    return f"systemctl stop '{_CLOSING}*.timer' || :; {_SHUT}"


def look(interface: str) -> str:
    """What the machine is like, by the scripts of a bundle: see ``cloud-init/host/look``."""
    return _BESIDE.format(f"sh $new/look $new {interface}")


def observe(interface: str) -> str:
    """What a diagnosis needs, by the scripts of a bundle: see ``cloud-init/host/observe``."""
    return _BESIDE.format(f"sh $new/observe $new {interface}")
