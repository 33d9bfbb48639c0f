"""Whether an app behaved in a scenario, from the records of the audit alone. Pure.

What the records do not show counts as not met.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.lists import counted
from hilum.review.certification_runs.declared import optional_declined
from hilum.review.certification_runs.models import QUOTA_WAIT, SHORT_LIFE, SLOW, Fault, Finding, Outcome, Row
from hilum.review.certification_runs.windows import (
    BEGIN,
    END,
    MINT,
    MOVE,
    NOTHING,
    REDEEM,
    REFUSE,
    RETRIES,
    TAKE,
    WINDOW_BOUND,
    WITHDRAW,
    Judge,
    Verdict,
    Window,
    in_order,
    incomplete,
    met,
    not_met,
    window_of,
    works_after,
)

__all__ = [
    "BEGIN",
    "END",
    "MINT",
    "MOVE",
    "NOTHING",
    "REDEEM",
    "REFUSE",
    "RETRIES",
    "TAKE",
    "WINDOW_BOUND",
    "WITHDRAW",
    "in_order",
    "judge_run",
    "window_of",
]

AT_ONCE = timedelta(milliseconds=500)
"""Requests so soon after a refusal may have been sent before the app read it."""
QUIET = timedelta(seconds=2)
"""How long a stop must be watched before an app counts as stopped."""
_DONE, _REFUSED = "done", "refused"
_READS = frozenset({"read", "vread", "search-type"})
_CHANGES = frozenset({"update", "patch"})
_NO_RIGHT = frozenset({Reason.ROLE_NOT_ALLOWED, Reason.SCOPE_INSUFFICIENT, Reason.WORKFLOW_NOT_APPROVED})


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation that this release can create and judge. ``how``: what the developer does; ``good``: how a well-made app behaves."""

    judge: Judge
    how: str
    good: str
    fault: Fault = Fault.NONE
    person: bool = False
    """It needs a person, a chart or a launch, so it never applies to a backend service."""


def judge_run(scenario: str, rows: Sequence[Row]) -> Finding:
    """Judge whether an app met a scenario and behaved, from the records of its run."""
    known = SCENARIOS.get(scenario)
    if known is None:
        sentence = "This release cannot judge the scenario."
        return Finding(scenario, Outcome.INCOMPLETE, sentence, "Ask the platform's owner about it.")
    window = window_of(scenario, rows)
    if window is None:
        return Finding(scenario, Outcome.INCOMPLETE, "The scenario was never begun.", known.how)
    if len(window.rows) > WINDOW_BOUND:
        sentence = f"This scenario has more than {WINDOW_BOUND:,} records, so it was not judged."
        return Finding(scenario, Outcome.INCOMPLETE, sentence, known.how)
    if window.backend and known.person:
        return Finding(
            scenario,
            Outcome.MET,
            "The scenario needs a person, a chart or a launch, which a backend service does not have.",
        )
    outcome, sentence = known.judge(window)
    return Finding(
        scenario,
        outcome,
        sentence,
        {Outcome.MET: "", Outcome.NOT_MET: known.good, Outcome.INCOMPLETE: known.how}[outcome],
    )


# --- judgements ----------------------------------------------------------------------------------------------------------------


def _launch(window: Window) -> Verdict:
    taken = window.events(TAKE)
    if not window.backend and not any({"patient", "encounter"} <= _context(each) for each in taken):
        return incomplete("The app used no launch that has a patient and an encounter.")
    if not window.events(MINT):
        return incomplete("No access token was issued to the app.")
    if not works_after(window, window.events(MINT)[0]):
        return incomplete("The app read nothing after it was launched.")
    return met("The app was launched, and read what it needs.")


def _context(taken: Row) -> set[str]:
    return set(taken.facts.get("context", ()))


def _without(name: str) -> Judge:
    def judge(window: Window) -> Verdict:
        taken = [each for each in window.events(TAKE) if name not in _context(each)]
        if not taken:
            return incomplete(f"The app used no launch without {_a(name)}.")
        later = window.after(taken[0])
        # A request for a missing id finds nothing: the usual mistake reads Patient/undefined.
        failed = [each for each in later.requests if each.status >= 400]
        if len(failed) > RETRIES:
            return not_met(
                f"The app sent {counted(len(failed), 'request that was', 'requests that were')} refused or found nothing, as if there were {_a(name)}."
            )
        if later.events(MINT):
            return met(f"The app was launched without {_a(name)}, and asked for nothing that needs one.")
        # An app that works in one patient's chart only is refused at authorize. It has met the situation when it stops there.
        launches = {each.launch for each in taken}
        turned_away = [each for each in window.events(REFUSE, _REFUSED) if each.launch in launches]
        if not any(each.reason == f"{name}_missing" for each in turned_away):
            return incomplete("No access token was issued after that launch.")
        if len(turned_away) > RETRIES:
            return not_met(
                f"The app asked for access {counted(len(turned_away), 'time')} although it was refused."
            )
        return met(
            f"The app was refused because it was launched without {_a(name)}, and asked for nothing more."
        )

    return judge


def _a(name: str) -> str:
    return f"an {name}" if name == "encounter" else f"a {name}"


def _short_tokens(window: Window) -> Verdict:
    if any(each.status == 401 for each in window.requests):
        return _comes_back(window)
    minted = window.events(MINT)
    if len(minted) < 2:
        return incomplete("The app did not use a token until after its end.")
    if not any(
        each.outcome == _DONE and each.at >= minted[0].at + SHORT_LIFE
        for each in window.after(minted[1]).requests
    ):
        return incomplete("The app read nothing after the first token had ended.")
    return met("The app got a new token before the old one ended.")


def _comes_back(window: Window) -> Verdict:
    # ``tries`` counts refusals in a row. An app has come back
    # once it got a new token after one and was answered.
    tries = most = 0
    came_back = False
    minted = False
    for each in window.rows:
        if each.request and each.status == 401:
            tries, minted = tries + 1, False
            most = max(most, tries)
        elif each.name == MINT and each.outcome == _DONE:
            tries, minted = 0, bool(most)
        elif each.request and each.outcome == _DONE and minted:
            came_back = True
    if not most:
        return incomplete("The app sent no request with a token that had ended.")
    if most > RETRIES:
        return not_met(f"The app sent {counted(most, 'request')} in a row with a token that had ended.")
    if not came_back:
        return incomplete("The app read nothing with a new token after the old one had ended.")
    return met("The app was refused with a token that had ended, got a new one, and went on.")


def _signed_out(window: Window) -> Verdict:
    if any(each.reason == "refresh_reused" for each in window.events(REDEEM, _REFUSED)):
        return not_met("The app used a refresh token twice.")
    if fault := _repeats_refused(window):
        return fault
    turned_away = [*window.refused(), *window.events(REDEEM, _REFUSED)]
    if not turned_away:
        return incomplete("The app sent nothing after its tokens were revoked.")
    first = min(turned_away, key=window.rows.index)
    if not window.after(first).events(MINT):
        return incomplete("The app was not launched again.")
    return met("The app noticed that its tokens were revoked, and was launched again.")


def _repeats_refused(window: Window) -> Verdict | None:
    for what, found in (("requests", window.refused()), ("refreshes", window.events(REDEEM, _REFUSED))):
        if len(found) > RETRIES:
            return not_met(f"The app sent {len(found)} {what} that were refused.")
    return None


def _withdrawn(window: Window) -> Verdict:
    ended = window.events(WITHDRAW)
    if not ended:
        return incomplete("Nobody withdrew the app's access.")
    later = window.after(ended[0])
    if fault := _repeats_refused(later):
        return fault
    if not later.refused() and not later.events(REDEEM, _REFUSED):
        return incomplete("The app sent nothing after its access was withdrawn.")
    return met("The app noticed that its access was withdrawn, and stopped.")


def _stopped(window: Window) -> Verdict:
    refused = window.refused(Reason.SWITCH_ENGAGED)
    if not refused:
        return incomplete("The app sent no request while it was stopped.")
    if len(refused) > RETRIES:
        return not_met(f"The app sent {counted(len(refused), 'request')} while it was stopped.")
    if window.rows[-1].at < refused[0].at + QUIET:
        return incomplete(f"The stop was watched for less than {QUIET.seconds} seconds after the app met it.")
    return met("The app met the stop, and sent no more requests.")


def _waits(window: Window) -> Verdict:
    limited = window.refused(Reason.QUOTA_EXCEEDED)
    if not limited:
        return incomplete("The app did not reach its quota.")
    if (early := _early(window, limited)) > RETRIES:
        return not_met(f"The app sent {counted(early, 'request')} before the time that Retry-After named.")
    if not any(
        each.outcome == _DONE and each.at >= limited[0].at + QUOTA_WAIT - AT_ONCE for each in window.requests
    ):
        return incomplete("The app read nothing after it had waited.")
    return met("The app waited when it was over its quota, and went on.")


def _early(window: Window, limited: Sequence[Row]) -> int:
    """Count the requests that an app sent before the time that it had to wait for."""
    return sum(
        any(row.at + AT_ONCE < each.at < row.at + QUOTA_WAIT - AT_ONCE for row in limited)
        for each in window.requests
    )


def _unavailable(window: Window) -> Verdict:
    failed = window.refused(Reason.UPSTREAM_UNAVAILABLE)
    if not failed:
        return incomplete("The app asked for nothing that was unavailable.")
    asked, times = Counter((each.name, each.asked) for each in failed).most_common(1)[0]
    if times > RETRIES + 1:
        return not_met(f"The app sent the same {asked[0]} {counted(times, 'time')} while it was unavailable.")
    return met("The app did not insist on what was unavailable.")


def _slow(window: Window) -> Verdict:
    slow = [each for each in window.requests if each.latency_ms >= SLOW / timedelta(milliseconds=1)]
    if not slow:
        return incomplete("The app asked for nothing that was answered slowly.")
    for row in slow:
        answered = row.at + timedelta(milliseconds=row.latency_ms)
        again = [
            each
            for each in window.requests
            if each is not row
            and (each.name, each.asked) == (row.name, row.asked)
            and row.at <= each.at < answered
        ]
        if again:
            return not_met(
                f"The app sent the same {row.name} again while it waited for the answer to the first."
            )
    return met("The app waited for slow answers.")


def _pages(window: Window) -> Verdict:
    searched = [each for each in window.requests if each.name == "search-type" and each.outcome == _DONE]
    if not searched:
        return incomplete("The app searched for nothing.")
    if not any("_page=" in each.asked for each in searched):
        return not_met("The app took the first page of a search for the whole result.")
    return met("The app followed the pages of a search.")


def _whole_hospital(window: Window) -> Verdict:
    wide = [
        each
        for each in window.requests
        if each.name == "search-type" and not {"patient", "subject"} & _parameters(each.asked)
    ]
    if not wide:
        return incomplete("The app made no search over more than one patient.")
    if (early := _early(window, window.refused(Reason.QUOTA_EXCEEDED))) > RETRIES:
        return not_met(f"The app sent {counted(early, 'request')} before the time that Retry-After named.")
    if not any("_page=" in each.asked and each.outcome == _DONE for each in window.requests):
        return incomplete("The app asked for one page only.")
    return met("The app read many patients page by page, within its quota.")


def _parameters(asked: str) -> set[str]:
    query = asked.partition("?")[2]
    return {each.partition("=")[0].partition(":")[0] for each in query.split("&")}


def _too_costly(window: Window) -> Verdict:
    refused = window.refused(Reason.TOO_COSTLY)
    if not refused:
        return incomplete("No search of the app was too costly.")
    if max(Counter(each.asked for each in refused).values()) > RETRIES:
        return not_met("The app sent the same search again although it was too costly.")
    if not any(
        each.name == "search-type" and each.outcome == _DONE for each in window.after(refused[0]).requests
    ):
        return incomplete("The app did not search for less afterwards.")
    return met("The app searched for less when a search was too costly.")


def _withheld(window: Window) -> Verdict:
    refused = window.refused(Reason.LABEL_WITHHELD)
    if not refused and not any(each.removed for each in window.requests):
        return incomplete("Nothing was withheld from the app.")
    if len(refused) > RETRIES:
        return not_met(f"The app sent {counted(len(refused), 'request')} for what was withheld.")
    return met("The app worked without what was withheld.")


def _no_right(window: Window) -> Verdict:
    refused = window.refused(*_NO_RIGHT)
    if not refused:
        return incomplete("Nothing was refused because the person's role has no right to it.")
    if len(refused) > RETRIES:
        return not_met(
            f"The app sent {counted(len(refused), 'request')} to which the person's role has no right."
        )
    return met("The app did not insist on what the person's role has no right to.")


def _moved(window: Window) -> Verdict:
    moved = [each for each in window.events(MOVE) if each.facts.get("stale")]
    if not moved:
        return incomplete("The chart was not turned to another patient while the app was open.")
    later = window.after(moved[0])
    refused = later.refused(Reason.CONTEXT_MOVED)
    if len(refused) > RETRIES:
        return not_met(
            f"The app sent {counted(len(refused), 'request')} about the patient whose chart was closed."
        )
    if not refused and not later.events(MINT):
        return incomplete("The app sent nothing after the chart was turned.")
    return met("The app stopped when the chart was turned to another patient.")


def _conflict(window: Window) -> Verdict:
    lost = [each for each in window.requests if each.name in _CHANGES and each.status in {409, 412}]
    if not lost:
        return incomplete("No change of the app found that somebody else had changed the record.")
    for row in lost:
        read = False
        for each in window.after(row).requests:
            read = read or (each.name in _READS and each.type == row.type)
            if each.name in _CHANGES and each.asked == row.asked:
                if not read:
                    return not_met(
                        f"The app changed the {row.type} again without reading what somebody else wrote."
                    )
                break
    if not any(each.name in _READS and each.type == lost[0].type for each in window.after(lost[0]).requests):
        return incomplete("The app did not read the record again.")
    return met("The app read what somebody else wrote before it changed the record again.")


def _lost_answer(window: Window) -> Verdict:
    unknown = [each for each in window.requests if each.reason == Reason.OUTCOME_UNKNOWN]
    if not unknown:
        return incomplete("No answer to a write of the app was lost.")
    row = unknown[0]
    read = False
    for each in window.after(row).requests:
        read = read or (each.name in _READS and each.type == row.type)
        if (each.name, each.type) == (row.name, row.type) and not read:
            return not_met(f"The app sent the {row.name} again without looking whether it had been done.")
    if not read:
        return incomplete("The app did not look whether its write had been done.")
    return met("The app looked whether its write had been done before it sent another.")


def _goes_on(window: Window) -> Verdict:
    minted = window.events(MINT)
    if not minted:
        return incomplete("The app was not launched after the keys had changed.")
    if not works_after(window, minted[0]):
        return incomplete("The app read nothing after the keys had changed.")
    return met("The app was launched with an identity that the new key signs, and went on.")


# --- the scenarios -------------------------------------------------------------------------------------------------------------

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "launch": Scenario(
            _launch,
            "Open the app from a chart, and let it read.",
            "Take the launch, get a token for it, and read.",
        ),
        "token_expired": Scenario(
            _short_tokens,
            "Launch the app, let it read for ten seconds; its tokens live five.",
            "After a 401, refresh once or launch again; do not send the request again with the same token.",
            Fault.SHORT_TOKENS,
        ),
        "clock_skew": Scenario(
            _comes_back,
            "Let the app, which is launched already, read again; its token has ended before the app expects it.",
            "Trust the 401, not the app's own clock: refresh once or launch again.",
            Fault.ENDED_TOKENS,
        ),
        "refresh_replay": Scenario(
            _signed_out,
            "Let the app, which is launched already, read again, then launch it again; its refresh token is revoked.",
            "Use each refresh token once, and when it is refused, have the person launch the app again.",
            Fault.ENDED_FAMILIES,
            person=True,
        ),
        "patient_missing": Scenario(
            _without("patient"),
            "Open the app from the EHR simulator without a patient.",
            "Say that no patient is open, and ask for nothing that needs one.",
            person=True,
        ),
        "encounter_missing": Scenario(
            _without("encounter"),
            "Open the app from a chart without an encounter.",
            "Work without the encounter, or say that one is needed.",
            person=True,
        ),
        "resource_unavailable": Scenario(
            _unavailable,
            "Let the app read: its hospital's FHIR server is unavailable.",
            "Show what is missing, and try again three times at most.",
            Fault.UNAVAILABLE,
        ),
        "slow_answer": Scenario(
            _slow,
            "Let the app read: answers take three seconds.",
            "Wait for the answer, and do not send the request again meanwhile.",
            Fault.SLOW,
        ),
        "quota_exceeded": Scenario(
            _waits,
            "Let the app read five times: its quota is one request in two seconds.",
            "After a 429, wait as long as Retry-After says.",
            Fault.QUOTA,
        ),
        "partial_page": Scenario(
            _pages,
            "Let the app search a chart: its first page is short, and the rest is on further pages.",
            "Follow the link `next` until there is none.",
            Fault.SHORT_PAGES,
        ),
        "access_withdrawn": Scenario(
            _withdrawn,
            "Launch the app, withdraw its access as the person under Connected apps, and let it read again.",
            "After a 401 and a refused refresh, stop, and say that access has ended.",
            person=True,
        ),
        "kill_switch": Scenario(
            _stopped,
            "Let the app read again: it is stopped at this hospital. Wait for some seconds.",
            "Stop when the reason is switch_engaged, show it, and send nothing until a person asks for it.",
            Fault.SWITCH,
        ),
        "key_rotation": Scenario(
            _goes_on,
            "Launch the app again: the hospital signs identities with another key.",
            "Fetch the key set again when the id_token names a key that you do not have.",
            Fault.KEYS,
            person=True,
        ),
        "search_too_costly": Scenario(
            _too_costly,
            "Let the app search for more than is allowed at once.",
            "Search for less when the reason is too_costly.",
        ),
        "data_withheld": Scenario(
            _withheld,
            "Open the app in a chart with sensitive records.",
            "Work without what is withheld; do not look for it in other ways.",
        ),
        "role_without_right": Scenario(
            _no_right,
            "Open the app as a person whose role may not see what it asks for, such as the front desk.",
            "Say that the person has no right to it, and do not ask again.",
            person=True,
        ),
        "chart_moved": Scenario(
            _moved,
            "Launch the app, turn the chart to another patient in the EHR simulator, and let the app read.",
            "Stop showing the first patient when the reason is context_moved, and wait to be launched again.",
            person=True,
        ),
        "write_conflict": Scenario(
            _conflict,
            "Let the app change a record: somebody else has changed it.",
            "After a 412, read the record again, and decide again.",
            Fault.CONFLICT,
        ),
        "write_unknown": Scenario(
            _lost_answer,
            "Let the app write: the answer is lost.",
            "Look whether the write was done before you send it again.",
            Fault.LOST_ANSWER,
        ),
        "optional_declined": Scenario(
            optional_declined,
            "Launch the app, and let it read: it is given none of the scopes that its version can do without.",
            "Read `scope` in the answer to the token request, and work with what was granted.",
            Fault.OPTIONAL,
        ),
        "many_patients": Scenario(
            _whole_hospital,
            "Let the app search for records of many patients, over more than one page.",
            "Follow the pages, and wait as long as Retry-After says.",
        ),
    }
)
"""Every scenario that this release can create and judge, by its name in the policy."""
