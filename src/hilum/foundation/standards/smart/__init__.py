"""SMART App Launch 2.2 as pure values: scopes, launch parameters, fhirContext.

Owns: the grammar of scopes (v2, and v1 parsed into it), their algebra, the rules of launch parameters.
Must not know: actors, storage, any I/O.
Invariant: ``intersect`` never yields more than both sides cover; text that does not parse is refused.
"""
