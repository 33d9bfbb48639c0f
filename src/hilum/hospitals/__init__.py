"""Hospitals: what a hospital does with the apps it allows, and how it leaves.

Owns: requests for apps and their decision, the accounting of disclosures for patients, offboarding with export and erasure, and the
synthetic hospitals that vendors have of their own.
Must not know: how a request to a FHIR server is judged.
"""
