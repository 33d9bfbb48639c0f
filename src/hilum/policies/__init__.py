"""Policies: the rule book, which says what each category of app may do at each risk tier.

Owns: the format of the rule book and the one that is shipped; the risk tier of an app; what a book admits; the comparison of two books;
the signed versions, which of them is in force at which tenant, and how that changes; overrides of single rules
and requirements for single apps, and exceptions; how a book stands with its jurisdiction packs.
Must not know: apps, clients, certifications and installations (the rooms above describe an app as an ``Applicant``); how review works.
Public verbs: validate, add_version, adopt_shipped, apply, compare, get_version, list_versions, in_force, list_applications, verify, current,
facts, ask_override, end_override, shown_overrides;
``policy``: assess, admit, tiers_to_certify, cell_of.
Invariants: a book that does not validate is never added, and one that is not as it was signed, or not the one that was applied, decides nothing; what a book does not name it does not allow; more
scopes never lower a tier, and never cost an app what it had; writing orders, medications and notes is always of the high tier; no step of
the regulated lane depends on a fee, a certificate or exclusivity; what allows anything new takes two people and begins at some tenants; an override
ends by itself, and one that is over, altered or of a rule that changed sets nothing aside;
versions and applications are only ever added, each application names the one before it, and no process goes back to an earlier one; a
stored document is read as it was signed and not judged again.
"""
