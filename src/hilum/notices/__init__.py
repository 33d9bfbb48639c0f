"""Notices: mail and signed webhooks, which leave through an outbox and are handed over once.

Owns: the outbox, templates and their typed parameters, webhook endpoints with their sealed secrets, the senders of the jobs process, and
the record of what was sent.
Must not know: why a notice is sent, vendors and apps beyond their ids, who may confirm an address.
Public verbs: ``put_mail``, ``put_event`` within the caller's unit of work; ``list_notices``, ``get_notice``, ``resend``, ``summary``;
``add_endpoint``, ``list_endpoints``, ``rotate_secret``, ``ping``, ``resume_endpoint``, ``remove_endpoint``.
Invariants: a notice exists if and only if the change that caused it committed; one cause yields one notice for each recipient; no byte of
a mail leaves before it is durable that it may have left; a mail that may have left is never sent again unless a person asks for it; a
webhook keeps its id over all attempts; a one-time link is stored sealed, and only until its mail is settled; no text of a vendor or person
becomes a header, markup or an address in a mail.
"""
