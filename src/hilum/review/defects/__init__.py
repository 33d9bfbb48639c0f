"""Defects: defects of certified apps: the version, where each was first seen, and whether the sandbox could have shown it.

Owns: defects with their tags; the figure of how many escaped to production (K2).
Must not know: how a run is judged, how an app is stopped, pages.
Public verbs: service.report, tag, close, view, list_defects, view_figures; policy.leakage.
Invariants:
- A defect belongs to one version, and where it was first seen never changes.
- A defect first seen in production is closed only after it is tagged: *yes* names or proposes a scenario, *no* says what the sandbox lacks.
- Whoever reported it for the vendor does not tag it.
"""
