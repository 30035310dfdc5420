"""What the benchmark of the packet hooks counts of perf's samples."""

from __future__ import annotations

from bench.hooks import counted

SAMPLES = """\
wireguard  71
\tffffffff81f9 nft_do_chain
\tffffffff81fa nf_hook_slow
\tffffffff81fb ip_forward

iperf3 500
\tffffffff81f8 nf_conntrack_in
\tffffffff81fa nf_hook_slow

wireguard  72
\tffffffff81f9 nft_do_chain
\tffffffff81fa nf_hook_slow

Web Content  71
\tffffffff8200 udp_sendmsg
"""


def test_samples_are_those_of_the_arm_by_part() -> None:
    """Process 72 is of another arm, or another program's."""
    assert counted(SAMPLES, {71}) == {"all": 3, "hooks": 2, "chains": 1, "conntrack": 1}
