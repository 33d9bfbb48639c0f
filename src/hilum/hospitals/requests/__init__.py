"""Requests: what people and vendors ask a hospital for, and its acceptance of wider versions.

Owns: requests for apps and how a hospital decided them; what a newer version of an installed app has more, and its acceptance.
Must not know: how an installation is stored and what it requires (installations); how review certifies; enforcement.
Public verbs: service.ask, withdraw, approve, decline, preview, announce, purge and their listings; catalogue.list_requestable;
versions.compare, accept.
Invariants:
- Only administrators of the hospital decide, and nobody decides on what they asked for.
- A request is decided once.
- An approval gives no more than is certified and the policy allows at the hospital.
- A deactivated person asks for nothing.
"""
