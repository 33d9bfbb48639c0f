"""Standards: the words and pure parsers of OAuth 2.0, SMART App Launch and FHIR.

Owns: grammars, error codes and checks that a specification defines; every rule cites its source.
Must not know: any room, any I/O, the clock, randomness.
Invariant: parsing is total: bad input is a value that says what is wrong with it, never an exception from below.
"""
