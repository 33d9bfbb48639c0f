"""Kill-switch administration: engages and releases kill switches and sets quotas after checking their targets; previews a stop and reports its effect.

Owns: the API of switches and quotas; the checks that a target exists and that both people who release a wide switch are eligible; the
containment report and its verdict.
Must not know: how switches and quotas are stored, decided and followed (controls); enforcement; how journals are read.
Public verbs: engage, release, set_quota, confirmations, report, sign_report, is_signed; previews.preview.
Invariants:
- A report says "contained" only if every worker of every live node has confirmed, every journal was read to its end, and no answer in it is
  later than that.
- No switch is engaged on a target that does not exist: people would rely on a stop that stops nothing.
- A quota is set only for an app that may be installed at the hospital.
"""
