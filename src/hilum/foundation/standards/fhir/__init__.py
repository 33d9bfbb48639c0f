"""FHIR R4 (4.0.1): tables and pure parsers.

Owns: the tables derived from HL7's definitions (elements, value sets, search parameters, the patient compartment), the
compiler of search expressions, dates, numbers and search values; the parsing of FHIR requests, visibility and outcomes.
Must not know: HTTP frameworks, databases, tenants, tokens.
Invariant: everything here is a pure function of its arguments and of tables that never change at run time.
"""
