"""How a Pulumi engine is had on this machine: found, installed, or built from Go modules."""
