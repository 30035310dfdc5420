"""What OpenSSH says where it does not enter, what that is, and what to do about it."""

from __future__ import annotations

from .errors import OperateError

AGAIN = "run it again: what was begun is finished then, or has been taken back by itself"


class LostError(OperateError):
    """The connection could not be made, or ended before the command did.

    ``made``: there was one, so that the command may have begun.
    """

    made = False


class AwayError(LostError):
    """The machine does not answer just now, which may be its trouble and not the config's."""


REFUSES = ("Permission denied",)
REFUSED_KEY = (
    "refuses the key; put its public half into that user's authorized_keys there, and see that its"
    " sshd lets that user in (PermitRootLogin, AllowUsers), or set vps.user"
)
# What OpenSSH says before it is in, what that is, and what to do about it; the first that fits.
CAUSES = (
    (
        LostError,
        ("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED", "no matching host key"),
        "answers with another host key than the pinned one, so nothing was sent; if the machine is"
        " the right one, pin its new key, else somebody is in between",
    ),
    (
        LostError,
        ("passphrase", "invalid format", "error in libcrypto", "No such file"),
        "was not entered: the private key cannot be used; give one without a passphrase, or load"
        " it into an agent with ssh-add",
    ),
    (
        LostError,
        ('": Permission denied',),
        "was not entered: this user may not read the file of the private key; chown it, or run this"
        " as who owns it",
    ),
    (
        LostError,
        ("bad permissions", "are too open"),
        "was not entered: others may read the file of the private key, so ssh does not use it;"
        " chmod 600 that file",
    ),
    (
        LostError,
        ("command-line line ", "command-line: line "),
        "was not entered: ssh does not take an option; check vps.key, vps.host and vps.user",
    ),
    (
        LostError,
        ("Too many authentication failures",),
        "refuses the keys: your agent offers too many before the right one; name that in vps.key",
    ),
    (LostError, REFUSES, ""),
    (
        LostError,
        ("no matching key exchange", "no matching cipher", "no matching MAC"),
        "and the ssh here have no algorithm in common; update the older of the two",
    ),
    (
        AwayError,
        ("Temporary failure in name resolution",),
        "is a name that cannot be resolved just now; check your own connection, or give the"
        " address",
    ),
    (
        LostError,
        ("Could not resolve hostname",),
        "is no name that can be resolved; check the spelling, or give the address",
    ),
    (
        AwayError,
        ("Connection refused",),
        "refuses the connection: no SSH server listens there; check the port, or wait a minute if a"
        " rule there limits how often one may connect (ufw limit, fail2ban)",
    ),
    (
        AwayError,
        ("timed out", "No route to host", "Network is unreachable", "Host is down"),
        "cannot be reached; check the address, the port, and the provider's firewall",
    ),
)
# Where no key is named.
NO_AGENT = (
    "refuses the keys of your agent, or it holds none; load the right one with ssh-add, or name its"
    " file in vps.key"
)
# Where the named one asks for what nobody is there to type; ssh passes it over without a word.
LOCKED = (
    "was not entered: the private key has a passphrase, which is not asked for; give one without,"
    " or load it into your agent with ssh-add"
)
# Where sshd's list of what it takes has no key in it, or no more.
NO_KEY_ALONE = (
    "takes no key, or asks for more than that; have its sshd let that user in by a key alone"
    " (PubkeyAuthentication, AuthenticationMethods)"
)
# What it says of a connection that was made; some of it on standard error whatever is asked.
ENDED = ("client_loop: ", "Read from remote host ", "Timeout, server ")
