"""Simulators of outsiders: the clock, chance, other FHIR servers, hosts of keys. Never of our own rooms."""
