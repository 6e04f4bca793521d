"""Main module of spawned worker processes, run before imports that take seconds: the process ends with the parent."""

from multiprocessing import current_process

from harness.system.machine import die_with

die_with(int(current_process().name.rpartition(" ")[2]))  # the name until the process object is read
