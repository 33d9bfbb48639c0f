"""The policy: what an app of a category and risk tier may do.

Owns: the documents of the policy matrix, their signed versions, scope products, workflows, tiers and exceptions.
Must not know: apps, vendors and hospitals as records; it judges values that others hand over.
"""
