"""Sandbox: the EHR of the synthetic hospitals, on a site of its own.

Owns: the plan of what is registered before it listens (``clients``), the credentials file of its published secrets, the EHR simulator with
its inspector, the card, and the sample apps.
Faults of the synthetic hospitals' FHIR servers are its own too (``faults``): each names who meets it, and ends by itself.
Must not know: the platform's modules. It reaches the platform by HTTP like any other EHR; its people come from ``synthesis``, its records
from ``fhirserver``; what must exist before it listens is a plan that the platform's ``server`` carries out.
Public verbs: ``app.build``, ``faults.FaultBook``, ``faults.with_faults``, ``clients.plan``, ``card.card``, ``credentials.CredentialsFile``.
Invariants: every page says that everyone is synthetic; a public sandbox shows no secret; no cookie of the platform reaches this site.
"""
