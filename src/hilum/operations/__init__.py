"""Operations: how the platform is run from day to day.

Owns: kill switches and quotas as people use them, drills, dry runs of the policy, monitoring with its alerts, and incidents.
Must not know: pages and commands. Nothing here is needed to answer a request: enforcement reads ``controls`` and the snapshot.
"""
