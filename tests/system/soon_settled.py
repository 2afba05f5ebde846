"""`python -m tests.system.soon_settled run`: the worker, on agents, believes an idle session after half a second."""

from dataclasses import replace

from worker.cli.main import main
from worker.platforms.agents import AgentsPlatform

if __name__ == "__main__":
    AgentsPlatform.traits = replace(AgentsPlatform.traits, settling_s=0.5)
    main()
