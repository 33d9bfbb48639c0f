"""Policies: the policy, which says what each category of app may do at each risk tier.

Owns: the format of the policy and the shipped one; the risk tier of an app; what a policy admits; the comparison of two policies; the signed
versions, which of them is in force at which tenant, and how that changes; exceptions for single apps; how a policy meets its jurisdiction packs.
Must not know: apps, clients, certifications and installations (the modules above describe an app as an ``Applicant``); how review works.
Public verbs: validate, add_version, adopt_shipped, apply, compare, get_version, list_versions, in_force, list_applications, verify,
current, facts, require_exception, add_exception, end_exception, shown_exceptions; ``policy``: assess, admit, tiers_to_certify, entry_of.
Invariants:
- A policy that does not validate is never added. One whose signature does not match, or that is not the one applied, decides nothing.
- What a policy does not name is not allowed.
- More scopes never lower a tier, and never cost an app what it had.
- Writing orders, medications and notes is always of the high tier.
- No step of the regulated lane depends on a fee, a certificate or exclusivity.
- What allows anything new takes two people and begins at some tenants.
- What loosens something for one app ends by itself. One that is over, or for a rule that changed, has no effect. What only removes access ends by a person.
- Versions and applications are only added; each application names the one before it, and no process goes back to an earlier one.
- A stored document is read as it was signed and not validated again.
"""
