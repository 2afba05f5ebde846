"""`python -m tests.system.few_descriptors run`: the worker as after `ulimit -n 256`."""

import resource

from worker.cli.main import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    main()
