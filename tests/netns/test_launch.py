"""The script that a provider without cloud-config runs, on a copy of this machine's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.first_boot import Form, first_boot
from components.plan import relay_plan

from ..unit import samples

SETTINGS = samples.settings()
KEYS = samples.keys(SETTINGS)
PLAN = relay_plan(SETTINGS, KEYS)
# A root of its own over this machine's, without /proc: nothing here can reach the kernel. What asks
# systemd, and for packages, is a stand-in that says yes and writes down what it was asked.
ROOT = """\
set -eu
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay none -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
rm -rf "$1/root/root/.ssh"
mkdir -p "$1/root/etc/ssh" "$1/root/lib/systemd"
echo old >"$1/root/etc/ssh/ssh_host_rsa_key"
for command in usr/bin/systemctl lib/systemd/systemd-sysctl; do
	printf '#!/bin/sh\\necho "$0 $*" >>/asked\\n' >"$1/root/$command"
	chmod 755 "$1/root/$command"
done
cat >"$1/root/usr/bin/dpkg-query" <<'END'
#!/bin/sh
echo "$0 $*" >>/asked
for name; do echo "$name installed"; done
END
cat >"$1/root/script"
for time in first second; do chroot "$1/root" sh /script; done
cd "$1/root"
echo "--- asked"
cat asked
echo "--- ssh"
stat -c '%a %U %n' root/.ssh root/.ssh/authorized_keys etc/ssh/ssh_host_*
cat root/.ssh/authorized_keys
echo "--- files"
cd ../upper
find etc usr/local run -type f -exec stat -c '%04a /%n' {} +
"""


@pytest.mark.parametrize("limit", [None, 0], ids=["whole", "bootstrap"])
def test_it_lets_ssh_in_lays_the_files_and_starts_the_units(
    limit: int | None, tmp_path: Path
) -> None:
    whole = first_boot(PLAN, KEYS, Form.SCRIPT, None)
    script = whole if limit is None else first_boot(PLAN, KEYS, Form.SCRIPT, len(whole) - 1)
    command = ["unshare", "--mount", "sh", "-c", ROOT, "sh", str(tmp_path)]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    asked, ssh, files = (part.partition("\n")[2] for part in done.stdout.split("--- ")[1:])

    assert KEYS.management
    assert KEYS.management.public in ssh
    assert "700 root root/.ssh\n" in ssh
    assert "600 root root/.ssh/authorized_keys\n" in ssh
    assert "600 root etc/ssh/ssh_host_ed25519_key\n" in ssh
    assert "ssh_host_rsa_key" not in ssh, "a key that is not pinned"

    found = {path: mode for mode, path in (line.split(" ", 1) for line in files.splitlines())}
    parts = ("base", "firewall") if limit == 0 else tuple(part.name for part in PLAN.parts)
    wanted = {f.path: f.mode for part in PLAN.parts if part.name in parts for f in part.files}
    assert wanted.items() <= found.items()
    assert not any(path.startswith("/run/cgnat-relay-launch/") for path in found)
    assert any("wireguard" in path for path in found) == (limit is None)

    starts = [line.split()[2] for line in asked.splitlines() if " start " in line]
    units = [unit for unit in PLAN.units if limit is None or "firewall" in unit]
    assert starts == units * 2
    assert asked.rstrip().endswith("systemctl try-restart ssh.service")
