"""The runs this process watches, and what it remembers of each between two looks."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from worker.engine.pacing import Agenda, Pace, Wait, just_announced, wait_for
from worker.model import Run, ToolCall
from worker.ports import Clock

CallId = tuple[str | None, str]
"""A call of one run: its turn, where the platform has turns, and the platform's id."""


@dataclass(slots=True)
class Handed:
    """An answer that was submitted: accepted at that time (monotonic clock), or without a clear answer."""

    call_id: str
    accepted_at: float | None = None


@dataclass(slots=True)
class Watch:
    """A claimed run. `handed`: what was submitted and the run may still ask for.

    `told`: somebody has spoken of it since the last look began. `heard`: how often, since the last heartbeat.
    `heard_of`: how often by the time the last look began, as the database counts.
    `answered`: a round of it was answered since it was announced, or announced anew.
    """

    run: Run
    since: float
    woken: int
    wait: Wait
    heard: int = 0
    told: bool = False
    heard_of: int = 0
    answered: bool = False
    looks: int = 0
    failures: int = 0
    refused_since: float | None = None
    deadline: float | None = None
    handed: dict[CallId, Handed] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.run.ref.run_id

    def count_round(self, now: float, *, taught: bool = True) -> None:
        """One more round of this run was answered: just now, or (not `taught`) nobody knows quite when."""
        self.run = replace(self.run, rounds=self.run.rounds + 1)
        self.looks, self.deadline, self.answered = 0, None, True
        self.wait = Wait(now, first=False, assistant=self.wait.assistant, over=not taught)


def call_id(call: ToolCall) -> CallId:
    """What tells a call from the others of its run."""
    return call.turn_id, call.platform_call_id


class Watches:
    """All watched runs, and when each is looked at next."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._by_id: dict[str, Watch] = {}
        self.agenda = Agenda(clock)

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, watch: Watch) -> bool:
        return self._by_id.get(watch.run_id) is watch

    @property
    def all(self) -> Collection[Watch]:
        return tuple(self._by_id.values())

    def begin(self, run: Run) -> None:
        """Watch a run from now on, looking when it is likely to want something."""
        now = self._clock.monotonic()
        wait = wait_for(run, now)
        answered = not just_announced(run)
        self._by_id[run.ref.run_id] = Watch(run, since=now, woken=run.woken, wait=wait, answered=answered)
        self.agenda.put(run.ref.run_id, self._pace.first_delay(wait, now))

    def end(self, run_id: str) -> None:
        """Look at this run no more."""
        if self._by_id.pop(run_id, None):
            self.agenda.drop(run_id)

    def next_due(self) -> Watch | None:
        """The run due the longest; None when it has been let go meanwhile."""
        run_id = self.agenda.pop()
        return self._by_id.get(run_id) if run_id else None

    def later(self, watch: Watch, delay_s: float) -> None:
        """Look at this run again, unless it has been let go; at once when it was spoken of meanwhile."""
        if watch in self:
            self.agenda.put(watch.run_id, 0.0 if watch.told else delay_s)

    def known_s(self, watch: Watch) -> float:
        """Seconds since the bot announced the run, or announced it anew."""
        return watch.run.known_s + self._clock.monotonic() - watch.since

    def announced(self, run_id: str) -> None:
        """The bot, or a webhook, spoke of this run: if we watch it, look now."""
        watch = self._by_id.get(run_id)
        if watch is not None:
            watch.run = replace(watch.run, known_s=0.0)
            watch.since = self._clock.monotonic()
            watch.heard += 1
            watch.told, watch.answered = True, False
            self.agenda.hurry(run_id)

    def renewed(self, watch: Watch, woken: int | None) -> None:
        """What the heartbeat heard: how often the run was woken by now; None: it is another's.

        One that was let go meanwhile may have been claimed anew: that is not what was asked about.
        """
        if watch not in self:
            return
        if woken is None:
            self.end(watch.run_id)
        else:
            if woken > watch.woken + watch.heard:
                self.announced(watch.run_id)
            watch.woken, watch.heard = woken, 0
