"""Tells the bench, twenty times a second, how many records were read and how many of them are in a row."""

import threading
import time

_PAUSE_S = 0.05
_read = 0
_folded = 0


def read(records):
    global _read
    _read += records


def folded(records):
    global _folded
    _folded += records


def begin():
    """The one pass there is: no compiler has to become warm."""
    print("pass 1", flush=True)
    threading.Thread(target=_tell, name="progress", daemon=True).start()


def _tell():
    while True:
        print(f"read {_read} folded {_folded}", flush=True)
        time.sleep(_PAUSE_S)
