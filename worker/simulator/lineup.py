"""The simulated platforms by their `PLATFORM` name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.demo import scenarios
from worker.simulator.demo.bots import AgentsBot, AssistantsBot, MakeBot, ResponsesBot
from worker.simulator.demo.scenarios import Scenario
from worker.simulator.responses.app import ResponsesSimulator


class Simulator(Protocol):
    """A platform that can be served."""

    clock: Clock
    app: Any


@dataclass(frozen=True, slots=True)
class DemoPlatform:
    """One platform: its simulator, and the bot, scenarios and settings with which the demo plays on it."""

    simulator: Callable[[], Simulator]
    #: The simulator with short timings, for the demo.
    fast_simulator: Callable[[], Simulator]
    bot: MakeBot
    scenarios: tuple[Scenario, ...]
    #: Worker settings that this platform's scenarios need.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Ids of the assistants that exist from the start, by name.
    assistants: Mapping[str, str] = field(default_factory=dict)


_DEADLINE = {"CALL_DEADLINE_S": str(scenarios.DEADLINE_S)}

LINEUP: Mapping[str, DemoPlatform] = {
    "assistants": DemoPlatform(
        AssistantsSimulator,
        lambda: AssistantsSimulator(timings=Timings(queued_s=0.02, thinking_s=0.08, poll_after_ms=50)),
        AssistantsBot,
        scenarios.ASSISTANTS_SCENARIOS,
        assistants=ASSISTANTS,
    ),
    "agents": DemoPlatform(
        AgentsSimulator,
        lambda: AgentsSimulator(timings=SessionTimings(queued_s=0.02, thinking_s=0.08)),
        AgentsBot,
        scenarios.AGENTS_SCENARIOS,
        settings=_DEADLINE,
        assistants=AGENTS,
    ),
    "responses": DemoPlatform(
        ResponsesSimulator,
        lambda: ResponsesSimulator(timings=Timings(queued_s=0.02, thinking_s=0.08)),
        ResponsesBot,
        scenarios.RESPONSES_SCENARIOS,
        settings=_DEADLINE,
    ),
}
