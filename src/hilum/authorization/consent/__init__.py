"""Consent: who agreed to which scopes for which client, until when.

Owns: authorizations (a person's own, or the tenant's, for which the person saw a notice), their renewal, narrowing and withdrawal; their
versions and the export as FHIR Consent; the descriptions and checkboxes of a consent page.
Must not know: pages, requests, codes; how tokens are stored (it asks ``tokens.service`` to end them).
Public verbs: ``service.record_authorization``, ``find_in_force``, ``find_covering``, ``find_agreed``, ``find_authorization``,
``list_for_person``, ``withhold``, ``take_back``, ``withdraw``, ``narrow``, ``set_charts``, ``export``, ``facts``; ``policy.is_in_force``,
``plain_words``, ``choices``, ``categories_of``, ``apply_ticks``.
Invariants:
- An agreement holds for one client; what is declined or withdrawn is so for every client of the app.
- Granted scopes are within the requested ones. If nothing is unticked, exactly the requested scopes are granted.
- A withdrawal ends access and refresh tokens, and asks for deletion request, in its own transaction.
- An authorization never grows: more access is a new authorization.
- An authorization for a chart ends no later than the person's access to that chart.
"""
