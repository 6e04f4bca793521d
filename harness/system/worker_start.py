"""Main module of spawned worker processes, run before imports that take seconds: the process ends with the parent."""

import ctypes
import os
import signal
import sys
from multiprocessing import current_process

_PR_SET_PDEATHSIG = 1  # option of prctl(2): signal to send to a process when the parent process dies

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
# prctl has no effect if the parent has ended already. The name contains the id until the process object is read.
if os.getppid() != int(current_process().name.rpartition(" ")[2]):
    os._exit(1)
