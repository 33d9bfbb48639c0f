"""Standards: vocabulary and pure parsers of OAuth 2.0, SMART App Launch and FHIR.

Owns: grammars, error codes and checks that a specification defines; every rule cites its source.
Must not know: any room, any I/O, the clock, randomness.
Invariant: parsing is total: bad input yields a value that says what is wrong with it, never an unexpected exception.
"""
