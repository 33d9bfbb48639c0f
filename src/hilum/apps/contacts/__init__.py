"""Contacts: proved mail addresses and domains of vendors: an address by a one-time link, a domain by a file that it serves or its TXT record.

Owns: vendors' owner, support and security contacts and their domains; the proofs of both and when these end; one-time links and the page
behind a link; how many such mails a mailbox gets.
Must not know: how mail is sent (notices); what a vendor's apps may do; what a missing proof prevents.
Public verbs: add_contact, send_link, remove_contact, list_contacts, missing_proofs, reached, find_link, confirm, decline, lapse_due,
remind_due; ``domains``: add_domain, list_domains, begin_check, end_check, remove_domain, claim_renewals, lapse_due, proved_contacts.
Invariants:
- Only a person who receives mail at an address can prove it.
- A link is stored as a digest, used once, expires, and ends when a newer one is made.
- A proof ends, and a new one is requested before that.
- No mailbox gets more than MAILS_TO_ONE mails a day, whoever asks.
- An address that declined a vendor gets no more mail about it.
- A domain is proved only by whoever serves its file over https or publishes its TXT record. A failed check ends no proof before its date.
"""
