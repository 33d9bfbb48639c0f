"""Defects of certified apps: which version has one, where it was first seen, and whether the sandbox could have shown it.

Owns: the record of defects with their tags, and the figure of how many escaped to production (K2).
Must not know: how a run is judged, how an app is stopped, pages.
Public verbs: service.report, tag, close, view, list_defects, view_figures; policy.leakage.
Invariants: a defect is of one version, and where it was first seen never changes; one that was first seen in production is closed only once it
is said whether the sandbox could have shown it: yes names or proposes a scenario, no says what the sandbox lacks; who reported it for
the vendor does not tag it.
"""
