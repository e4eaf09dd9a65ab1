"""Programs that serve a port, as processes: started, waited for, and ended with all that they have started."""

import os
import signal
import subprocess

from .net import eventually, listens


def end(process):
    """Ends a process that leads its group, and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Server:
    """What serves `port`: one process or several, in a folder of their own that also has what they say."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.processes = []
        self.log = folder / "server.log"
        self.log.touch()

    def run(self, *arguments, **environment):
        """Starts a process; of the environment, what is not given is ours."""
        with self.log.open("ab") as log:
            # Its own session, so that workers end with it.
            process = subprocess.Popen(
                arguments,
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def wait_ready(self, timeout=30):
        """Waits until the port is served; servers started one after another start at the same time that way."""
        eventually(
            lambda: self.is_dead or listens(self.port), lambda: f"{self} listens; it said {self.output}", timeout
        )
        self.check_alive()
        return self

    @property
    def is_dead(self):
        return any(process.poll() is not None for process in self.processes)

    def check_alive(self):
        assert not self.is_dead, f"{self} died: {self.output[-4000:]}"

    @property
    def output(self):
        return self.log.read_text(errors="replace")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            end(process)
        self.processes.clear()

    def __str__(self):
        return " ".join(map(str, self.processes[0].args)) if self.processes else self.folder.name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
