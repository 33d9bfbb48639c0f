"""Surfaces: how people and programs reach the platform's actions.

Owns: the command line, the consoles of staff, hospitals, vendors and reviewers, and the guides. They show what services return, and call
services for every change; they decide nothing.
Must not know: SQL, and how an endpoint of OAuth or FHIR works.
"""
