"""Main module of spawned worker processes, run before slow imports: the process ends with the parent."""

import ctypes
import os
import signal
import sys
from multiprocessing import current_process

_PR_SET_PDEATHSIG = 1  # option of prctl(2): signal at the end of the parent

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
# The parent may have ended already. The name contains its id until the process object is read.
if os.getppid() != int(current_process().name.rpartition(" ")[2]):
    os._exit(1)
