"""Contacts: the mail addresses of vendors, each proved by its owner through a one-time link.

Owns: owner, support and security contacts of vendors, their proofs and when these end, one-time links, the page behind a link, and how
many such mails a mailbox gets.
Must not know: how mail is sent (notices), what a vendor's apps may do, what a missing proof prevents.
Public verbs: add_contact, send_link, remove_contact, list_contacts, missing_proofs, find_link, confirm, decline, lapse_due, remind_due.
Invariants: only who receives mail at an address proves it; a link is stored as a digest, used once, expires, and ends with a newer one; a
proof ends, and is asked for again before; nobody can have more than MAILS_TO_ONE mails a day sent to a mailbox; an address that declined a
vendor gets no more mail about it.
"""
