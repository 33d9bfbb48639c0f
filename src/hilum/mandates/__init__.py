"""Mandates: for each backend service at a hospital, the person of that hospital who answers for what it does.

Owns: mandates: the purpose, population and schedule that a named approver agreed to themselves, until an end; the loss of an approver as a
finding, and the grace in which another takes over.
Must not know: agreements of organisations, installations, tokens; how an entry point refuses.
Public verbs: ask, agree, end, get_mandate, list_mandates, mandated_until, follow_approvers.
Invariants: an approver is a person of the hospital, never who asked, and agrees with their own account; what they agreed to never changes,
and another agreement replaces it whole; no token rests on a mandate beyond its end, nor beyond the grace after its approver was lost.
"""
