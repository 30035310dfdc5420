"""Real services of a home, used from a device: SSH to administer it, and NFS.

phone (reaches homes), laptop (reaches nobody) ── relay ── home: sshd, nfs-ganesha
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..sshd import sshd_program
from ..unpacked import unpacked
from ..waiting import eventually
from .conftest import Lab, make
from .topology import Host, internet

SERVER, CLIENT = ("nfs-ganesha", "nfs-ganesha-vfs"), "libnfs-utils"
# Their own libraries, by whatever number a release of Debian has in their names.
LIBRARIES = re.compile(r"Depends: (lib(?:nfs|ntirpc|urcu|wbclient)\S*)")
# NFSv4 alone, which needs no rpcbind.
GANESHA = """
NFS_CORE_PARAM {{ Protocols = 4; Enable_RQUOTA = false; Plugins_Dir = "{plugins}"; }}
NFSV4 {{
  Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{folder}/state";
  Only_Numeric_Owners = true; UseGetpwnam = true; DomainName = "localdomain";
}}
EXPORT {{
  Export_Id = 1; Path = "{folder}/export"; Pseudo = "/share"; Protocols = 4; Transports = TCP;
  Access_Type = RW; Squash = No_Root_Squash; SecType = sys; FSAL {{ Name = VFS; }}
}}
"""


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"devices": ["phone", {"name": "laptop", "reach": []}]})
        made.relay_up()
        made.home_up()
        made.device_up("phone")
        made.device_up("laptop", host="laptop")
        yield made


@pytest.fixture(scope="module")
def ssh(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words of a client whose key home's sshd takes, and which knows that sshd's."""
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        make_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]
        subprocess.run([*make_key, str(folder / name)], check=True)
    (folder / "config").write_text(
        f"Port 22\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\n"
    )
    (folder / "known").write_text("home " + (folder / "host.pub").read_text())
    lab.net["home"].start([*sshd_program(folder), "-D", "-f", str(folder / "config")])
    eventually(lambda: ":22 " in lab.net["home"].run("ss -Hlnt"), "sshd listens")
    options = [
        "BatchMode=yes",
        "HostKeyAlias=home",
        f"UserKnownHostsFile={folder}/known",
        "ConnectTimeout=5",
    ]
    return [
        "ssh",
        "-F",
        "none",
        "-i",
        str(folder / "user"),
        *(word for option in options for word in ("-o", option)),
    ]


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_home_is_administered_over_the_tunnel(lab: Lab, ssh: list[str], six: bool) -> None:
    address, mine = lab.inner("home")[six], lab.inner("phone")[six]
    command = [*ssh, f"root@{address}", 'echo "$SSH_CONNECTION" && ip -o addr show wg0']
    said = lab.net["phone"].run(command)
    assert said.splitlines()[0].split()[::2] == [mine, address]
    assert f"inet {lab.inner('home')[0]}/24" in said
    with pytest.raises(AssertionError, match=r"port 22"):
        lab.net["laptop"].run(command)


@pytest.fixture(scope="module")
def root() -> Path:
    """Where server and client of NFS are unpacked."""
    asked = ["apt-cache", "depends", SERVER[0], CLIENT]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return unpacked("nfs", *SERVER, CLIENT, *LIBRARIES.findall(said))


@pytest.fixture(scope="module")
def share(lab: Lab, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that home exports as /share by nfs-ganesha."""
    folder = tmp_path_factory.mktemp("nfs")
    for name in ("export", "state"):
        (folder / name).mkdir()
    plugins = next(root.glob("usr/lib/*/ganesha"))
    (folder / "config").write_text(GANESHA.format(folder=folder, plugins=plugins))
    home, log = lab.net["home"], folder / "log"
    own = ["env", f"LD_LIBRARY_PATH={plugins.parent}:{root}/usr/lib/ganesha"]
    files = ["-f", str(folder / "config"), "-L", str(log), "-p", str(folder / "pid")]
    home.start([*own, str(root / "usr" / "bin" / "ganesha.nfsd"), "-F", *files])
    try:
        eventually(lambda: ":2049 " in home.run("ss -Hlnt"), "nfs-ganesha listens")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text() if log.exists() else ''}") from None
    return folder / "export"


def nfs(host: Host, root: Path, program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """One of libnfs' programs on a host."""
    library = next(root.glob("usr/lib/*/libnfs.so.*")).parent
    # It waits for ever where nothing answers.
    command = [*host.argv(["timeout", "10"]), str(root / "usr" / "bin" / program), *words]
    env = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    return subprocess.run(command, env=env, capture_output=True)


def test_files_go_there_and_back_over_nfs(
    lab: Lab, root: Path, share: Path, tmp_path: Path
) -> None:
    """Small there, since libnfs 4.0 cannot write 4 KiB at once over NFSv4 anywhere; large back."""
    url = f"nfs://{lab.inner('home')[0]}/share"
    sent, large = os.urandom(1000), os.urandom(1 << 20)
    phone, laptop = lab.net["phone"], lab.net["laptop"]
    (tmp_path / "sent").write_bytes(sent)
    (share / "large").write_bytes(large)
    done = nfs(phone, root, "nfs-cp", str(tmp_path / "sent"), f"{url}/file?version=4")
    assert done.returncode == 0, done
    assert (share / "file").read_bytes() == sent
    listed = nfs(phone, root, "nfs-ls", f"{url}?version=4").stdout.split()
    assert {b"file", b"large"} <= {*listed}
    for name, content in (("file", sent), ("large", large)):
        url_of = f"{url}/{name}?version=4"
        assert nfs(phone, root, "nfs-cat", url_of).stdout == content
        refused = nfs(laptop, root, "nfs-cat", url_of)
        assert refused.returncode != 0
        assert refused.stdout == b""
