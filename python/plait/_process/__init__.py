"""`plait.Process`: processes as `multiprocessing` has them, forked by a clean template.

| file | what it is |
|---|---|
| `process.py` | the class |
| `popen.py` | a started process, for the class: its end, its exit code, signals to it |
| `launcher.py` | the template that all processes of this process are forked by |
| `payload.py` | what a process is told when it starts |
| `context.py` | the context: `multiprocessing`'s, with these processes |

The other side is `plait._worker.process_template` and `process_child`.

```text
 parent                         template                    process
 ──────                         ────────                    ───────
 start ── control: FORK ──────▶ fork ─────────────────────▶ tie to the lifeline, wait
       ◀─ control: pid, pidfd ─
       ── channel: START, descriptors ────────────────────▶ set up, run
       ◀─ channel: BEGUN ───────────────────────────────────
 pidfd readable                                             leave
       ◀─ channel: ENDED, how ─ reap
```

What can go wrong, and why it is harmless:

- The template dies after the fork, before it says so: the process waits for its START on a socket
  whose other end goes, and its lifeline is cut. It never begins, and another template is asked.
- The template dies while processes run: the pidfd still tells when one ends. How it ended, the
  kernel tells (from Linux 6.15 on), or the process's own last message. What is left is a death by
  a signal on an older kernel: reported as 255, as `multiprocessing` does.
- Two threads ask for the exit code: one reads the channel, under the lock of the `Popen`.
- A process number is used again: signals go through the pidfd.
- The parent forks: the child has neither template nor lifelines, and reads no channel.
- A start is interrupted while the template forks: the lifeline is cut, and the late answer is
  dropped by its number.
"""
