"""Records: what happened, provably, and who is notified.

Owns: the audit with its chain, checkpoints and access journal, signing keys, and the outbox of mail and webhooks.
Must not know: what the recorded actions mean.
"""
