"""CPU of processes, waiting, and tables of medians."""

import contextlib
import pathlib
import statistics
import sys
import time


def cpu(*pids):
    """User and system time of these processes and their children so far, in seconds.

    The clocks of processes count nanoseconds, `/proc/PID/stat` only hundredths of a second.
    """
    used = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            used += time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) does
            used += cpu(*map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return used


def settle(*pids, limit=10.0):
    """Waits until these processes have done what the last load left behind."""
    last, deadline = cpu(*pids), time.monotonic() + limit
    quiet = 0
    while quiet < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
        used = cpu(*pids)
        quiet = quiet + 1 if used - last < 0.003 else 0
        last = used


def wait_for(condition, what, timeout=30.0, interval=0.05):
    """Polls until the condition is truthy and returns its value; ends the run if it does not become so."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"bench: {what}: not so after {timeout:g} s")
        time.sleep(interval)
    return value


def percentile(values, share):
    """The smallest value that so many are not above; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0


def ratio(rows, name, other, column):
    """The median of what one server needs as a multiple of another one's, within a round."""
    pairs = zip(rows[name], rows[other], strict=False)
    found = [one[column] / two[column] for one, two in pairs if two[column]]
    return f"{statistics.median(found):.2f}" if found else "-"


def show(rows):
    """Prints the medians of the measurements in each row, which are dicts with the same names; None is "none"."""
    columns = list(dict.fromkeys(column for measured in rows.values() for one in measured for column in one))
    wide = max(12, *(len(name) + 2 for name in rows))
    print(" " * wide + "".join(f"{column:>{max(len(column) + 2, 10)}}" for column in columns))
    for name, measured in rows.items():
        cells = []
        for column in columns:
            values = [one[column] for one in measured if one.get(column) is not None]
            missing = "none" if any(column in one for one in measured) else ""
            middle = statistics.median(values) if values else None
            is_whole = all(isinstance(value, int) for value in values) or (middle or 0) >= 1000
            text = missing if middle is None else f"{middle:.0f}" if is_whole else f"{middle:.2f}"
            cells.append(f"{text:>{max(len(column) + 2, 10)}}")
        print(f"{name:{wide}}" + "".join(cells))
