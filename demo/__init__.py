"""What ``make up`` and ``make demo`` show: the stack's outputs, and a page through the relay."""
