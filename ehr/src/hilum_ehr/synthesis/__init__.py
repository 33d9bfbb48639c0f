"""Synthesis: invented people as FHIR R4 resources.

Owns: the plans of the sandbox's hospitals with their casts and hand-written charts, and the seeded generator that turns a plan into a
coherent hospital: clinical state first, resources from it.
Must not know: the platform, HTTP, stores, the clock; seed and day are arguments.
Public verbs: ``policy.hospitals``, ``hospital.synthesize``, ``hospital.describe``.
Invariants: the same plan, seed and day produce the same bytes; every resource is marked synthetic; no id is shared between hospitals.
"""
