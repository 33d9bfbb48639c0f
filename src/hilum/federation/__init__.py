"""Federation: sign-in through a hospital's own identity provider, by OpenID Connect.

Owns: the list of hosts that may serve identity providers, the providers of each hospital, who a provider's subjects are here, which
sessions a provider began, and the tokens of logout that were used.
Must not know: apps, launches, OAuth codes and tokens of this platform; passwords (signin).
Public verbs: add_provider, change_provider, view_provider, list_providers, add_host, remove_host, list_hosts, link, unlink, list_links,
begin_return, complete_return, offers, begin_logout, end_by_provider; live.Providers (metadata, keys, redeem).
Invariants: a person is (issuer, subject), never an address or a name; no provider signs in the platform's staff, another hospital's
people or an account of a role outside its list; what a provider does not state is refused; state, nonce and logout tokens work once.
"""
