"""Sunsets: notice of scopes that end, to those who have them (C62), of what another policy changes at a hospital, and of unused credentials (C180, C219).

Owns: which notices are due; who has a scope that ends; how applying a policy affects a hospital's apps; how far the walks over hospitals
and vendors came.
Must not know: how mail is sent; who may deprecate a scope or apply a policy; what ends at the gateway (policies and the modules that enforce
it).
Public verbs: service.step, notify_next; unused.propose_removal.
Invariants:
- For each end, a hospital's administrators and a vendor's proved contacts get one mail for each stage (announced; 60, 30 and 7 days before;
  ended), never a second one. A missed stage is not sent late.
- A hospital gets one mail about each application that changes something for an app there, and none about others.
- The mails of a place and the record of the walk commit together.
"""
