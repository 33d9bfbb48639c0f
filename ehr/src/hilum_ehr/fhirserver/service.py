"""The interactions: read, vread, history, create, update, delete, search, and loading in bulk."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.kernel.times import to_micros
from hilum.foundation.standards.fhir.dates import render_instant
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.values import is_id
from hilum_ehr.fhirserver import policy, validation
from hilum_ehr.fhirserver.indexing import Indexer
from hilum_ehr.fhirserver.models import (
    LOAD_BATCH,
    FhirServerSettings,
    IndexRows,
    Page,
    Precondition,
    Problem,
    Refused,
    SearchPlan,
    Version,
)
from hilum_ehr.fhirserver.search import Pairs, SearchContext, parse_query, plan_search
from hilum_ehr.fhirserver.store import Store, Tx

MILLISECOND = 1_000
ABOVE_EVERY_VERSION = 2**31
"""The first page of a history has the versions below this number."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A validated resource, with the rows of its index."""

    resource: dict[str, Any]
    body: bytes
    rows: IndexRows


class FhirService:
    """The verbs of one server. All of them block on the store, reads by id for microseconds only."""

    def __init__(self, settings: FhirServerSettings, clock: Clock, ids: Ids) -> None:
        self.settings = settings
        self.types = settings.resource_types & resource_types() or resource_types()
        self._clock = clock
        self._ids = ids
        self._store = Store(
            settings.path,
            busy_timeout_s=settings.busy_timeout_s,
            bound_s=settings.search_bound_s,
            monotonic=clock.monotonic,
        )
        self._indexer = Indexer(self._store.numbers, settings.base_url)

    def close(self) -> None:
        self._store.close()

    def read(self, resource_type: str, resource_id: str) -> Version:
        """Return the current version. Raises Refused: not found, or deleted. Source: FHIR R4 http.html#read."""
        self._check_type(resource_type)
        return policy.present(self._store.find(resource_type, resource_id))

    def read_version(self, resource_type: str, resource_id: str, number: int) -> Version:
        """Return one version of a resource. Source: FHIR R4 http.html#vread."""
        self._check_type(resource_type)
        return policy.present(self._store.find_version(resource_type, resource_id, number))

    def plan_history(self, resource_type: str, pairs: Pairs) -> SearchPlan:
        """Parse the page of a history and its size, which is at least one version."""
        self._check_type(resource_type)
        plan = self._plan(resource_type, pairs)
        return replace(plan, count=max(plan.count, 1))

    def list_versions(
        self, resource_type: str, resource_id: str, *, before: int, limit: int
    ) -> list[Version]:
        """List a resource's versions, newest first; deletions are versions too. Source: FHIR R4 http.html#history."""
        self._check_type(resource_type)
        if self._store.find(resource_type, resource_id) is None:
            raise Refused(Problem.NOT_FOUND, policy.NO_SUCH)
        return self._store.list_versions(
            resource_type, resource_id, before=before or ABOVE_EVERY_VERSION, limit=limit
        )

    def list_superseded(self, resource_type: str, text: str, since: datetime) -> list[bytes]:
        """List the versions that are no longer current, were stored since a moment, and contain ``text``."""
        moment = to_micros(since)
        return [body for _, body in self._store.list_superseded(resource_type, text.encode(), moment)]

    def create(self, resource_type: str, body: bytes, *, unless: bytes | None = None) -> tuple[Version, bool]:
        """Store a resource under a new id, or return the one match of ``unless``; and whether it was created.

        Source: FHIR R4 http.html#create, http.html#ccreate
        """
        self._check_type(resource_type)
        # Validation and indexing take longer than the write itself, so they are done before the transaction holds the lock.
        judged = self._judge(resource_type, body)
        plan = None if unless is None else self._plan(resource_type, parse_query(unless))
        with self._store.write() as tx:
            # Search and create are one transaction: two conditional creates at once cannot both find nothing.
            same = tx.find_two(plan) if plan else []
            if len(same) > 1:
                raise Refused(Problem.NOT_SELECTIVE, "If-None-Exist matches more than one resource.")
            if same:
                return same[0], False
            return self._put(tx, self._new_id(), None, judged), True

    def update(
        self, resource_type: str, resource_id: str, body: bytes, precondition: Precondition
    ) -> tuple[Version, bool]:
        """Store a resource under a given id, as a new version or the first one. Return it, and whether it was created.

        Source: FHIR R4 http.html#update, http.html#upsert, http.html#concurrency
        """
        self._check_type(resource_type)
        if not is_id(resource_id):
            raise Refused(Problem.BAD_VALUE, "An id is 1 to 64 letters, digits, '-' and '.'.")
        judged = self._judge(resource_type, body)
        if judged.resource.get("id") != resource_id:
            raise Refused(Problem.MALFORMED, "The id in the body must be the one in the URL.")
        with self._store.write() as tx:
            current = tx.find(resource_type, resource_id)
            policy.check(precondition, current)
            # A deleted resource is created again under its id and its version numbers continue
            # (FHIR R4 http.html#upsert).
            created = current is None or current.deleted
            return self._put(tx, resource_id, current, judged), created

    def delete(self, resource_type: str, resource_id: str, precondition: Precondition) -> Version | None:
        """Delete a resource, and return the deletion's version; None if there was nothing to delete. Source: FHIR R4 http.html#delete."""
        self._check_type(resource_type)
        with self._store.write() as tx:
            current = tx.find(resource_type, resource_id)
            policy.check(precondition, current)
            # Deleting twice is no error and writes no second version (FHIR R4 http.html#delete).
            if current is None or current.deleted:
                return None
            updated = self._moment(current)
            gone = Version(resource_type, resource_id, current.number + 1, updated, b"", deleted=True)
            tx.put(gone, IndexRows())
            return gone

    def search(self, resource_type: str, pairs: Pairs) -> tuple[SearchPlan, Page]:
        """Run a search. Source: FHIR R4 search.html."""
        self._check_type(resource_type)
        plan = self._plan(resource_type, pairs)
        return plan, self._store.search(plan)

    def load(self, resources: Iterable[bytes | dict[str, Any]]) -> int:
        """Store many resources under their own ids, one transaction for each batch; return how many.

        Each is validated as by ``update``. If one is refused, its batch is not stored, and Refused states which one it
        was.
        """
        count = 0
        for batch in batched(resources, LOAD_BATCH):
            # Validated before the transaction, as in `update`.
            judged = list(self._judge_batch(batch, count))
            with self._store.write() as tx:
                for one in judged:
                    resource_id = one.resource.get("id") or self._new_id()
                    self._put(tx, resource_id, tx.find(one.resource["resourceType"], resource_id), one)
            count += len(batch)
        return count

    def check(self, body: bytes) -> None:
        """Check that ``load`` would store a resource. Raises Refused."""
        self._check_type(self._judge(None, body).resource["resourceType"])

    def _judge_batch(self, batch: list[bytes | dict[str, Any]], count: int) -> Iterator[Judged]:
        for index, item in enumerate(batch, count):
            body = item if isinstance(item, bytes) else orjson.dumps(item)
            try:
                judged = self._judge(None, body)
                self._check_type(judged.resource["resourceType"])
            except Refused as refused:
                raise Refused(
                    refused.problem, f"Resource number {index} of the load.", *refused.issues
                ) from None
            yield judged

    def _judge(self, resource_type: str | None, body: bytes) -> Judged:
        resource = validation.parse_resource(body)
        if resource_type is not None and resource["resourceType"] != resource_type:
            raise Refused(Problem.MALFORMED, "The resourceType of the body must be the one in the URL.")
        return Judged(resource, body, self._indexer.rows(resource))

    def _put(self, tx: Tx, resource_id: str, current: Version | None, judged: Judged) -> Version:
        number = current.number + 1 if current else 1
        updated = self._moment(current)
        body = validation.stamp(
            judged.body, resource_id=resource_id, version=number, last_updated=render_instant(updated)
        )
        version = Version(judged.resource["resourceType"], resource_id, number, updated, body)
        tx.put(version, judged.rows)
        return version

    def _moment(self, current: Version | None) -> int:
        """Return the time of a write in whole milliseconds, later than the version before."""
        now = to_micros(self._clock.now()) // MILLISECOND * MILLISECOND
        # _lastUpdated has milliseconds; two versions of one moment would have no order in a history.
        return max(now, current.updated + MILLISECOND) if current else now

    def _new_id(self) -> str:
        return self._ids.new("r").partition("_")[2]

    def _plan(self, resource_type: str, pairs: Pairs) -> SearchPlan:
        context = SearchContext(self.settings.base_url, self.types, to_micros(self._clock.now()))
        return plan_search(resource_type, pairs, context)

    def _check_type(self, resource_type: str) -> None:
        if resource_type not in self.types:
            raise Refused(Problem.UNKNOWN_TYPE, "This server does not support this resource type.")
