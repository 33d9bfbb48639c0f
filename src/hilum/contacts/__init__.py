"""Contacts: how vendors are reached, proved: mail addresses through a one-time link, domains through a file that they serve or their TXT record.

Owns: owner, support and security contacts of vendors and their domains, the proofs of both and when these end, one-time links, the page
behind a link, and how many such mails a mailbox gets.
Must not know: how mail is sent (notices), what a vendor's apps may do, what a missing proof prevents.
Public verbs: add_contact, send_link, remove_contact, list_contacts, missing_proofs, reached, find_link, confirm, decline, lapse_due, remind_due;
``domains``: add_domain, list_domains, begin_check, end_check, remove_domain, claim_renewals, lapse_due, proved_contacts.
Invariants: only who receives mail at an address proves it; a link is stored as a digest, used once, expires, and ends with a newer one; a
proof ends, and is asked for again before; nobody can have more than MAILS_TO_ONE mails a day sent to a mailbox; an address that declined a
vendor gets no more mail about it; a domain is proved only by who serves its file over https or publishes its TXT record, and a check that fails ends no proof
before its date.
"""
