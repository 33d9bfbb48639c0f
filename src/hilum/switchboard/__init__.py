"""Switchboard: engage and release kill switches and set quotas, with their targets checked; show what a switch would stop and report what it did.

Owns: the API of switches and quotas; the checks that a target exists and that both people who release a wide switch are eligible; the
containment report and its verdict.
Must not know: how switches and quotas are stored, decided and followed (controls); what enforcement does with them; how journals are read.
Public verbs: engage, release, set_quota, confirmations, report, sign_report, is_signed; previews.preview.
Invariants: a report says "contained" only if every worker of every node that was live has confirmed, every journal was read to its end, and
none of them has an answer from after that; no switch is engaged on a target that does not exist, because it would stop nothing while people relied on it; a quota is set
only for an app that may be installed at the hospital.
"""
