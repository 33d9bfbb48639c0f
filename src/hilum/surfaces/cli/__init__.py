"""Command line: ``hilum``, one file a noun.

Owns: arguments, output, exit codes (0 done, 1 refused, 2 misused), progress bars, ``--json``.
Must not know: rules. It calls services on the host (``init serve migrate backup restore doctor``, ``audit verify``, ``keys rotate``,
``sandbox``, and every command with ``--local``) or the API ``/api/v1`` with a token.
Invariants:
- Host commands act as ``host:<user>``, who never counts as a second person.
"""
