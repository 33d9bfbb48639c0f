"""Faults of fields: stable codes, which the rooms return, and the sentence of each code.

Source: RFC 9457 section 3.2, extension members: ``fields`` maps a field's name to a code and a sentence.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

INVALID = "invalid"
SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        INVALID: "This value cannot be accepted.",
        "missing": "This field is required.",
        "field_unknown": "There is no such field here. Check its spelling.",
        "wrong_type": "This value has another type than the field.",
        "malformed": "This value does not have the form of the field.",
        "category_unknown": "The rule book has no such category. `hilum policy show` lists them.",
        "workflow_unknown": "The rule book names no such workflow. `hilum policy show` lists them.",
        "rule_unknown": "The rule book in force there has no such rule. `hilum policy show --document` lists them.",
        "rule_not_overridable": "This rule cannot be overridden. `hilum policy show --document` shows the level of each rule.",
        "tier_not_raised": "The tier is that already, or higher. Only a higher one can be set so.",
        "tier_not_lowered": "The computed tier is that already, or lower.",
        "tier_raised": "A reviewer raised the tier of this version. It can be lowered once that is ended.",
        "not_autonomous": "This version declares no AI that acts alone, so there is nothing to allow.",
        "model_missing": "The model is required.",
        "ai_purpose_missing": "What the model is for is required.",
        "human_step_missing": "What a person does before anything comes of it is required.",
        "human_step_contradictory": "An AI that acts alone has no human step.",
        "model_card_missing": "The rule book requires the card of a model in this category, and a card has an address and a digest.",
        "not_a_sha256": "This is no SHA-256: 64 hexadecimal digits in small letters.",
        "tenant_repeated": "A hospital is named twice.",
        "hospital_repeated": "A hospital is in one ring only.",
        "last_is_everywhere": "The last ring is everywhere and names no hospital; each of the others names some.",
        "dwell_out_of_range": "Each ring dwells for an hour to 21 days.",
        "shorter_than_soak": "The rings before the last dwell for less time than what allows something new must be tried.",
        "canary_acts_for_people": "A canary is a backend service: it acts for nobody.",
        "canary_reaches_patients": "A canary only reads records that belong to no patient, such as system/Organization.rs.",
        "canary_has_other_clients": "The app of a canary has no other client, which a drill would stop too.",
        "canary_installed_elsewhere": "A canary is installed at the hospital of the drill and nowhere else.",
        "too_late": "This is later than the rule book allows. Choose an earlier moment.",
        "workflow_not_allowed": "The app may not do this workflow at the hospital: its versions do not declare it, or the rule book does not allow it.",
        "rule_name_malformed": "A rule's name has up to 40 small letters, digits and dashes.",
        "never_holds": "No tier is that high and that low.",
        "limit_missing": "A rule that restricts needs a limit: only_scopes, only_roles or for_days.",
        "of_another_action": "This belongs to another action.",
        "person_no_administrator": "This person is no active administrator of the hospital.",
        "already_installed": "The app is installed already and keeps its end. Leave this out.",
        "not_new": "This is not among what the newer version has more.",
        "placement_unknown": "The rule book names no such placement. `hilum policy show` lists them.",
        "category_unchanged": "The app is of this category already.",
        "category_of_a_peer": "A hospital's EHR or resource server is no app and has no category.",
        "sandbox_only": "Apps of this category are certified for the sandbox only. Give the app another category first.",
        "category_closed": "The rule book admits no new apps in this category.",
        "tier_not_allowed": "The rule book does not allow the risk tier of these scopes in the app's category.",
        "not_an_option": "This value is not one of those that the field accepts.",
        "out_of_range": "This number or period is too small or too large.",
        "agreement_kind_unknown": "Neither Hilum nor the rule book knows this kind of agreement. `hilum policy show --document` lists those that it needs.",
        "agreements_missing": "Vendor and hospital have no agreement in force of every kind that this app needs.",
        "digest_malformed": "This is no SHA-256: 64 digits from 0-9 and a-f, as `sha256sum` prints.",
        "approver_is_a_text": "Leave the approver out: each hospital names a person of its own, who agrees themselves (`hilum mandate ask`).",
        "approver_unsuitable": "The approver is an active person of this hospital: a physician, nurse, analyst or administrator.",
        "approver_is_you": "Whoever asks is not the approver: name a colleague.",
        "not_a_backend_service": "This is no client of a backend service.",
        "client_over": "The end date of this client has passed. The vendor registers another one.",
        "after_the_client_ends": "This is after the end date of the client.",
        "document_differs": "This is not the SHA-256 of the document that was recorded.",
        "parties_missing": "Name at least two parties, as the document names them.",
        "ends_before_it_begins": "The end must be after the beginning.",
        "too_long": "This text is too long.",
        "too_short": "This text is too short.",
        "too_many": "This list has too many entries.",
        "empty": "This list is empty.",
        "sent_twice": "This field was sent twice. Send it once.",
        "named_twice": "This list has the same entry twice.",
        "not_a_text": "This is not a text, or it is too long.",
        "not_a_list_of_texts": "This is not a list of texts, or it has too many entries.",
        "not_in_the_future": "This moment has passed. Choose a later one.",
        "too_far_away": "This moment is too far away. Choose an earlier one.",
        "in_the_future": "This day is in the future.",
        "date_malformed": "This is not a date. Write it as 2026-03-02.",
        "characters": "This text contains non-printable characters.",
        "word_malformed": "This must be a single word of letters, digits, dots, underscores and dashes.",
        "cursor_unknown": "This is not a cursor of this list. Use `next` of the previous page.",
        "purge_too_early": "This moment is too recent for a purge.",
        # people, tenants and their servers
        "name_missing": "A name is required.",
        "name_too_long": "This name is too long.",
        "name_characters": "This name contains non-printable characters.",
        "reference_malformed": "Write it as Location/<id> or Organization/<id>, as the hospital's FHIR server has it.",
        "facility_malformed": "Name the facility by its id here, or as Location/<id> or Organization/<id>.",
        "facility_unknown": "This hospital has no such facility in use; `hilum facility list` shows those it has.",
        "facilities_missing": "Name at least one facility, or leave the field out for all of them.",
        "facilities_not_for_backends": "A backend service is opened at no facility, so it cannot be limited to some.",
        "name_malformed": "This name is too long or contains non-printable characters.",
        "username_malformed": "A username has up to 64 letters, digits, dots, dashes, underscores, + and @, and begins with a letter or digit.",
        "role_unknown": "There is no such role at this place. The glossary lists those of a hospital, of a vendor and of the platform's staff.",
        "roles_missing": "At least one role is required.",
        "role_has_no_charts": "Only patients and their proxies have charts of their own.",
        "beyond_your_own": "A token cannot have roles that its person does not have.",
        "staff_have_no_chart": "The platform's staff and vendors' members have no `fhirUser` and no charts.",
        "version_certified": "This version is certified for production as it is. Use a new version.",
        "vendor_unchanged": "The app belongs to this vendor already.",
        "html_in_text": "This text holds markup. Write plain text, without tags and character references.",
        "region_malformed": "A hosting region is a country such as DE, or a part of one such as US-OH.",
        "region_not_listed": "A subcontractor works in a region that is not among the hosting regions.",
        "retention_without_data": "The app is stated to store no data, so it keeps none. State 0 days, or that it stores data.",
        "data_without_retention": "The app is stated to store data. State for how many days.",
        "same_as_privacy_policy": "The terms and the privacy policy are two documents with two addresses.",
        "same_as_security_contact": "State somebody else, for when the security contact does not answer.",
        "name_imitates_another": "People would take this name for that of another vendor or its app. Choose another one.",
        "name_imitates_a_hospital": "This name is, or resembles, the name of a hospital here. Choose another one.",
        "tenant_and_vendor": "Send the hospital or the vendor, not both.",
        "patient_id_malformed": "This is not the id of a FHIR Patient.",
        "own_chart_stays": "A patient's own chart stays in the list, without an end.",
        "fhir_user_malformed": "Write `fhirUser` as a type and an id, such as Practitioner/12.",
        "fhir_user_unfit_for_role": "This type of FHIR resource does not fit the role.",
        "password_too_short": "Choose a longer password.",
        "password_too_long": "Choose a shorter password.",
        "tenant_id_malformed": "A tenant's id has up to 32 lower-case letters, digits and dashes, and begins and ends with a letter or digit.",
        "sandbox_in_production": "A synthetic tenant lives on a sandbox platform only.",
        "attachment_hosts_malformed": "List host names without scheme and port, none of them the FHIR server's own.",
        "upstream_url_malformed": "The FHIR server's base must be an http or https URL without query, fragment and user name.",
        "upstream_public_url_malformed": "The base must be an http or https URL without query, fragment and user name.",
        "upstream_url_unexpected": "The embedded FHIR server has no address and no credentials.",
        "upstream_not_https": "Use https; plain http is for servers on this machine only.",
        "upstream_needs_one_node": "An embedded FHIR server runs on one node, but several nodes serve this platform. Use the URL of a FHIR server.",
        "credentials_unexpected": "The embedded FHIR server takes no credentials.",
        "origin_malformed": "Write an origin as scheme, host and port, such as https://ehr.example.",
        "origin_too_long": "This origin is too long.",
        "origin_not_https": "Use https; plain http is for this machine only.",
        # notices, webhooks and contacts
        "address_malformed": "This is not a mail address of ASCII letters and digits, such as security@vendor.example.",
        "domain_malformed": "Write a domain in ASCII, such as vendor.example, that is reached over the internet.",
        "proof_not_found": "The domain answers without the file of its proof (status 200).",
        "proof_differs": "The file has no line that is exactly the one to serve.",
        "link_malformed": "This is not a link of this platform.",
        "event_unknown": "There is no such event. Leave the list out for all of them.",
        "webhook_url_refused": "The URL must be https, at a public address, without credentials and fragment.",
        # switches and quotas
        "key_too_long": "This key is too long.",
        "key_malformed": "This key does not fit its kind of target.",
        "key_unexpected": "This kind of target has no key.",
        "resource_type_unknown": "FHIR R4 has no such resource type.",
        "reason_missing": "A reason is required.",
        "reason_too_long": "This reason is too long.",
        "reason_malformed": "The reason must have 1 to 500 characters.",
        # apps, clients, certifications and installations
        "website_not_https": "The URL must begin with https://.",
        "description_missing": "A description of the app is required.",
        "purpose_missing": "The purpose of the app is required.",
        "peers_belong_to_a_tenant": "An EHR or a resource server is added at its tenant.",
        "not_a_peer": "A peer is an EHR or a resource server.",
        "not_certified": "This version is not certified. Choose one that is.",
        "app_not_certified": "The app is not certified for this tenant.",
        "scopes_missing": "At least one scope is required.",
        "scopes_not_certified": "A scope exceeds what is certified.",
        "scopes_widen": "The list has more than was agreed.",
        "scopes_empty": "The list is empty. Withdraw the agreement instead.",
        "widens": "This would widen the installation, which can only be narrowed.",
        "scope_characters": "A scope contains characters that are not allowed.",
        "scope_too_long": "A scope is too long.",
        "scope_too_many": "There are too many scopes.",
        "scope_unknown": "A scope is not supported here.",
        "scope_malformed": "A scope is malformed. Write it as patient/Observation.rs.",
        "scope_letters": "The letters of a scope are unknown, doubled or out of the order c r u d s.",
        "scope_constraint": "The ?parameter=value of a scope cannot be accepted.",
        "scope_mixed": "Scopes of people and system scopes cannot be mixed.",
        "scope_reserved": "A scope is reserved for other kinds of clients.",
        "scope_delegated_in_backend": "A backend service acts without a person and takes system scopes only.",
        "scope_system_in_delegated": "System scopes are for backend services.",
        "confidential_on_device": "An app on a device or in a browser cannot keep a secret. Register it as public.",
        "server_must_authenticate": "An app on a server authenticates. Register it as confidential.",
        "method_unsupported": "This way of client authentication is not supported.",
        "response_type_unsupported": "The only response type is code.",
        "application_type_unsupported": "The application type is web or native.",
        "grant_type_unsupported": "A grant type is not supported.",
        "backend_and_delegated": "A client is either a backend service or acts for people, never both.",
        "authorization_code_missing": "A client that acts for people uses the grant type authorization_code.",
        "redirect_missing": "Register at least one redirect URI.",
        "redirect_repeated": "A redirect URI stands in the list twice.",
        "redirect_unexpected": "A client of this kind has no redirect URI.",
        "redirect_relative": "A redirect URI is absolute, with scheme and host.",
        "redirect_scheme": "This scheme is not allowed in a redirect URI.",
        "redirect_private_scheme_not_native": "A scheme of its own is for native apps only.",
        "redirect_empty": "A redirect URI is empty.",
        "redirect_too_long": "A redirect URI is too long.",
        "redirect_characters": "A redirect URI holds characters that no address may hold.",
        "redirect_fragment": "A redirect URI has no fragment.",
        "redirect_wildcard": "A redirect URI holds no wildcard; it is compared as an exact string.",
        "redirect_host_missing": "A redirect URI names a host.",
        "redirect_userinfo": "A redirect URI holds no user name.",
        "redirect_port": "The port of a redirect URI is not a port.",
        "redirect_ip_host": "A redirect URI names a host, not an IP address.",
        "redirect_host": "The host of a redirect URI is not a host name.",
        "redirect_not_https": "A redirect URI must begin with https://, or be on this machine in a sandbox.",
        "redirect_loopback": "A redirect URI on this machine is for native apps and for sandbox clients.",
        "redirect_dot_segment": "A redirect URI holds no . and .. segments.",
        "launch_url_unexpected": "A client of this kind has no launch URL.",
        "launch_url_needed": "The client has registered no launch URL. Send launch_uri.",
        "launch_url_foreign": "This is on no origin of the client's redirect URIs or launch URL.",
        "keys_missing": "Set `jwks` or `jwks_uri`.",
        "keys_unexpected": "A client of this type has no keys.",
        "jwks_and_uri": "Set either `jwks` or `jwks_uri`, not both.",
        "jwks_malformed": "This is not a JSON Web Key Set.",
        "jwks_empty": "This key set has no keys.",
        "jwks_too_many": "This key set has too many keys.",
        "jwks_private_material": "This key set holds a private key. Send public keys only, and replace this one.",
        "jwks_kid_missing": "A key has no kid.",
        "jwks_kid_repeated": "Two keys have the same kid.",
        "jwks_no_usable_key": "No key is an RSA key of 2048 bits for RS384 or a P-384 key for ES384.",
        "backend_use_missing": "A backend service states purpose, population and schedule.",
        "backend_use_unexpected": "Only a backend service states its use.",
        "end_date_missing": "A backend service has an end date.",
        # launches
        "client_not_launchable": "This is not a client that can be launched.",
        "person_not_active": "No active person here has this username.",
        "chart_not_openable": "This person may not open this chart.",
        "patient_needed": "An encounter needs its patient.",
        "id_malformed": "This is not a FHIR id.",
        "count_malformed": "This is not a count of people.",
        "fhir_context_member_unknown": "An entry has a member that fhirContext does not define.",
        "fhir_context_nothing_named": "An entry needs one of reference, canonical and identifier.",
        "fhir_context_type": "The type of an entry is not a resource type.",
        "fhir_context_role": "The role of an entry is empty.",
        "fhir_context_reference": "The reference of an entry is not relative, such as ImagingStudy/123.",
        "fhir_context_contradiction": "The type of an entry contradicts its reference.",
        "fhir_context_canonical": "The canonical of an entry is not a URL.",
        "fhir_context_identifier": "The identifier of an entry is not an Identifier.",
        "fhir_context_launch_role": "A Patient or an Encounter needs a role other than launch.",
    }
)
_OF_FRAMEWORK = {
    "missing": "missing",
    "extra_forbidden": "field_unknown",
    "literal_error": "not_an_option",
    "enum": "not_an_option",
    "string_too_long": "too_long",
    "too_long": "too_many",
    "string_too_short": "too_short",
    "too_short": "too_short",
    "string_pattern_mismatch": "malformed",
    "value_error": "malformed",
    "finite_number": "out_of_range",
}


def explained(faults: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the code and the sentence of each field."""
    return {name: sentence_of(code) for name, code in faults.items()}


def sentence_of(code: str) -> dict[str, str]:
    """Return a code with its sentence; ``invalid`` for an unknown code, so that internal texts are not returned to callers."""
    listed = code if code in SENTENCES else INVALID
    return {"code": listed, "detail": SENTENCES[listed]}


def of_validation(fault: Mapping[str, Any]) -> dict[str, str]:
    """Return our code for a fault found by pydantic, with pydantic's message, which states the limit. Never repeats what was sent."""
    kind = str(fault.get("type", ""))
    code = _OF_FRAMEWORK.get(kind, "")
    if not code:
        bounds = ("greater_than", "less_than", "multiple_of")
        fallback = "out_of_range" if kind.startswith(bounds) else "wrong_type"
        code = fallback if kind.endswith(("_type", "_parsing")) or fallback == "out_of_range" else "malformed"
    if code in {"missing", "field_unknown"}:
        return sentence_of(code)
    message = str(fault.get("msg", "")).removeprefix("Value error, ")[:200]
    return {"code": code, "detail": f"{message[:1].upper()}{message[1:]}." if message else SENTENCES[code]}


def field_of(loc: Sequence[Any]) -> str:
    """Return the location of a fault as one dotted name, bounded in length and depth because a caller chooses its keys."""
    parts = [str(part)[:64] for part in loc]
    # The place within the request is not part of the field's name for its sender.
    if len(parts) > 1 and parts[0] in {"body", "query", "path", "header", "cookie"}:
        parts = parts[1:]
    return ".".join(parts[:8]) or "body"
