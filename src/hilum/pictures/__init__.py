"""Pictures: the logos of apps and hospitals, as they are stored and served.

Owns: what a picture may be, and what it looks like, its content as it was re-encoded, the address at which a picture that is shown is served.
Must not know: apps and hospitals, and who may give a picture to one; rooms above it decide that and record it.
Public verbs: policy.read, live.decoded, live.read, keep, find, show, alike, note_looks.
Invariants: what is served was decoded and encoded here and has nothing else in it; nothing is fetched from elsewhere; a picture that is
not shown yet has no public address.
"""
