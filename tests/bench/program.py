"""Start Lockstep, alone or on ranks, and read what it leaves. Needs nothing but Python."""
import json
import os
import subprocess
import tempfile


class RunFailed(Exception):
    """A command that ended with an error, and what it said."""

    def told(self):
        """The program's own line, without what mpirun adds."""
        lines = str(self).splitlines()
        return next((line for line in lines if line.startswith("lockstep:")), lines[0])


def start(command, **options):
    """Run a command to its end; its output and the most memory it held, in bytes."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise RunFailed("%s failed:\n%s" % (" ".join(command), text.strip()))
    return text, usage.ru_maxrss * 1024


def on_ranks(ranks, bound=False):
    """What starts a command on ranks. Bound, each keeps to a core, where there are as many."""
    mpirun = os.environ.get("MPIEXEC", "mpirun")
    command = [mpirun, "-n", str(ranks)]
    version = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=True)
    if "Open MPI" not in version.stdout:
        return command
    if os.geteuid() == 0:
        os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    if bound and ranks <= len(os.sched_getaffinity(0)):
        # Open MPI counts cores, not the processors that share one.
        return command + ["--oversubscribe", "--bind-to", "core:overload-allowed"]
    return command + ["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]


def train(command, job, words, out):
    """Train into the folder `out`; the records of its metrics, and the most memory held.

    `command` is the program, behind what starts its ranks if there are any (the memory is then that
    of mpirun's process); `words` are further options.
    """
    _, peak = start([*command, "train", job, *words, "--out", out, "--progress", "none"],
                    stdin=subprocess.DEVNULL)
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file], peak


def later_rates(records):
    """Samples per second of the epochs but the first."""
    rates = [record["samples_per_second"] for record in records if "samples_per_second" in record]
    return rates[1:]
