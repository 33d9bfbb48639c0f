"""Agreements: what a vendor and a hospital's legal entity signed, before the vendor's apps may be used there.

Owns: agreements with their kind, parties, dates and the digest of the document; who recorded and who confirmed them; their lapse as a
finding, and the notices before it; which kinds an app needs at a hospital, by the rule book's cells.
Must not know: the documents themselves; where an app is installed, and how an entry point refuses it.
Public verbs: add, confirm, end, get_agreement, list_agreements, kinds_in_force, missing_for_app, follow_due; policy.missing.
Invariants: an agreement counts only once a person of each organisation has agreed to it, both about the same document; whether it is in
force is judged when it is used, so that a lapse waits for no job; a lapse that no other agreement covers stays a finding until one does.
"""
