"""Federation: sign-in through a hospital's own identity provider, by OpenID Connect.

Owns: the hosts that may serve identity providers; each hospital's providers; the accounts of a provider's subjects; the sessions that a
provider began; used logout tokens.
Must not know: apps, launches, OAuth codes and tokens of this platform; passwords (signin).
Public verbs: add_provider, change_provider, view_provider, list_providers, add_host, remove_host, list_hosts, link, unlink, list_links,
judge_return, complete_return, offers, begin_logout, end_by_provider; live.Providers (metadata, keys, redeem).
Invariants:
- A person is (issuer, subject), never an address or a name.
- No provider signs in the platform's staff, another hospital's people, or an account whose role is not in its list.
- A claim that a provider does not send is refused, not assumed.
- State, nonce and logout tokens work once.
"""
