"""Kernel: the types that every module shares.

Owns: id types, Actor, the reasons of a refusal, base errors, the protocols Clock and Ids; pages and cursors of lists; sentences that can be
translated; immutable collections; spellings that several modules read and write (``base64url``, ``typed_codes``).
Must not know: anything outside the standard library; no I/O, no clock, no randomness.
Invariants:
- Everything here is a frozen value, a protocol or a pure function.
"""
