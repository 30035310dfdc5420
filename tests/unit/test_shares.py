"""What a sampled profile is counted as, and how a page shows it."""

from __future__ import annotations

import pytest

from bench import report, shares

LINES = """
     400|[kernel.kallsyms]|[k] chacha20_block
     100|[libchacha]|[k] poly1305_blocks
      50|/usr/lib/x86_64-linux-gnu/libcrypto.so.3|[.] ChaCha20_ctr32
      30|[wireguard]|[k] wg_packet_decrypt_worker
      20|[nf_conntrack]|[k] nf_conntrack_in
      20|frps|[.] runtime.memmove
     380|[kernel.kallsyms]|[k] default_idle
"""


@pytest.mark.parametrize(
    ("symbol", "where", "kind"),
    [
        ("rep_movs_alternative", "[kernel.kallsyms]", "copies, checksums"),
        ("tcp_v4_rcv", "[kernel.kallsyms]", "network"),
        ("finish_task_switch", "[kernel.kallsyms]", "queues, timers, switching"),
        ("vfs_write", "[kernel.kallsyms]", shares.KERNEL),
        ("_aesni_gcm_encrypt", "libcrypto.so.3", "ciphers"),
        ("nft_do_chain", "[nf_tables]", "filter, NAT, conntrack"),
        ("tcp_something", "iperf3", shares.PROGRAM),
        ("0xffffffffc0a1b2c3", "[unknown]", shares.UNKNOWN),
        ("pv_native_safe_halt", "[kernel.kallsyms]", ""),
    ],
)
def test_a_sample_is_of_the_kind_that_its_symbol_tells(symbol: str, where: str, kind: str) -> None:
    assert shares.kind(symbol, where) == kind


def test_shares_are_of_what_was_not_idle() -> None:
    found = shares.counted(shares.read(LINES.splitlines()))
    assert (found["samples"], found["idle"]) == (620, 380)
    assert found["kinds"]["ciphers"] == pytest.approx(550 / 620)
    assert found["kinds"][shares.PROGRAM] == pytest.approx(20 / 620)
    assert sum(found["kinds"].values()) == pytest.approx(1)
    assert found["most"][0][:2] == ["chacha20_block", "[kernel.kallsyms]"]


def test_the_page_has_seconds_a_gigabyte() -> None:
    one = shares.counted(shares.read(LINES.splitlines())) | {"seconds a gigabyte": 62.0}
    profile = {"arms": {"bare": [one]}, "load": {"before": 0.1, "after": 1.0}, "missing": {}}
    profile |= {"commit": None}
    whole = {"versions": {}, "once": {}, "opens": profile | {"date": "2026-11-26"}}
    lines = report.shares(whole, "opens")
    assert "620 samples" in lines[0]
    assert lines[-1].startswith("| bare tunnel, the limit | 62.0 (62.0 to 62.0) | 55.0 |")
    assert lines[2].startswith("| seconds a gigabyte | whole machine | ciphers |")
    assert report.shares(whole, "shares") == ["Not measured."]
