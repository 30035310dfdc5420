"""Machines that providers rent out: a module for each, and ``cloud`` for what they share."""
