"""A tunnel in a container, and services in that container's network."""

from __future__ import annotations

from functools import cache

import yaml

# What wg-quick and the commands of homeConfig run; bash, as PID 1, takes the tunnel down again.
DOCKERFILE = """\
FROM debian:12-slim
RUN apt-get update \\
 && apt-get install -y --no-install-recommends iproute2 iptables nftables procps wireguard-tools \\
 && rm -rf /var/lib/apt/lists/*
CMD ["bash", "-c", "trap 'wg-quick down {wg}' EXIT; trap 'exit 0' TERM INT; \
wg-quick up {wg} && {{ sleep infinity & wait; }}"]
"""


def compose(config: str, wg: str) -> dict[str, str]:
    """A folder for ``docker compose up``; ``config`` is home's ``home_config``.

    Only the network namespace is the container's, so all of the return path works as it is. The
    second service is an example: it names the address of its caller.
    """
    return {
        "compose.yaml": _services(),
        "Dockerfile": DOCKERFILE.format(wg=wg),
        ".dockerignore": "*\n",  # keys are no part of an image
        f"{wg}.conf": config,
    }


@cache
def _services() -> str:
    """Every home's, so it is written once: of 250 homes that is a tenth of the program's time."""
    document = {
        "services": {
            "tunnel": {
                "build": ".",
                "cap_add": ["NET_ADMIN"],
                # A container may not write these itself.
                "sysctls": {
                    "net.ipv4.ip_forward": "1",
                    "net.ipv4.conf.all.src_valid_mark": "1",
                },
                "volumes": [".:/etc/wireguard:ro"],
                "restart": "unless-stopped",
            },
            "example": {
                "image": "traefik/whoami",
                "command": ["--port", "8080"],
                "network_mode": "service:tunnel",
                "depends_on": ["tunnel"],
                "restart": "unless-stopped",
            },
        }
    }
    return yaml.safe_dump(document, sort_keys=False)
