"""Kernel: the types that every room shares.

Owns: id types, Actor, Decision and its reasons, base errors, the Clock and Ids protocols, Money's absence of floats.
Must not know: anything outside the standard library; no I/O, no clock, no randomness.
Invariant: everything here is a frozen value or a protocol.
"""
