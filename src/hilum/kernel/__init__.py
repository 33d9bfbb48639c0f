"""Kernel: the types that every room shares.

Owns: id types, Actor, Decision and its reasons, base errors, the protocols Clock and Ids; spellings that several rooms read and write (``base64url``, ``typed_codes``).
Must not know: anything outside the standard library; no I/O, no clock, no randomness.
Invariants:
- Everything here is a frozen value, a protocol or a pure function.
"""
