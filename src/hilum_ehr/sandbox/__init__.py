"""Sandbox: the EHR in front of hospitals that do not exist, on a site of its own.

Owns: the plan of what is registered before it listens (``clients``), the wallet of its published secrets, the EHR simulator with
its inspector, the card, and the sample apps.
Must not know: the platform's rooms. It reaches the platform by HTTP like any other EHR; its people come from ``synthesis``, its records from
``fhirserver``; what must stand before it listens is a pure plan that app carries out.
Public verbs: ``app.build``, ``clients.plan``, ``card.card``, ``wallet.Wallet``.
Invariants: every page says that everyone is synthetic; a public sandbox shows no secret; no cookie of the platform reaches this site.
"""
