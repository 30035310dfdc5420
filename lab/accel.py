"""Whether KVM really works here, asked by running a little code under it.

``/dev/kvm`` may exist, open, and even run a BIOS, and still get no kernel going, as happens inside
some VMs: each instruction is then emulated, slower than QEMU's own emulation. So a boot sector
goes the way of a kernel, into 64-bit mode with paging, counts to fifty million there, and leaves
QEMU with an exit status that nothing else gives. Working hardware needs 20 ms for it.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from lab import folders
from lab.programs import find

SIGN = 0x2A
EXPECTED = SIGN << 1 | 1  # what isa-debug-exit makes of it
CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 8ed0"  # cli; ds, es and ss to 0
    "bf0010 b90018 fc f3ab"  # clear 0x1000 to 0x3fff
    "c70600100320 c70600200330 c70600308300"  # three page tables: the first 2 MiB as they are
    "66b800100000 0f22d8"  # cr3: their address
    "0f20e0 0c20 0f22e0"  # cr4: physical address extension
    "66b9800000c0 0f32 80cc01 0f30"  # EFER: long mode
    "0f20c0 660d01000080 0f22c0"  # cr0: protection and paging
    "0f0116787c ea587c0800"  # lgdt; jump to the next line, in 64 bits
    "b980f0fa02 ffc9 75fc"  # fifty million times around
    "b02a e6f4 f4 ebfd"  # out SIGN to port 0xf4; hlt for ever
    "0000000000000000 00000000009a2000"  # the descriptors: none, and 64-bit code
    "0f00 687c0000"  # how many bytes of them, and where
)
BOOT_SECTOR = CODE.ljust(510, b"\0") + b"\x55\xaa"
LIMIT = 5  # seconds
KVM = "kvm"
TCG = "tcg,thread=multi"  # software emulation, one host thread per virtual CPU


def choose() -> str:
    """Give QEMU's ``-accel`` value for this machine; the answer is kept until the next boot.

    It is this machine's, not a lab's, so it lies beside the images: a KVM that hangs is waited for
    once, not at each new lab's first start.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    asked = {"boot": boot, "user": os.geteuid()}
    file = folders.cache() / ".accel.json"
    known = folders.read_json(file) or {}
    if known.get("asked") != asked:
        known = {"asked": asked, "accel": KVM if _runs(KVM) else TCG}
        folders.write_json(file, known)
    return str(known["accel"])


def _runs(accel: str) -> bool:
    if accel == KVM and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.NamedTemporaryFile(prefix="lab-boot-sector-") as sector:
        sector.write(BOOT_SECTOR)
        sector.flush()
        command = [
            *(find("qemu-system-x86_64"), "-accel", accel, "-m", "16", "-nodefaults"),
            *("-display", "none", "-no-reboot", "-boot", "c"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
            *("-drive", f"file={sector.name},format=raw,if=ide,snapshot=on"),
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == EXPECTED
