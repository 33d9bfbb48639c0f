"""Requests: what people of a hospital and vendors ask a hospital for, its rules that decide that, and its acceptance of wider versions.

Owns: requests, grouped by app; each hospital's ordered rules, which approve, restrict, dismiss or escalate requests, and their dry run;
decisions on groups and their hand-over; what a newer version of an installed app has more, and its acceptance.
Must not know: how an installation is stored and what it takes (installations); how review certifies; what enforcement does.
Public verbs: service.ask, withdraw, approve, dismiss, hand_over, hand_over_all and their listings; rule_sets.put_in_force, try_rules;
versions.compare, accept; policy.decide_request.
Invariants: the first rule that matches decides; what is not known escalates and never approves; no rule approves more than is certified
and the rule book allows at the hospital, nor what was removed, dismissed or stopped there; a rule acts under the name of the
administrator who put it in force, while they may; nobody decides on what they asked for; who was deactivated asks for nothing; a group
is decided once.
"""
