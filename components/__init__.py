"""The relay: a Pulumi component and the pure core under it."""
