"""`python -m tests.system.soon_settled run`: on agents, the worker believes an idle session after 0.5 s."""

from dataclasses import replace

from worker.cli.main import main
from worker.platforms.agents import AgentsPlatform

if __name__ == "__main__":
    AgentsPlatform.traits = replace(AgentsPlatform.traits, settling_s=0.5)
    main()
