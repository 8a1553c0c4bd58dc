"""`python -m terraprobe`: what the rules call, in whichever environment they run.

A process lives for one stage, and what it imports stays until it ends. So no garbage is looked for in that, neither at
the start nor at the end: a third of the time of a short process that imports torch.
"""

import gc
import sys

gc.disable()

from terraprobe.cli import main  # noqa: E402 - what it imports counts too

sys.exit(main())
