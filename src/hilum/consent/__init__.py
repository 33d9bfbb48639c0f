"""Consent: who agreed that which client may do what, until when.

Owns: authorizations (a person's own, or the tenant's as a person was told of it), their renewal, narrowing and withdrawal; the plain words
and the choices of a consent page.
Must not know: pages, requests, codes; how tokens are stored (it asks ``tokens.service`` to end them).
Public verbs: ``service.record_authorization``, ``find_standing``, ``find_authorization``, ``list_for_person``,
``withhold``, ``take_back``, ``withdraw``, ``narrow``, ``facts``; ``policy.stands``, ``plain_words``, ``choices``, ``categories_of``, ``apply_ticks``.
Invariants: what is agreed counts for one client, what is declined or withdrawn for every client of the app; what is granted lies within
what was asked; nothing unticked means exactly the scopes asked; a withdrawal ends access and refresh tokens in its own transaction; an
authorization never grows: more is a new agreement.
"""
