"""Consent: who agreed to which scopes for which client, until when.

Owns: authorizations (a person's own, or the tenant's, of which the person saw a notice), their renewal, narrowing and withdrawal; the
descriptions and choices of a consent page.
Must not know: pages, requests, codes; how tokens are stored (it asks ``tokens.service`` to end them).
Public verbs: ``service.record_authorization``, ``find_in_force``, ``find_agreed``, ``find_authorization``, ``list_for_person``,
``withhold``, ``take_back``, ``withdraw``, ``narrow``, ``facts``; ``policy.is_in_force``, ``plain_words``, ``choices``, ``categories_of``, ``apply_ticks``.
Invariants: what is agreed counts for one client, what is declined or withdrawn for every client of the app; granted scopes are within the
requested ones; if nothing is unticked, exactly the requested scopes are granted; a withdrawal ends access and refresh tokens in its own
transaction; an authorization never grows: more is a new one.
"""
