"""Where in an account of Oracle Cloud: its region, and an availability domain in that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from .cloud import first

if TYPE_CHECKING:
    import pulumi_oci.identity as identity
    from pulumi_oci.provider import Provider


def account(name: str, region: str, parent: pulumi.Resource) -> Provider:
    """A provider with the region; it must be told what the usual one reads of ``oci:`` itself."""
    from pulumi_oci.provider import Provider

    config = pulumi.Config("oci")
    return Provider(
        f"{name}-account",
        region=region or config.get("region"),
        tenancy_ocid=config.get("tenancyOcid"),
        user_ocid=config.get("userOcid"),
        fingerprint=config.get("fingerprint"),
        private_key=config.get_secret("privateKey"),
        private_key_path=config.get("privateKeyPath"),
        private_key_password=config.get_secret("privateKeyPassword"),
        config_file_profile=config.get("configFileProfile"),
        auth=config.get("auth"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def domain(compartment: str, shape: str, asked: pulumi.InvokeOutputOptions) -> pulumi.Output[str]:
    """The first availability domain that has the shape: the free ones are in one alone."""
    import pulumi_oci.core as core
    import pulumi_oci.identity as identity

    def with_shapes(found: identity.GetAvailabilityDomainsResult) -> pulumi.Output[str]:
        names = [domain.name for domain in found.availability_domains]
        there = [
            core.get_shapes_output(
                compartment_id=compartment, availability_domain=name, opts=asked
            ).apply(lambda answer: [shape.name for shape in answer.shapes])
            for name in names
        ]

        def pick(shapes: list[list[str]]) -> str:
            fit = [name for name, has in zip(names, shapes, strict=True) if shape in has]
            return first(fit, f"availability domain with {shape}")

        return pulumi.Output.all(*there).apply(pick)

    domains = identity.get_availability_domains_output(compartment_id=compartment, opts=asked)
    placed: pulumi.Output[str] = domains.apply(with_shapes)
    return placed
