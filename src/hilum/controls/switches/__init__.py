"""Controls: kill switches and quotas.

Owns: kill switches (append-only, with reason, actor, target, mode and end); the moments at which full stops ended; quotas per app and
tenant; the token buckets of a process.
Must not know: anything about an app, tenant or person but its id; callers check whether a target exists.
Public verbs: engage, engage_lost, release, confirm_failover, list_switches, judge, set_quota, list_quotas, switch_facts, quota_facts, settle_expired;
live.Buckets.spend.
Invariants:
- Engaging a switch never permits what was stopped.
- When a full stop ends, by release or expiry, what was issued before that end stays invalid.
- A wide switch is released by two different people of the staff.
- A bucket never lets more than burst + rate x time through.
"""
