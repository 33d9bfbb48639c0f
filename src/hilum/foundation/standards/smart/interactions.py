"""Which letter of a scope permits which interaction."""

from collections.abc import Mapping
from types import MappingProxyType

from hilum.foundation.standards.fhir.requests import Interaction
from hilum.foundation.standards.smart.scopes import CREATE, DELETE, READ, SEARCH, UPDATE

LETTERS: Mapping[Interaction, int] = MappingProxyType(
    {
        Interaction.READ: READ,
        Interaction.VREAD: READ,
        Interaction.SEARCH_TYPE: SEARCH,
        Interaction.CREATE: CREATE,
        Interaction.UPDATE: UPDATE,
        Interaction.DELETE: DELETE,
    }
)
"""The interactions that can be judged, and the scope letter of each. Whatever is not here is refused whole.

Source: SMART App Launch 2.2, scopes-and-launch-context#scopes-for-requesting-fhir-resources
"""
