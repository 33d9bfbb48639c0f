"""Authorization: who may get a token for what, and whether an app may act at all.

Owns: launches, the authorize and token endpoints, tokens, consent, eligibility (the one judgement that every endpoint asks), and
emergency access.
Must not know: how a FHIR request is judged.
"""
