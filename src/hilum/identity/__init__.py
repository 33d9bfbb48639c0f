"""Identity: hospitals, their facilities and the people in them.

Owns: tenants (name, FHIR server, EHR origins); facilities (name, legal entity, FHIR reference); people and staff (username, role, own
charts); the table of what each role may do with each resource type.
Must not know: passwords and sessions (signin); apps; tokens; how a FHIR server is reached.
Public verbs: add_tenant, get_tenant, list_tenants, update_tenant, end_tenant, add_person, get_person, find_person_by_username, list_people,
deactivate_person, add_facility, remove_facility, list_facilities, find_facility_named, facts.
Invariants:
- Only the staff's list shows a tenant that has left.
- A tenant's id, and whether it is a sandbox, never change.
- An unknown role or resource type has no rights.
- A deactivated person is never active again, so nothing issued to them becomes valid again.
"""
