"""Signin: authentication of people at browsers and of API tokens.

Owns: passwords (argon2); sessions of people and staff; throttling of repeated attempts; API tokens; the sign-in and sign-out pages.
Must not know: apps, launches, OAuth codes and tokens; what a signed-in person may do.
Public verbs: set_password, begin_change, change_password, begin_attempt, complete_attempt, enter_code, pending, finish_pending,
begin_session, session, touch, end_session, end_sessions_of, session_alive, create_api_token, authenticate_api_token, revoke_api_token,
facts; live.hash_password, verify_password.
Invariants:
- Secrets are stored as SHA-256 and passwords as argon2id, only here.
- A session gets a new secret at every sign-in.
- A password alone begins no session for a person who has, or must have, a second factor.
- A token never acts beyond its person's role.
- Failed attempts throttle one name from one address, and no other pair (C57).
"""
