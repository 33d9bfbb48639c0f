"""Beginnings: how hard it is for a vendor to begin, from its sign-up to the first token in a sandbox and the first answer from FHIR (K11).

Owns: of each vendor that signed up within a year how far it came and its refused tries, how far that was followed, and the figure made of it.
Must not know: what a vendor submits, what is certified and whether that holds, pages.
Public verbs: service.follow_signups, follow_vendors, follow_refusals, view_figure; policy.friction_figure; jobs.follow.
Invariants: a moment is that of the record that shows it, whenever it is looked for; a refused try is counted once, however often the job runs;
whoever read something is followed no more.
"""
