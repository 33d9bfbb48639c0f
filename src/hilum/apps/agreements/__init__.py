"""Agreements: what a vendor and a hospital's legal entity signed before the vendor's apps may be used there.

Owns: agreements with their kind, parties, dates and document digest; who recorded and who confirmed each; the notices before one ends, and
the findings after; which kinds the policy's entry requires of an app at a hospital.
Must not know: the documents themselves; where an app is installed; how an entry point refuses.
Public verbs: add, confirm, end, get_agreement, list_agreements, kinds_in_force, missing_for_app, follow_due; policy.missing.
Invariants:
- An agreement takes effect once a person of each organisation has agreed to the same document.
- Whether it is in force is decided at each use, so a lapse takes effect without a job.
- A lapse stays a finding until another agreement covers it.
"""
