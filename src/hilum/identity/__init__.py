"""Identity: hospitals, people, and how they sign in.

Owns: organisations, people and their roles, sessions, passwords, second factors, sign-in through hospitals' identity providers, and the
adding of people.
Must not know: apps and what they may do.
"""
