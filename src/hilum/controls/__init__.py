"""Controls: what stops or slows apps, and what needs two people.

Owns: kill switches and quotas as enforcement reads them, and approvals by a second person.
Must not know: why somebody wants to stop an app, and who approves apps.
"""
