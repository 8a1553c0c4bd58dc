"""`python -m terraprobe`: what the rules call, in whichever environment they run."""

import sys

from terraprobe.cli import main

sys.exit(main())
