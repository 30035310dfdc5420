"""Disk images: Debian or Ubuntu with cloud-init, built once per recipe, in the user's cache.

An image is a folder with ``disk.raw`` (sparse, never written again), ``vmlinuz`` and
``initrd.img``. Its name is a digest of everything it is made from, so that a changed recipe is a
new image and a VM's disk never loses the base it lies on.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import folders, mirrors
from lab.errors import LabError
from lab.mirrors import Mirrors
from lab.programs import as_root, find, run, say

RECIPE = Path(__file__).with_name("recipe.toml")
KEYRINGS = Path("/usr/share/keyrings")
KEYRING = KEYRINGS / "debian-archive-keyring.gpg"
# Not every Debian has Ubuntu's keys; this one's archive has, signed by Debian.
UBUNTUS_KEYRING, KEYRING_SUITE = "ubuntu-archive-keyring", "trixie"
SUITES = Path("/usr/share/distro-info/ubuntu.csv")  # by which mmdebstrap knows Ubuntu's


@dataclass(frozen=True)
class Recipe:
    """All that goes into one variant of the image."""

    variant: str
    vendor: str
    suite: str
    disk: str
    packages: tuple[str, ...]
    masked: tuple[str, ...]
    initramfs_modules: tuple[str, ...]
    files: Mapping[str, str]

    def digest(self, sources: Mirrors, code: bytes) -> str:
        """Name this recipe, built from these mirrors by this code, in 12 hex digits."""
        whole = json.dumps([asdict(self), asdict(sources)], sort_keys=True).encode()
        return hashlib.sha256(whole + b"\0" + code).hexdigest()[:12]


def variants() -> list[str]:
    """List the variants that the recipe knows."""
    return sorted(tomllib.loads(RECIPE.read_text())["variants"])


def read_recipe(variant: str, text: str | None = None) -> Recipe:
    """Read one variant out of the recipe; what it says itself wins."""
    table = tomllib.loads(RECIPE.read_text() if text is None else text)
    if variant not in table["variants"]:
        known = ", ".join(sorted(table["variants"]))
        raise LabError(f"there is no image variant {variant!r}; choose one of: {known}")
    own = table["variants"][variant]
    vendor = own.get("vendor", table["vendor"])
    theirs = table["vendors"][vendor]
    kernel = own.get("kernel", theirs["kernel"])
    packages = {kernel, *table["packages"], *theirs["packages"], *own["packages"]}
    return Recipe(
        variant=variant,
        vendor=vendor,
        suite=own.get("suite", table["suite"]),
        disk=own.get("disk", table["disk"]),
        packages=tuple(sorted(packages)),
        masked=tuple(table["masked"]),
        initramfs_modules=tuple(table["initramfs_modules"]),
        files={**table["files"], **own.get("files", {})},
    )


def folder(variant: str) -> Path:
    """Give the folder of this variant's current image, whether it is built yet or not."""
    return _folder(read_recipe(variant), mirrors.of_this_machine())


def build(variant: str) -> Path:
    """Give the folder of this variant's image, building it first if there is none yet.

    A second build of the same image at the same time waits for the first and takes its result.
    """
    recipe, sources = read_recipe(variant), mirrors.of_this_machine()
    target = _folder(recipe, sources)
    if target.is_dir():
        return target
    with folders.locked(target.with_name(f".{target.name}.lock")):
        if target.is_dir():
            return target
        staging = target.with_name(f".{target.name}.building")
        _remove(staging)  # what a build that was killed has left
        staging.mkdir()
        try:
            _build(recipe, sources, staging)
            staging.rename(target)
        finally:
            if staging.exists():
                shutil.copy(staging / "build.log", target.with_name(f"{target.name}.log"))
                _remove(staging)
    return target


def skeleton(recipe: Recipe) -> bytes:
    """Pack the recipe's files and masked units as a tar archive that belongs to root."""
    modules = "".join(f"{module}\n" for module in recipe.initramfs_modules)
    files = {**recipe.files, "/usr/share/initramfs-tools/modules.d/lab": modules}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in sorted(files.items()):
            data = text.lstrip("\n").encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
        for unit in recipe.masked:
            entry = tarfile.TarInfo(f"etc/systemd/system/{unit}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/dev/null"
            tar.addfile(entry)
    return buffer.getvalue()


def debootstrap(recipe: Recipe, sources: Mirrors, staging: Path) -> list[str]:
    """Give the command that fills ``staging/root``."""
    root = str(staging / "root")
    command = [
        *_mmdebstrap(sources),
        "--variant=minbase",
        f"--include={','.join(recipe.packages)}",
        f"--essential-hook=tar-in {staging / 'skeleton.tar'} /",
        # Every VM makes or is given host keys and a name of its own.
        '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/resolv.conf',
    ]
    if recipe.vendor == "ubuntu":
        # Given none, it takes Ubuntu's own archive.
        keyring = f"--keyring={_ubuntus_keyring(staging)}"
        return [*command, keyring, "--components=main,universe", recipe.suite, root]
    return [*command, *_debians(sources, recipe.suite, root)]


def ubuntus_keyring(sources: Mirrors, staging: Path) -> list[str]:
    """Give the command that unpacks Ubuntu's keys where this machine has none."""
    words = ["--variant=extract", f"--include={UBUNTUS_KEYRING}"]
    unpacked = str(staging / "keyring")
    return [*_mmdebstrap(sources), *words, *_debians(sources, KEYRING_SUITE, unpacked)]


def _ubuntus_keyring(staging: Path) -> Path:
    own = KEYRINGS / f"{UBUNTUS_KEYRING}.gpg"
    return own if own.exists() else staging / "keyring" / own.relative_to("/")


def _mmdebstrap(sources: Mirrors) -> list[str]:
    proxy = [f'--aptopt=Acquire::http::Proxy "{sources.proxy}"'] if sources.proxy else []
    return [find("mmdebstrap"), "--mode=root", *proxy]


def _debians(sources: Mirrors, suite: str, root: str) -> list[str]:
    keyring = [f"--keyring={KEYRING}"] if KEYRING.exists() else []
    return [*keyring, suite, root, *sources.sources(suite)]


def _folder(recipe: Recipe, sources: Mirrors) -> Path:
    digest = recipe.digest(sources, Path(__file__).read_bytes())
    return folders.cache() / f"{recipe.variant}-{digest}"


def _build(recipe: Recipe, sources: Mirrors, staging: Path) -> None:
    root, disk, log = staging / "root", staging / "disk.raw", staging / "build.log"
    began = time.monotonic()
    log.touch()

    def step(message: str) -> None:
        say(f"image {recipe.variant}: {message} [{time.monotonic() - began:.0f} s]")

    named = f"{recipe.vendor.capitalize()} {recipe.suite}"
    step(f"installing {named} with {len(recipe.packages)} packages")
    (staging / "skeleton.tar").write_bytes(skeleton(recipe))
    _fill(recipe, sources, staging, log)
    step("making its disk")
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        run([*as_root(), "cp", str(_only(root / "boot", pattern)), str(staging / name)], log=log)
    format_disk = [find("mke2fs"), "-q", "-t", "ext4", "-L", "root", "-m", "0"]
    # A sparse file reads as zeros, so the guest has no tables left to clear.
    options = ["-E", "assume_storage_prezeroed=1,root_owner=0:0", "-d", str(root)]
    run([*as_root(), *format_disk, *options, str(disk), recipe.disk], log=log)
    _remove(root)
    (staging / "skeleton.tar").unlink()
    if os.geteuid() != 0:
        run([*as_root(), "chown", "-R", f"{os.getuid()}:{os.getgid()}", str(staging)])
    for name in ("vmlinuz", "initrd.img", "disk.raw"):
        (staging / name).chmod(0o444)
    step("done")


def _fill(recipe: Recipe, sources: Mirrors, staging: Path, log: Path) -> None:
    """Install it into ``staging/root``."""
    if recipe.vendor == "ubuntu":
        if not SUITES.exists():
            raise LabError("Ubuntu's releases are not known here: apt install distro-info-data")
        if not _ubuntus_keyring(staging).exists():
            run([*as_root(), *ubuntus_keyring(sources, staging)], log=log)
    try:
        run([*as_root(), *debootstrap(recipe, sources, staging)], log=log)
    except LabError as error:
        if recipe.vendor == "ubuntu" and "apt-get update" in str(error):
            raise LabError(
                f"there is no image {recipe.variant}: Ubuntu's archive cannot be had from here"
            ) from error
        raise
    _remove(staging / "keyring")


def _only(parent: Path, pattern: str) -> Path:
    found = sorted(parent.glob(pattern))
    if len(found) != 1:
        raise LabError(f"the image has {len(found)} files {pattern} in /boot, not one")
    return found[0]


def _remove(path: Path) -> None:
    """Remove a folder that may hold root's files."""
    if path.exists():
        run([*as_root(), "rm", "-rf", "--one-file-system", str(path)])
