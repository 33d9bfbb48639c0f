"""Switchboard: engaging and releasing kill switches and setting quotas, for people who name apps, hospitals and persons.

Owns: the API of switches and quotas; that what a switch or quota names is there; that two people who release a wide switch both count.
Must not know: how switches and quotas are kept, judged and followed (controls); what enforcement does with them.
Public verbs: engage, release, set_quota.
Invariants: nothing is engaged on a target that is not there, since it would stop nothing and comfort everybody; a quota is set only for
an app that may be at the hospital.
"""
