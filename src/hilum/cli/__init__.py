"""Command line: ``hilum``, one file a noun.

Owns: parsing words, printing answers, exit codes (0 done, 1 refused, 2 misused), progress bars, ``--json``.
Must not know: rules; it asks services on the host (``init serve migrate backup restore doctor``, ``audit verify``,
``switch engage --local``) or speaks ``/api/v1`` with a token.
Invariant: host commands act as ``host:<user>``, who is never a second person.
"""
