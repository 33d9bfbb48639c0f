"""Pictures: the logos of apps and hospitals.

Owns: which pictures are accepted, their re-encoded content, and the address at which a shown picture is served.
Must not know: apps and hospitals; who may set a picture. The modules above decide and record that.
Public verbs: policy.read, live.decoded, live.read, service.keep, find, show.
Invariants:
- A served picture was decoded and encoded here, and contains nothing else.
- Nothing is fetched from elsewhere.
- A picture that is not shown yet has no public address.
"""
