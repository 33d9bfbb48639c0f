"""Console: the pages with which people run the platform: /operations for staff, /review for reviewers, /tenant for a hospital's administrators, /developer for vendors.

Owns: the shell, lists, confirmations and texts of the consoles; which role opens which page (``policy.PAGES``); the stream that reports
when a page is out of date; the public pages about certification and certificates (``trust``).
Must not know: how anything is stored or decided. A page calls the service verb that the API's route calls, and nothing else.
Public: ``routes.pages``; ``policy.PAGES`` is the matrix of roles and pages.
Invariants:
- A page opens for a signed-in person of its console with one of its roles, and never for somebody whom only an EHR vouched for.
- Whoever may not open a page learns nothing about its content.
- An act is a POST with the page's token, and is judged again in the transaction that does it.
- A read of the audit is recorded before it is shown, as in the API.
- Other people's texts are escaped, and never markup.
- Every page works without script.
- A list that grows can be ordered by each column that people search by. Short lists, journals and columns with few values, which are
  filters, cannot.
- Public pages take no credential, and cost no more than one computation a minute.
"""
