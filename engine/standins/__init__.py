"""Stand-ins for resource plugins, for machines that cannot download the official ones.

Each is a server of the engine's own protocol, on the stubs that the Pulumi SDK ships. They know
only the resource types this project uses and say so when asked for another.
"""
