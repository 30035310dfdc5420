"""The disk from which cloud-init takes a VM's user-data (its NoCloud data source)."""

import hashlib
import tempfile
from pathlib import Path

from lab.programs import find, run


def digest(user_data: bytes) -> str:
    """Name user-data without showing it: the same text is the same machine."""
    return hashlib.sha256(user_data).hexdigest()


def write(target: Path, name: str, user_data: bytes) -> None:
    """Write the seed as an ISO image that only its owner can read: user-data holds secrets.

    The instance's id follows the user-data, so that cloud-init takes a new text for a new machine.
    """
    meta_data = f"instance-id: lab-{name}-{digest(user_data)[:16]}\nlocal-hostname: {name}\n"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".seed-") as folder:  # mode 0700
        files = Path(folder)
        (files / "user-data").write_bytes(user_data)
        (files / "meta-data").write_text(meta_data)
        image = files / "seed.iso"
        command = [find("genisoimage"), "-quiet", "-volid", "cidata", "-joliet", "-rock"]
        run([*command, "-o", str(image), str(files / "user-data"), str(files / "meta-data")])
        image.chmod(0o600)
        image.replace(target)
