"""Read a job with all the options it uses, as `lockstep config` prints it. Imports no PyTorch."""
import subprocess

import yaml


class JobRefused(Exception):
    """What the program, or a script here, says of a job that it does not take."""


def set_options(sets):
    """["a.b=value", ...] as words of a command line."""
    return [word for assignment in sets for word in ("--set", assignment)]


def print_job(lockstep, path, sets=()):
    """The text of the resolved job of a file, with `sets` in place of what it says."""
    result = subprocess.run([lockstep, "config", path, *set_options(sets)],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        raise JobRefused(result.stderr.strip())
    return result.stdout


def read_job(lockstep, path, sets=()):
    return yaml.safe_load(print_job(lockstep, path, sets))
