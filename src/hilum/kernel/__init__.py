"""Kernel: the types that every room shares.

Owns: id types, Actor, Decision and its reasons, base errors, the protocols Clock and Ids.
Must not know: anything outside the standard library; no I/O, no clock, no randomness.
Invariants:
- Everything here is a frozen value or a protocol.
"""
