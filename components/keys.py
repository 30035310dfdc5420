"""Keys: what can be derived from 32 random bytes. No key is made here, and none is shown.

``repr`` of every type that holds a private part leaves it out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Network

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

KEY_BYTES = 32
GLOBAL_ID_BYTES = 5
CERTIFICATE_NAME = "cgnat-relay"


@dataclass(frozen=True)
class WireGuardKey:
    """A key pair as WireGuard writes it: base64 of 32 bytes each."""

    public: str
    private: str = field(repr=False)


@dataclass(frozen=True)
class SshKey:
    """An Ed25519 key pair: OpenSSH's private text, and the public line without a comment."""

    public: str
    private: str = field(repr=False)


@dataclass(frozen=True)
class TlsKey:
    """A self-signed Ed25519 certificate, and its private key in PKCS8; both PEM."""

    certificate: str
    private: str = field(repr=False)


@dataclass(frozen=True)
class PeerKeys:
    """A peer's side of its tunnel. ``private`` is None where the peer keeps it to itself.

    ``following``: the keys that are accepted beside these, while they are changed.
    """

    public: str
    preshared: str = field(repr=False)
    private: str | None = field(default=None, repr=False)
    following: PeerKeys | None = field(default=None, repr=False)

    @property
    def newest(self) -> PeerKeys:
        """What the peer is to be given."""
        return self.following or self


@dataclass(frozen=True)
class RelayKeys:
    """All that a relay holds or is known by. ``prefix`` is its network of IPv6 inside.

    ``following`` is the relay's own key that is answered beside ``wireguard`` while it is changed.
    ``identity`` is the public part of its first key, which it is known by whatever key it has now.
    ``host`` and ``management`` are for SSH, None where the machine is adopted and has its own;
    ``tls`` is None where the tunnel is not offered inside TLS.
    """

    wireguard: WireGuardKey
    host: SshKey | None
    management: SshKey | None
    peers: dict[str, PeerKeys] = field(repr=False)
    prefix: IPv6Network
    tls: TlsKey | None = None
    following: WireGuardKey | None = None
    identity: str = ""

    @property
    def newest(self) -> WireGuardKey:
        """The relay's key as homes and devices are to be given it."""
        return self.following or self.wireguard


def unique_local(seed: str) -> IPv6Network:
    """The /64 of a ULA whose global ID is 5 random bytes in base64 (RFC 4193, section 3.1)."""
    return IPv6Network((b"\xfd" + _decode(seed, GLOBAL_ID_BYTES) + bytes(10), 64))


def wireguard_key(seed: str) -> WireGuardKey:
    """The key pair of a base64 seed of 32 random bytes, clamped as ``wg genkey`` does (RFC 7748).

    Raises ValueError where the seed is not 32 bytes of base64.
    """
    raw = bytearray(_decode(seed))
    raw[0] &= 248
    raw[31] = (raw[31] & 127) | 64
    public = X25519PrivateKey.from_private_bytes(bytes(raw)).public_key()
    encoded = base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return WireGuardKey(public=encoded, private=base64.b64encode(raw).decode())


def derived_keys(
    seed: str, who: str, public: str | None = None, following: PeerKeys | None = None
) -> PeerKeys:
    """A peer's keys, from a base64 seed of 32 random bytes that many share.

    ``who`` is the peer's name, unique among them; ``public`` its public key, where it keeps a
    private one to itself. HKDF with SHA-256 (RFC 5869): nobody gets from one peer's keys to the
    seed or to another's, nor from a peer's private key to its preshared one.
    """

    def derived(what: str) -> str:
        info = f"cgnat-relay {who} {what}".encode()
        raw = HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(_decode(seed))
        return base64.b64encode(raw).decode()

    preshared = derived("preshared")
    if public:
        return PeerKeys(public, preshared, following=following)
    pair = wireguard_key(derived("private"))
    return PeerKeys(pair.public, preshared, pair.private, following)


def is_wireguard_key(text: str) -> bool:
    """Whether it is base64 of exactly 32 bytes as ``wg`` reads it: no stray bits, not all zero."""
    try:
        raw = _decode(text)
    except ValueError:
        return False
    return any(raw) and base64.b64encode(raw).decode() == text


def ssh_key(seed: str) -> SshKey:
    """The Ed25519 key pair of a base64 seed of 32 random bytes, the same text at every call.

    OpenSSH's private format has a random check integer, and ``cryptography`` draws a new one at
    each call; user-data that holds such a text would change at every run. So the container is
    written here (openssh/PROTOCOL.key), with a check integer derived from the seed.
    """
    raw = _decode(seed)
    public = (
        Ed25519PrivateKey.from_private_bytes(raw)
        .public_key()
        .public_bytes(Encoding.Raw, PublicFormat.Raw)
    )
    kind = _string(b"ssh-ed25519")
    blob = kind + _string(public)
    check = hashlib.sha256(b"check" + raw).digest()[:4]
    secret = check + check + blob + _string(raw + public) + _string(b"")
    secret += bytes(range(1, 1 + -len(secret) % 8))
    none = _string(b"none")
    container = b"openssh-key-v1\0" + none + none + _string(b"")
    container += struct.pack(">I", 1) + _string(blob) + _string(secret)
    text = base64.b64encode(container).decode()
    lines = [text[i : i + 70] for i in range(0, len(text), 70)]
    begin, end = (f"-----{word} OPENSSH PRIVATE KEY-----" for word in ("BEGIN", "END"))
    return SshKey(
        public=f"ssh-ed25519 {base64.b64encode(blob).decode()}",
        private="\n".join([begin, *lines, end, ""]),
    )


def tls_key(seed: str) -> TlsKey:
    """The certificate of a base64 seed of 32 random bytes, the same text at every call.

    Homes trust it by itself, so it names no host, is nobody's authority, and never ends (RFC 5280,
    section 4.1.2.5): a home whose clock is wrong gets in all the same.
    """
    key = Ed25519PrivateKey.from_private_bytes(_decode(seed))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CERTIFICATE_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(1970, 1, 1))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return TlsKey(certificate.public_bytes(Encoding.PEM).decode(), private.decode())


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _decode(text: str, length: int = KEY_BYTES) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError(f"not base64 of {length} bytes") from None
    if len(raw) != length:
        raise ValueError(f"not base64 of {length} bytes")
    return raw
