"""Controls: what stops and what slows.

Owns: kill switches (append-only, with reason, actor, target, mode and end), the moments at which full stops ended,
quotas per app and tenant, the token buckets of a process.
Must not know: what an app, a tenant or a person is beyond its id; whether a target exists is the caller's to check.
Public verbs: engage, release, list_switches, judge, set_quota, list_quotas, switch_facts, quota_facts, settle_expired; live.Buckets.spend.
Invariants: engaging never turns stopped into not stopped; after a full stop has ended, by release or by expiry, what was
issued before its end stays dead; a wide switch is released by two different people of the staff; a bucket never lets more
than burst + rate x time through.
"""
