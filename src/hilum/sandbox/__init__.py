"""Sandbox: hospitals that do not exist, and the EHR in front of them.

Owns: the plan of the synthetic hospitals (who signs in, which charts exist), the generator that turns a plan, a
    seed and a day into FHIR resources, and the other site on which a developer plays EHR.
Must not know: the platform's rooms. It reaches the platform by HTTP like any other EHR; what must stand before that
    is a pure plan in ``policy``, carried out by app.
Public: ``policy.hospitals()``, ``synthesis.hospital.synthesize(plan, seed=, today=)`` and
    ``synthesis.hospital.describe(plan, seed=, today=)``.
Invariants: every resource is tagged as synthetic (HTEST); the same plan, seed and day give the same bytes; every
    reference resolves inside its hospital; no chart id of one hospital exists in another; nobody here ever lived.
"""
