"""Console: the pages by which people run the platform: /operations for the staff, /review for reviewers, /tenant for a hospital's administrators, /developer for vendors.

Owns: the shell, the lists, the confirmations and the words of the consoles; which role opens which page (``policy.PAGES``); the stream that
    says when a page is out of date; the public pages of how apps are certified and of a certificate (``trust``). ``catalogue`` lists the pages;
    each console has a folder of its own, which knows no other: pages that several have are in ``shared``, what their pages are made of in ``parts``.
Must not know: how anything is stored or decided. A page calls the verb of a room's service that the API's route calls, and nothing else.
Public: ``routes.pages``; ``policy.PAGES`` is the matrix of roles and pages.
Invariants: a page opens for a signed-in person of its console with one of its roles, and for nobody whom only an EHR vouched for; whoever may
    not open it learns nothing of what is there; an act is a POST with the token of its page, judged again in the transaction that does it, as
    of then; a read of the audit is recorded before it is shown, as at the API; texts by others are escaped and never markup; every page works
    without script; a list that grows has an order for each column that one would look for, and one of few rows, a journal and a column of few
    values, which is a filter, have none; the public pages take no credential, and cost no more than what a minute keeps.
"""
