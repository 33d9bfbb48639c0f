"""Revalidation: whether what is certified is still as it was reviewed, and what follows if it is not.

Owns: the nightly round over all certified apps, findings with their deadlines, how far each app has climbed the ladder, how it stands
by what its cell asks of its service, the figures of current certificates, exceptions and over-request (K5, K14, K17).
Must not know: how vendors begin, how review decides, how mail is sent, prices and plans.
Public verbs: service.next_batch, finish, ask, climb, list_findings, view_finding, view_early, view_figures, progress, currency, list_seen_at; policy.follow, rung_due; drift.outside; jobs.run.
Invariants: only the jobs process looks at addresses, with no transaction open; an app's look is stored, with what follows, in one transaction
that also moves the round on, so nothing happens twice; what could not be seen once is no finding, and what cannot be seen is not mended;
the platform climbs by itself only as far as the app's cell says, and climbs down by itself once nothing asks for it.
"""
