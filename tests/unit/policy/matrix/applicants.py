"""Applicants of any kind, for properties of the tier and of admission."""

from hypothesis import strategies as st

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.policy.matrix.models import ANY, Applicant, ClientAuthentication, PolicyEntry, Tier
from hilum.policy.matrix.shipped import shipped_book

BOOK = shipped_book()
CATEGORIES = sorted(BOOK.categories)
LETTERS = ["r", "s", "rs", "c", "u", "d", "cu", "cruds"]
SPECIAL = ["openid", "fhirUser", "launch", "launch/patient", "online_access", "offline_access"]
scopes = st.lists(
    st.sampled_from(SPECIAL)
    | st.builds(
        "{}/{}.{}".format,
        st.sampled_from(["user", "patient", "system"]),
        st.sampled_from(["*", *sorted(resource_types())]),
        st.sampled_from(LETTERS),
    ),
    max_size=8,
).map(tuple)
names = st.lists(
    st.sampled_from([ANY, "orders", "note", "sidebar", "outreach", "documentation"]), max_size=3
).map(tuple)


def listed_in(place: tuple[str, PolicyEntry]) -> st.SearchStrategy[Applicant]:
    """Build applicants that are admitted: of all that an entry lists they ask for some."""
    category, entry = place
    asked = st.lists(st.sampled_from(entry.scopes), min_size=1, max_size=6, unique=True).map(tuple)
    high = {"authentication": ClientAuthentication.KEY, "certified_tier": Tier.HIGH}
    return asked.map(lambda scopes: Applicant(category, scopes, workflows=(), placements=(), **high))  # type: ignore[arg-type]


ENTRIES = st.sampled_from(
    [(each.name, entry) for each in BOOK.categories.values() for entry in each.entries.values()]
)
applicants = ENTRIES.flatmap(listed_in) | st.builds(
    Applicant,
    st.sampled_from([*CATEGORIES, "unknown"]),
    scopes,
    st.none() | st.sampled_from(ClientAuthentication),
    names,
    names,
    certified_tier=st.none() | st.sampled_from(Tier),
)
