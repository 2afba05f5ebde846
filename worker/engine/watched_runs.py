"""The runs that this process watches, and what it remembers of each between two polls."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from worker.engine.pacing import Agenda, Pace, just_announced
from worker.model import CallIdentity, Run
from worker.ports import Clock


@dataclass(slots=True)
class SubmittedAnswer:
    """An answer that was submitted, and whether the platform accepted it."""

    #: The ledger's id of the call; None for one that a round had too many of.
    call_id: str | None
    #: When the platform accepted it, monotonic seconds; None without a clear response.
    accepted_at: float | None = None


@dataclass(slots=True)
class WatchedRun:
    """A run that this process holds a lease on, and what it remembers of it between two polls."""

    run: Run
    #: When this process learned of the run or of its latest announcement (monotonic seconds).
    announced_at: float
    #: Wake-ups that the database had counted when the run was claimed or last renewed.
    wake_count: int
    #: Wake-ups received in this process since then; the database counts them as well.
    local_wakes: int = 0
    #: A wake-up arrived during the current poll: poll again at once.
    wake_pending: bool = False
    #: All wake-ups known when the current poll began. A run is closed only if none came after it.
    wakes_seen: int = 0
    #: When the latest poll began (monotonic seconds).
    polled_at: float = 0.0
    #: At least one round was answered since the latest announcement.
    answered_since_announced: bool = False
    #: Polls since the last answered round, and failed polls in a row.
    polls: int = 0
    failures: int = 0
    #: Polls in a row that a defect ended.
    defects: int = 0
    #: First of the 404s in a row, monotonic seconds.
    gone_since: float | None = None
    #: The platform's own word at the last poll, and the one that the database has.
    platform_status: str | None = None
    recorded_status: str | None = None
    #: Calls of the current round that are more than are worked on.
    excess: frozenset[CallIdentity] = frozenset()
    #: First of the refusals (401, 403) in a row, monotonic seconds.
    refused_since: float | None = None
    #: When the calls of the current round must be answered, monotonic seconds.
    deadline: float | None = None
    #: A call without a usable id was logged.
    unanswerable_logged: bool = False
    #: Answers that were submitted and that the platform may still ask for.
    submitted: dict[CallIdentity, SubmittedAnswer] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.run.ref.run_id

    def count_round(self) -> None:
        """Count one more answered round. It came before an announcement that arrived during this poll."""
        self.run = replace(self.run, rounds=self.run.rounds + 1)
        self.polls, self.deadline = 0, None
        self.answered_since_announced = not self.wake_pending


class WatchedRuns:
    """All watched runs, and when each is polled next."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._by_id: dict[str, WatchedRun] = {}
        self.agenda = Agenda(clock)

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, watched: WatchedRun) -> bool:
        return self._by_id.get(watched.run_id) is watched

    @property
    def all(self) -> Collection[WatchedRun]:
        return tuple(self._by_id.values())

    def begin(self, run: Run) -> None:
        """Watch a claimed run."""
        now = self._clock.monotonic()
        self._by_id[run.ref.run_id] = WatchedRun(
            run,
            announced_at=now,
            wake_count=run.wake_count,
            answered_since_announced=not just_announced(run),
        )
        self.agenda.schedule(run.ref.run_id, self._pace.first_poll(run, now))

    def end(self, run_id: str) -> None:
        """Stop polling this run."""
        if self._by_id.pop(run_id, None):
            self.agenda.cancel(run_id)

    def next_due(self) -> WatchedRun | None:
        """The run that has been due the longest; None if it is no longer watched."""
        run_id = self.agenda.pop()
        return self._by_id.get(run_id) if run_id else None

    def poll_at(self, watched: WatchedRun, due: float) -> None:
        """Poll this run at `due`, or at once if a wake-up is pending. Does nothing once it has ended."""
        if watched not in self:
            return
        if watched.wake_pending:
            self.agenda.schedule_first(watched.run_id)
        else:
            self.agenda.schedule(watched.run_id, due)

    def known_s(self, watched: WatchedRun) -> float:
        """Seconds since the bot's latest announcement of the run."""
        return watched.run.known_s + self._clock.monotonic() - watched.announced_at

    def wake(self, run_id: str) -> None:
        """An announcement or a webhook named this run: if it is watched here, poll it now."""
        watched = self._by_id.get(run_id)
        if watched is not None:
            watched.run = replace(watched.run, known_s=0.0)
            watched.announced_at = self._clock.monotonic()
            watched.local_wakes += 1
            watched.wake_pending, watched.answered_since_announced = True, False
            if self.agenda.is_scheduled(run_id):
                self.agenda.schedule_first(run_id)

    def renewed(self, watched: WatchedRun, wake_count: int | None) -> None:
        """Take over what a heartbeat read: the run's wake-ups, or None if another process has the run.

        A run that ended and was claimed again during the heartbeat is another `WatchedRun`: it is left alone.
        """
        if watched not in self:
            return
        if wake_count is None:
            self.end(watched.run_id)
        else:
            if wake_count > watched.wake_count + watched.local_wakes:
                self.wake(watched.run_id)
            watched.wake_count, watched.local_wakes = wake_count, 0
