"""The generator of synthetic patients: state first, then what follows from it.

A life (age, illnesses with their onset, drugs, kidneys, growth) is drawn before anything is written down; laboratory
results, vital signs and notes are then computed from it by known identities, so that a chart agrees with itself.
Pure: no clock, no I/O, and randomness only from instances seeded by the plan. ``hospital.synthesize`` is the one
entrance. Terminology codes stand here as facts; no CPT, whose texts are not free.
"""
