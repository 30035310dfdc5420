"""Throw-away VMs that play a VPS and a home server on one Linux machine.

A program of its own (``python3 -m lab``): standard library only, no account, no cloud, and no
knowledge of what is installed in the VMs. See ``python3 -m lab --help``.
"""
