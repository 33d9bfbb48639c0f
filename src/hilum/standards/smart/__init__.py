"""The words of SMART App Launch 2.2 as pure values: scopes, launch parameters, fhirContext.

Owns: the grammar of scopes (v2, and v1 parsed into it), their algebra, the rules of launch parameters.
Must not know: who asks, what is stored, any I/O.
Invariant: ``intersect`` never yields what both sides do not cover; what does not parse is refused.
"""
