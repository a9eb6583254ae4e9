"""The template of a pool: it forks the workers."""

import gc
import marshal
import os
import socket
from multiprocessing.process import current_process
from typing import NoReturn

from plait._worker import inherited, records, setting, worker
from plait._worker.forking import Forker, reset_signals, take_control, tie
from plait._worker.protocol import GONE, UNUSABLE, Settings

__all__ = ["main"]


def main() -> NoReturn:
    """Serve the pool at the other end of standard input until it says go."""
    control, parent_pid, fds = take_control()
    settings_fd, bell, lifeline, pipe, *handed = fds
    tie(lifeline)
    reset_signals()
    settings: Settings = marshal.loads(os.pread(settings_fd, os.fstat(settings_fd).st_size, 0))
    setting.apply(settings)
    inherited.take(handed, settings["tracked"])
    records.install(pipe)
    template = _Template(control, (bell, lifeline, pipe, settings_fd), settings, parent_pid)
    template.prepare()
    # What is here now is here for good: workers share its pages as long as
    # no collection touches them.
    gc.collect()
    gc.freeze()
    template.serve()


class _Template(Forker):
    def __init__(
        self,
        control: socket.socket,
        fds: tuple[int, int, int, int],
        settings: Settings,
        parent_pid: int,
    ) -> None:
        self._bell, lifeline, self._pipe, self._settings_fd = fds
        super().__init__(control, lifeline)
        self._settings = settings
        self._parent_pid = parent_pid
        self._executes = False

    def prepare(self) -> None:
        """Import what workers shall find imported."""
        current_process().name = "plait-template"
        if not self._settings["preload"]:
            return
        from plait._worker import preload  # the first result waits for every import

        try:
            culprit = preload.load(self._settings["preload"])
            if culprit is not None:
                preload.threaded(culprit)
                self._executes = True
        except preload.Unusable as error:
            self._give_up(str(error))
        except Warning as error:
            self._give_up(f"was given a warning that is an error here: {error}")

    def _give_up(self, reason: str) -> NoReturn:
        text = os.memfd_create("plait-reason")
        os.write(text, reason.encode(errors="replace"))
        self.send(UNUSABLE, 0, fd=text)
        os._exit(1)

    def start(self, number: int, fds: list[int]) -> int:
        if not self._executes:
            return super().start(number, fds)
        from plait._worker import executed

        memory, lifeline, stderr, *others = fds
        kept = (memory, self._bell, lifeline, self._pipe, self._settings_fd, *others)
        return executed.execute(kept, stderr, number, self._parent_pid)

    def be_child(self, number: int, fds: list[int]) -> NoReturn:
        memory, lifeline, stderr, *others = fds
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(self._settings_fd)
        os.setpgid(0, 0)
        tie(lifeline)
        channel = worker.connect(self._settings, memory, self._bell, *others)
        worker.main(channel, lifeline, number, self._parent_pid, self._settings)

    def go(self) -> None:
        if self._settings["preload"]:
            from plait._worker import preload

            preload.finish()

    def tell_end(self, number: int, how: int, code: int) -> None:
        self.send(GONE, number, how, code)
