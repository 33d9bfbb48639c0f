"""Switchboard: engage and release kill switches and set quotas, with their targets checked.

Owns: the API of switches and quotas; the checks that a target exists and that both people who release a wide switch are eligible.
Must not know: how switches and quotas are stored, decided and followed (controls); what enforcement does with them.
Public verbs: engage, release, set_quota.
Invariants: no switch is engaged on a target that does not exist, because it would stop nothing while people relied on it; a quota is set
only for an app that may be installed at the hospital.
"""
