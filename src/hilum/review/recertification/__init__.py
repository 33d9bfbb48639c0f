"""Revalidation: checks whether certified apps are still as they were reviewed, and acts on what it finds.

Owns: the nightly round over all certified apps; findings with their deadlines; how far each app has was escalated; whether its service
meets its entry's criteria; the figures of current certificates, exceptions and over-request (K5, K14, K17).
Must not know: how review decides; how mail is sent; prices and plans.
Public verbs: service.next_batch, finish, ask, climb, list_findings, view_finding, view_figures, progress, currency,
list_seen_at; policy.follow, level_due; drift.outside; jobs.run.
Invariants:
- Only the jobs process fetches addresses, with no transaction open.
- The results of one app are stored, with their consequences, in one transaction that also advances the round, so nothing happens twice.
- An address that fails once is no finding. A finding stays until its address can be fetched again.
- The platform climbs by itself only as far as the app's entry says, and climbs down by itself once no finding requires the level.
"""
