"""The recipe of the lab's images: what changes an image's name, and what goes into it."""

import io
import tarfile
from dataclasses import replace

import pytest

from lab import image
from lab.errors import LabError
from lab.mirrors import Mirrors, choose

RECIPE = """
vendor = "debian"
suite = "bookworm"
disk = "4G"
packages = ["systemd"]
masked = ["slow.service"]
initramfs_modules = ["virtio_blk"]
[vendors.debian]
kernel = "linux-image-amd64"
packages = ["ifupdown"]
[vendors.ubuntu]
kernel = "linux-image-virtual"
packages = ["netplan.io"]
[variants.bare]
packages = []
[variants.next]
packages = ["ufw"]
suite = "trixie"
disk = "6G"
[variants.other]
vendor = "ubuntu"
suite = "noble"
kernel = "linux-image-kvm"
packages = []
files = {"/etc/issue" = "own"}
[files]
"/etc/motd" = "hello"
"""


MIRRORS = Mirrors("http://m.example/d")


def digest(recipe: image.Recipe, sources: Mirrors = MIRRORS, code: bytes = b"code") -> str:
    return recipe.digest(sources, code)


def test_a_variant_adds_its_packages_and_may_have_a_suite_of_its_own():
    recipe = image.read_recipe("next", RECIPE)
    assert recipe.packages == ("ifupdown", "linux-image-amd64", "systemd", "ufw")
    assert (recipe.suite, recipe.disk) == ("trixie", "6G")


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(LabError, match="bare, next, other"):
        image.read_recipe("docker", RECIPE)


@pytest.mark.parametrize(
    "change",
    [
        {"packages": ("systemd", "ufw")},
        {"suite": "trixie"},
        {"disk": "5G"},
        {"masked": ()},
        {"initramfs_modules": ("ext4",)},
        {"files": {"/etc/motd": "good-bye"}},
        {"variant": "other"},
        {"vendor": "ubuntu"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_recipe_is_another_image(change):
    recipe = image.read_recipe("bare", RECIPE)
    assert digest(replace(recipe, **change)) != digest(recipe)


def test_the_same_recipe_is_the_same_image_and_other_code_or_mirrors_are_not():
    recipe = image.read_recipe("bare", RECIPE)
    assert digest(recipe) == digest(image.read_recipe("bare", RECIPE))
    assert digest(recipe, code=b"other") != digest(recipe)
    assert digest(recipe, Mirrors(archive="http://mirror.example/debian")) != digest(recipe)


def test_the_vps_is_as_bare_as_a_cheap_providers():
    packages = image.read_recipe("vps").packages
    assert not {"wireguard-tools", "iptables", "nftables", "netplan.io"} & set(packages)
    assert {"wireguard-tools", "iptables", "nftables"} <= set(image.read_recipe("home").packages)


def test_the_skeleton_belongs_to_root_and_masks_units():
    data = image.skeleton(image.read_recipe("bare", RECIPE))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        entries = {entry.name: entry for entry in tar}
        motd = tar.extractfile("etc/motd")
        assert motd is not None and motd.read() == b"hello"
    assert entries["etc/systemd/system/slow.service"].linkname == "/dev/null"
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(0, 0)}


@pytest.mark.parametrize(
    ("targets", "archive", "security"),
    [
        (["http://m.example/deb/ bookworm"], "http://m.example/deb", ""),
        (
            ["http://s.example/x/ trixie-security", "http://m.example/d/ trixie"],
            "http://m.example/d",
            "http://s.example/x",
        ),
        (["http://a.example/d bookworm", "http://b.example/d sid"], "http://a.example/d", ""),
    ],
)
def test_the_hosts_own_debian_mirrors_are_used(targets, archive, security):
    assert choose(targets) == Mirrors(archive, security)


@pytest.mark.parametrize(
    "targets",
    [
        [],
        ["http://m.example/d/ trixie-updates"],
        ["http://vendor.example/apt nodistro"],
        ["http://u.example/ubuntu/ noble"],
    ],
)
def test_a_host_without_a_debian_archive_is_told(targets):
    with pytest.raises(LabError, match=r"knows no Debian archive .*sources\.list"):
        choose(targets)


def test_sources_cover_updates_and_security():
    lines = Mirrors("http://m.example/d", "http://s.example/d").sources("bookworm")
    assert lines == [
        "deb http://m.example/d bookworm main",
        "deb http://m.example/d bookworm-updates main",
        "deb http://s.example/d bookworm-security main",
    ]


def test_ubuntu_comes_from_its_own_archive_with_keys_that_debian_has_signed(tmp_path):
    recipe = image.read_recipe("other", RECIPE)
    assert recipe.packages == ("linux-image-kvm", "netplan.io", "systemd")
    assert recipe.files == {"/etc/motd": "hello", "/etc/issue": "own"}
    words = image.debootstrap(recipe, MIRRORS, tmp_path)
    assert words[-2:] == ["noble", str(tmp_path / "root")], "no mirror of Debian's"
    keys = next(w for w in words if w.startswith("--keyring="))
    assert keys.endswith("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
    unpack = image.ubuntus_keyring(MIRRORS, tmp_path)
    assert unpack[-2:] == MIRRORS.sources(image.KEYRING_SUITE)


def test_every_distribution_has_an_image():
    wanted = {"debian-11": "bullseye", "debian-13": "trixie", "vps": "bookworm"}
    wanted |= {"ubuntu-22": "jammy", "ubuntu-24": "noble"}
    assert {name: image.read_recipe(name).suite for name in wanted} == wanted
    assert "ifupdown" not in image.read_recipe("ubuntu-24").packages
