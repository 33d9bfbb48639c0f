"""Command line: ``hilum``, one file a noun.

Owns: parsing arguments, printing answers, exit codes (0 done, 1 refused, 2 misused), progress bars, ``--json``.
Must not know: rules; it calls services on the host (``init serve migrate backup restore doctor``, ``audit verify``, ``keys rotate``, ``keys attest``,
``sandbox``, and what has ``--local``) or the API ``/api/v1`` with a token.
Invariant: host commands act as ``host:<user>``, who is never a second person.
"""
