"""Identity: hospitals, their facilities and the people in them.

Owns: tenants (name, FHIR server, EHR origins); facilities (name, legal entity, FHIR reference); people and staff (username, role, the
charts that they may open); the table of what each role may do with each resource type; whether a person's credential is accepted now
(``bar_on``), and whether they count as one of two people.
Must not know: passwords and sessions (signin); apps; tokens; how a FHIR server is reached.
Public verbs: add_tenant, get_tenant, list_tenants, update_tenant, end_tenant, add_person, get_person, find_person_by_username, list_people,
set_charts, deactivate_person, bar_on, ask, counts_as_one_of_two, add_facility, remove_facility, list_facilities, find_facility_named, facts.
Invariants:
- Only the staff's list shows a tenant that has left.
- A tenant's id, and whether it is a sandbox, never change.
- An unknown role or resource type has no rights.
- A deactivated person is never active again, so nothing issued to them becomes valid again.
"""
