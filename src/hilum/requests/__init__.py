"""Requests: what people and vendors ask a hospital for, the hospital's rules that decide it, and its acceptance of wider versions.

Owns: requests, grouped by app; each hospital's ordered rules, which approve, restrict, dismiss or escalate requests, and their dry run;
decisions on groups and their hand-over; what a newer version of an installed app has more, and its acceptance.
Must not know: how an installation is stored and what it requires (installations); how review certifies; enforcement.
Public verbs: service.ask, withdraw, approve, dismiss, hand_over, hand_over_all, announce and their listings; catalogue.list_requestable; rule_sets.put_in_force, try_rules;
versions.compare, accept; policy.decide_request.
Invariants:
- The first rule that matches decides.
- What is unknown escalates and never approves.
- No rule approves more than is certified and the rule book allows at the hospital, nor what was removed, dismissed or stopped there.
- A rule acts under the name of the administrator who put it in force, for as long as they may.
- Nobody decides on what they asked for, and a deactivated person asks for nothing.
- A group is decided once.
"""
