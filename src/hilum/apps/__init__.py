"""Apps: vendors, their apps, and where these may be used.

Owns: vendors and members, apps, versions, clients and contacts; agreements; installations at hospitals, the people who answer for backend
services, requests to delete data, and notices of what ends.
Must not know: prices and revenue, by an import rule (security decision 18); how a review is decided.
"""
