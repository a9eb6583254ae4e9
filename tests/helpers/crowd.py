"""The clients of `test_loop_limits`: many idle connections, and some that echo.

Run as a program of its own, so that the server's process has its descriptors to itself. Prints
`ready` when all are connected, works when a line comes in, and prints how many rounds came back.
"""

import resource
import select
import socket
import sys


def main(port, idle, busy, rounds):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def connect(number):
        sock = socket.socket()
        # Some addresses of loopback: one alone has too few ports for all.
        sock.bind((f"127.0.0.{1 + number % 4}", 0))
        sock.connect(("127.0.0.1", port))
        return sock

    crowd = [connect(number) for number in range(idle)]
    active = {sock.fileno(): sock for sock in map(connect, range(busy))}
    print("ready", flush=True)
    sys.stdin.readline()
    poll = select.epoll()
    left = {}
    message = bytes(range(256)) * 4
    for number, sock in active.items():
        poll.register(number, select.EPOLLIN)
        sock.sendall(message)
        left[number] = [rounds, bytearray()]
    done = 0
    while left:
        for number, _ in poll.poll(30):
            state = left[number]
            state[1] += active[number].recv(65536)
            if len(state[1]) < len(message):
                continue
            assert state[1] == message, "not what was sent"
            done += 1
            state[0] -= 1
            state[1].clear()
            if state[0]:
                active[number].sendall(message)
            else:
                poll.unregister(number)
                del left[number]
    for sock in crowd[:: max(1, idle // 100)]:
        sock.sendall(b"still here")
        assert sock.recv(100) == b"still here"
    print(done, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
