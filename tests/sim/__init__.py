"""Simulators of what is outside: the clock, randomness, other FHIR servers, hosts of keys. Never of our own modules."""
