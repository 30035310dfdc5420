"""The shell that is sent to a relay's machine. It is static: data comes by standard input alone."""

from __future__ import annotations

STATE = "/etc/wireguard/cgnat-relay"
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
    "umask 077; data=$(cat); new=$(mktemp -d) && "
    + _UNPACK
    + " && {}; code=$?; rm -rf $new; exit $code"
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
    """Take all of the relay away, by the scripts of a bundle; says what stays."""
    return _ALONE.format(f"sh $new/undo all {interface}")


def look(interface: str) -> str:
    """What the machine is like, by the scripts of a bundle: see ``cloud-init/host/look``."""
    return _BESIDE.format(f"sh $new/look $new {interface}")


def observe(interface: str) -> str:
    """What a diagnosis needs, by the scripts of a bundle: see ``cloud-init/host/observe``."""
    return _BESIDE.format(f"sh $new/observe $new {interface}")
