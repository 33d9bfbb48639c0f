"""Service owners: for each backend service at a hospital, the person there who answers for it.

Owns: service owners: the purpose, population and schedule that a named approver agreed to, and until when; the loss of an approver as a finding,
with its grace.
Must not know: agreements of organisations; installations; tokens; how an entry point refuses.
Public verbs: ask, agree, end, get_service_owner, list_service_owners, answered_until, follow_approvers.
Invariants:
- An approver is a person of the hospital, never the one who asked, and agrees with their own account.
- The terms never change; another service owner replaces them as a whole.
- No token outlives its service owner, or the grace after the approver was lost.
"""
