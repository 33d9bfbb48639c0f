"""Review: whether a version of an app is certified, and stays it.

Owns: submissions and their decisions, certification runs in the sandbox, certificates, recertification, undeclared use, and defects.
Must not know: prices and revenue, by an import rule (security decision 18).
"""
