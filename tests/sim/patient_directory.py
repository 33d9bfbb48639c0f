"""A hospital's patients, as pages read who they are."""

from typing import Any
from urllib.parse import parse_qs

from hilum.authorization.tokens.models import Grant
from hilum.foundation.kernel.decision import Deny, ReadPurpose, Reason


class Patients:
    """Patients by id. ``is_away``: the hospital's records cannot be read now. ``asked``: the purposes of the reads."""

    def __init__(self, *patients: dict[str, Any]) -> None:
        self._patients = {patient["id"]: patient for patient in patients}
        self.is_away = False
        self.asked: list[str] = []

    async def search(
        self, reader: Grant, purpose: ReadPurpose, target: str, **_: Any
    ) -> dict[str, Any] | Deny:
        self.asked.append(str(purpose))
        if self.is_away:
            return Deny(Reason.UPSTREAM_UNAVAILABLE)
        ids = parse_qs(target.partition("?")[2])["_id"][0].split(",")
        found = [self._patients[each] for each in ids if each in self._patients]
        return {"resourceType": "Bundle", "entry": [{"resource": each} for each in found]}
