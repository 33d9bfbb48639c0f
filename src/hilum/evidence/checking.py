"""Check the signed result of a run."""

from hilum.evidence import policy
from hilum.evidence.models import Run
from hilum.infra.context import Context
from hilum.keys import service as keys
from hilum.keys.models import Purpose


def check_result(ctx: Context, run: Run) -> bool:
    """Check whether a result belongs to its run and records, and its signature matches."""
    result = run.result
    if not result or policy.digest_of(run.rows) != result.get("digest"):
        return False
    named = ("app", "vendor", "version", "client", "tenant", "rule_book")
    if result["run"] != run.id or any(result[name] != getattr(run, name) for name in named):
        return False
    if result["state"] != run.state or run.ended_at is None or result["ended_at"] != run.ended_at.isoformat():
        return False
    return keys.verify_bytes(ctx, Purpose.EVIDENCE, run.kid, policy.signed_bytes(result), run.signature)
