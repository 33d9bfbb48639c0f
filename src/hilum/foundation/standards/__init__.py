"""Standards: vocabulary and pure parsers of OAuth 2.0, SMART App Launch and FHIR.

Owns: grammars, error codes and checks that a specification defines. Every rule cites its source.
Must not know: any module, any I/O, the clock, randomness.
Invariants:
- Parsing is total: bad input yields a value that says what is wrong, never an unexpected exception.
"""
