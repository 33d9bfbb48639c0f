"""Notices: mail and signed webhooks, sent through an outbox and handed over once.

Owns: the outbox; templates and their typed parameters; webhook endpoints with their sealed secrets; the senders of the jobs process; the
record of what was sent.
Must not know: why a notice is sent; vendors and apps beyond their ids; who may confirm an address.
Public verbs: ``put_mail``, ``put_event`` within the caller's unit of work; ``list_notices``, ``get_notice``, ``resend``, ``summary``;
``add_endpoint``, ``list_endpoints``, ``rotate_secret``, ``ping``, ``resume_endpoint``, ``remove_endpoint``.
Invariants:
- A notice exists if and only if its cause committed. One cause yields one notice for each recipient.
- Before the first byte of a mail is sent, it is durable that the mail may have been sent. Such a mail is sent again only if a person asks
  for it.
- Security mail (``models.URGENT``) leaves before all other mail that is due.
- A webhook keeps its id over all attempts.
- A one-time link is stored sealed, and only until its mail is settled.
- No text of a vendor or person becomes a header, markup or an address in a mail.
"""
