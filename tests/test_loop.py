"""What a loop owes its callbacks. Each test runs on asyncio's loop too: it is
the model, and it shows that the test asks for nothing but asyncio's meaning."""

import asyncio
import contextvars
import errno
import gc
import logging
import os
import re
import socket
import threading
import time
import weakref
from pathlib import Path

import pytest

import plait

# In seconds, for what takes no time unless it fails.
PATIENCE = 30.0


def turn(loop):
    """Run everything that is ready now, and no more."""
    loop.call_soon(loop.stop)
    loop.run_forever()


class TestCallSoon:
    def test_runs_in_order_with_arguments(self, loop):
        seen = []
        for number in range(5):
            loop.call_soon(seen.append, number)
        turn(loop)
        assert seen == [0, 1, 2, 3, 4]

    def test_what_a_callback_adds_waits_for_the_next_turn(self, loop):
        seen = []

        def first():
            seen.append("first")
            loop.call_soon(seen.append, "added")

        loop.call_soon(first)
        loop.call_soon(seen.append, "second")
        turn(loop)
        assert seen == ["first", "second"]
        turn(loop)
        assert seen == ["first", "second", "added"]

    def test_a_cancelled_handle_does_not_run(self, loop):
        seen = []
        handle = loop.call_soon(seen.append, 1)
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()
        turn(loop)
        assert seen == []

    def test_cancel_from_an_earlier_callback(self, loop):
        seen = []
        loop.call_soon(lambda: later.cancel())
        later = loop.call_soon(seen.append, 1)
        turn(loop)
        assert seen == []

    def test_context(self, loop):
        var = contextvars.ContextVar("var", default="outside")
        context = contextvars.copy_context()
        context.run(var.set, "given")
        seen = []
        handle = loop.call_soon(lambda: seen.append(var.get()), context=context)
        loop.call_soon(lambda: (var.set("leaked"), seen.append(var.get())))
        loop.call_soon(lambda: seen.append(var.get()))
        if hasattr(handle, "get_context"):
            assert handle.get_context() is context
        turn(loop)
        assert seen == ["given", "leaked", "outside"]

    def test_repr_names_the_callback(self, loop):
        handle = loop.call_soon(print, "x")
        assert "print" in repr(handle)
        handle.cancel()
        assert "cancelled" in repr(handle)

    def test_dropped_references(self, loop):
        class Thing:
            pass

        thing = Thing()
        ref = weakref.ref(thing)
        handle = loop.call_soon(lambda thing: None, thing)
        handle.cancel()
        del thing
        assert ref() is None


class TestTimers:
    def test_fire_in_the_order_of_their_time_then_of_their_making(self, loop):
        seen = []
        now = loop.time()
        loop.call_at(now + 0.002, seen.append, "later")
        loop.call_at(now + 0.001, seen.append, "a")
        loop.call_at(now + 0.001, seen.append, "b")
        loop.call_at(now + 0.003, loop.stop)
        loop.run_forever()
        assert seen == ["a", "b", "later"]

    def test_are_never_early(self, loop):
        when = loop.time() + 0.002
        seen = []
        loop.call_at(when, lambda: (seen.append(loop.time()), loop.stop()))
        loop.run_forever()
        assert seen[0] >= when - time.get_clock_info("monotonic").resolution

    def test_what_the_clock_tells_apart(self, loop):
        """Timers due within this of now are due: asyncio's figure, which is the clock's own."""
        assert loop._clock_resolution == time.get_clock_info("monotonic").resolution

    def test_are_not_rounded_to_milliseconds(self):
        """asyncio's are, by its selector. One of many is enough, on a busy machine."""
        loop = plait.new_event_loop()

        def wait():
            begun = loop.time()
            loop.call_later(0.0001, loop.stop)
            loop.run_forever()
            return loop.time() - begun

        assert any(0.0001 <= wait() < 0.0009 for _ in range(1000))
        loop.close()

    def test_cancelled_ones_do_not_fire_and_do_not_keep_the_loop(self, loop):
        seen = []
        handles = [loop.call_later(0.001, seen.append, n) for n in range(500)]
        for handle in handles:
            handle.cancel()
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
        assert seen == []

    def test_negative_delays_are_now(self, loop):
        loop.call_later(-1, loop.stop)
        loop.run_forever()

    def test_handle(self, loop):
        when = loop.time() + 10
        early, late = loop.call_at(when, print), loop.call_at(when + 1, print)
        assert early.when() == when
        assert early < late
        assert late > early
        assert early <= late
        assert late >= early
        assert early == early
        assert early != late
        assert early != 3
        assert hash(early) == hash(when)
        assert f"when={when}" in repr(early)
        with pytest.raises(TypeError):
            early < 3  # noqa: B015
        early.cancel()
        late.cancel()

    def test_none_is_refused(self, loop):
        with pytest.raises(TypeError, match="delay must not be None"):
            loop.call_later(None, print)
        with pytest.raises(TypeError, match="when cannot be None"):
            loop.call_at(None, print)

    def test_a_clock_of_ones_own(self):
        class Clock(plait.EventLoop):
            def time(self):
                return 100.0

        loop = Clock()
        assert loop.call_later(5, print).when() == 105.0
        loop.close()


class TestThreads:
    def test_threadsafe_call_wakes_a_sleeping_loop(self, loop):
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop))
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()

    def test_many_threads_lose_nothing(self, loop):
        seen = []

        def work(number):
            for _ in range(500):
                loop.call_soon_threadsafe(seen.append, number)
            loop.call_soon_threadsafe(done)

        running = 4

        def done():
            nonlocal running
            running -= 1
            if not running:
                loop.stop()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(running)]
        for thread in threads:
            thread.start()
        loop.run_forever()
        for thread in threads:
            thread.join()
        assert sorted(seen) == sorted([0, 1, 2, 3] * 500)

    def test_wrong_thread_is_an_error_in_debug_mode(self, loop):
        loop.set_debug(True)
        errors = []

        def wrong():
            for call in (
                lambda: loop.call_soon(print),
                lambda: loop.call_later(1, print),
                lambda: loop.call_at(1, print),
            ):
                try:
                    call()
                except RuntimeError as error:
                    errors.append(str(error))
            loop.call_soon_threadsafe(loop.stop)

        thread = threading.Thread(target=wrong)
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()
        assert len(errors) == 3
        assert all("Non-thread-safe operation" in error for error in errors)

    def test_debug_mode_by_anything_that_is_true_or_false(self, loop):
        loop.set_debug(1)
        assert loop.get_debug()
        loop.set_debug(0)
        assert not loop.get_debug()

    def test_plain_call_from_another_thread_still_wakes_plaits_loop(self):
        """asyncio leaves such a call lying until something else happens."""
        loop = plait.new_event_loop()
        loop.set_debug(False)
        thread = threading.Thread(target=lambda: loop.call_soon(loop.stop))
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()
        loop.close()

    def test_second_run_is_refused(self, loop):
        errors = []

        def run():
            try:
                loop.run_forever()
            except RuntimeError as error:
                errors.append(str(error))
            loop.call_soon_threadsafe(loop.stop)

        thread = threading.Thread(target=run)
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()
        assert errors == ["This event loop is already running"]


class TestRunAndClose:
    def test_stop_before_run_runs_one_turn(self, loop):
        seen = []
        loop.call_soon(seen.append, 1)
        loop.stop()
        loop.run_forever()
        assert seen == [1]
        turn(loop)

    def test_running_loop_is_set_and_restored(self, loop):
        seen = []
        loop.call_soon(lambda: seen.append(asyncio.get_running_loop()))
        turn(loop)
        assert seen == [loop]
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    def test_closed(self, loop):
        loop.close()
        loop.close()
        assert loop.is_closed()
        for call in (
            lambda: loop.call_soon(print),
            lambda: loop.call_soon_threadsafe(print),
            lambda: loop.call_later(0, print),
            lambda: loop.call_at(0, print),
            loop.run_forever,
            lambda: loop.run_in_executor(None, print),
            lambda: loop.add_signal_handler(10, print),
        ):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                call()

    def test_closing_a_running_loop_is_refused_and_harmless(self, loop):
        def close():
            with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
                loop.close()
            seen.append(1)

        seen = []
        loop.call_soon(close)
        turn(loop)
        turn(loop)
        assert seen == [1]

    def test_keyboard_interrupt_passes_through_and_keeps_the_queue(self, loop):
        def interrupt():
            raise KeyboardInterrupt

        seen = []
        loop.call_soon(interrupt)
        loop.call_soon(seen.append, "kept")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert not loop.is_running()
        turn(loop)
        assert seen == ["kept"]

    def test_descriptors_are_given_back(self):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            loop = plait.new_event_loop()
            turn(loop)
            loop.close()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_cycles_are_collected(self):
        class Marker:
            pass

        refs = []
        for _ in range(1000):
            loop = plait.new_event_loop()
            marker = Marker()
            marker.loop = loop
            refs.append(weakref.ref(marker))
            loop.call_soon(print, marker)
            loop.call_later(1000, print, marker)
            loop.marker = marker
            asyncio.BaseEventLoop.close(loop)  # without letting go of the queue
            del loop, marker
        gc.collect()
        assert sum(ref() is not None for ref in refs) == 0

    def test_an_unclosed_loop_warns(self, loop):
        other = type(loop)()
        with pytest.warns(ResourceWarning, match="unclosed event loop"):
            del other
            gc.collect()

    def test_async_generators_are_closed(self, loop):
        closed = []

        async def generate():
            try:
                yield 1
            finally:
                closed.append(True)

        async def main():
            generator = generate()
            await anext(generator)
            main.kept = generator

        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert closed == [True]


def test_errors_of_the_system_read_as_the_standard_librarys():
    loop = plait.new_event_loop()
    with Path(__file__).open() as file, pytest.raises(PermissionError) as caught:
        loop.add_reader(file, print)
    loop.close()
    assert str(caught.value) == f"[Errno {errno.EPERM}] {os.strerror(errno.EPERM)}"


class TestExceptionHandler:
    def test_gets_what_a_callback_raises(self, loop):
        contexts = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        error = ZeroDivisionError("no")

        def fail():
            raise error

        handle = loop.call_soon(fail)
        seen = []
        loop.call_soon(seen.append, "goes on")
        turn(loop)
        assert seen == ["goes on"]
        [context] = contexts
        assert context["exception"] is error
        assert context["handle"] is handle
        assert "Exception in callback" in context["message"]
        assert "fail" in context["message"]

    def test_default_logs(self, loop, caplog):
        loop.call_soon(lambda: 1 / 0)
        turn(loop)
        assert "ZeroDivisionError" in caplog.text

    def test_one_that_fails_is_logged(self, loop, caplog):
        loop.set_exception_handler(lambda loop, context: [][0])
        loop.call_soon(lambda: 1 / 0)
        turn(loop)
        assert "Unhandled error in exception handler" in caplog.text


class TestDebug:
    @pytest.mark.parametrize(("debug", "duration"), [(True, 0.0), (True, 1000.0), (False, 0.0)])
    def test_slow_callbacks_are_named(self, loop, caplog, debug, duration):
        def slow():
            pass

        loop.set_debug(debug)
        loop.slow_callback_duration = duration
        loop.call_soon(slow)
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            turn(loop)
        told = [line for line in caplog.messages if re.search(r"^Executing .*slow.* took ", line)]
        assert len(told) == (debug and not duration)
        if not told:
            assert caplog.messages == []

    def test_handles_tell_where_they_were_made(self, loop):
        loop.set_debug(True)
        handle = loop.call_soon(print)
        assert __file__ in repr(handle)
        assert "created at" in repr(handle)

    def test_coroutines_are_refused_as_callbacks(self, loop):
        async def coroutine():
            pass

        loop.set_debug(True)
        with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
            loop.call_soon(coroutine)
        with pytest.raises(TypeError, match="a callable object was expected"):
            loop.call_soon(3)


class TestReadersAndWriters:
    @pytest.fixture
    def pair(self):
        a, b = socket.socketpair()
        a.setblocking(False)
        b.setblocking(False)
        with a, b:
            yield a, b

    def test_reader_by_number_and_by_object(self, loop, pair):
        a, b = pair
        for fd in (b, b.fileno()):
            seen = []
            loop.add_reader(fd, lambda: (seen.append(b.recv(10)), loop.stop()))
            a.send(b"x")
            loop.run_forever()
            assert seen == [b"x"]
            assert loop.remove_reader(fd) is True
            assert loop.remove_reader(fd) is False

    def test_removed_by_an_object_that_is_closed(self, loop, pair):
        a, b = pair
        loop.add_reader(a, print)
        loop.add_writer(b, print)
        a.close()
        b.close()
        assert loop.remove_reader(a) is True
        assert loop.remove_writer(b) is True
        with pytest.raises(ValueError, match="Invalid file"):
            loop.remove_reader(a)

    def test_a_number_does_not_name_an_object(self, loop, pair):
        a, _ = pair
        number = a.fileno()
        loop.add_reader(number, print)
        a.close()
        with pytest.raises(ValueError, match="Invalid file"):
            loop.remove_reader(a)
        assert loop.remove_reader(number) is True

    def test_a_watched_object_is_let_go(self, loop):
        class Pipe:
            def fileno(self):
                return self.number

        reader, writer = os.pipe()
        for remove in (lambda pipe: loop.remove_reader(pipe), lambda _: loop.remove_reader(reader)):
            pipe = Pipe()
            pipe.number = reader
            gone = weakref.ref(pipe)
            loop.add_reader(pipe, print)
            remove(pipe)
            del pipe
            gc.collect()
            assert gone() is None
        os.close(reader)
        os.close(writer)

    def test_writer_and_reader_of_one_descriptor(self, loop, pair):
        a, b = pair
        seen = []
        loop.add_writer(b, lambda: (seen.append("w"), loop.remove_writer(b)))
        loop.add_reader(b, lambda: (seen.append(b.recv(1)), loop.stop()))
        loop.call_soon(a.send, b"r")
        loop.run_forever()
        assert seen == ["w", b"r"]
        assert loop.remove_reader(b)
        assert not loop.remove_writer(b)

    def test_a_second_reader_replaces_the_first(self, loop, pair):
        a, b = pair
        seen = []
        loop.add_reader(b, seen.append, "first")
        loop.add_reader(b, lambda: (seen.append("second"), loop.stop()))
        a.send(b"x")
        loop.run_forever()
        assert seen == ["second"]
        loop.remove_reader(b)

    def test_removed_in_the_same_turn(self, loop, pair):
        a, b = pair
        seen = []
        loop.add_reader(b, seen.append, "b")
        loop.add_reader(a, lambda: loop.remove_reader(b))
        a.send(b"x")
        b.send(b"x")
        loop.call_later(0.01, loop.stop)
        loop.call_soon(lambda: loop.remove_reader(b))
        loop.run_forever()
        assert seen == []
        loop.remove_reader(a)

    def test_a_reused_number_never_wakes_the_old_watcher(self, loop, pair):
        _, b = pair
        seen = []
        loop.add_reader(b, seen.append, "old")
        loop.remove_reader(b)
        number = b.detach()
        c, d = socket.socketpair()
        os.dup2(d.fileno(), number)
        new = socket.socket(fileno=number)
        loop.add_reader(new, lambda: (seen.append("new"), loop.stop()))
        c.send(b"x")
        loop.run_forever()
        loop.remove_reader(new)
        assert seen == ["new"]
        for sock in (c, d, new):
            sock.close()

    def test_regular_files_are_refused(self, loop, tmp_path):
        path = tmp_path / "file"
        path.write_text("x")
        with path.open() as file, pytest.raises(PermissionError):
            loop.add_reader(file, print)

    @pytest.mark.parametrize("fd", [-1, object(), None, "x"])
    def test_nonsense_is_refused(self, loop, fd):
        with pytest.raises(ValueError, match="Invalid file"):
            loop.add_reader(fd, print)

    def test_a_transports_descriptor_is_refused(self, loop, pair):
        async def main():
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=pair[0])
            for call in (loop.add_reader, loop.add_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    call(pair[0].fileno(), print)
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.remove_reader(pair[0].fileno())
            transport.abort()
            await asyncio.sleep(0)

        loop.run_until_complete(main())


class TestExecutorAndNames:
    def test_run_in_executor(self, loop):
        async def main():
            return await loop.run_in_executor(None, threading.get_ident)

        assert loop.run_until_complete(main()) != threading.get_ident()
        loop.run_until_complete(loop.shutdown_default_executor())

    def test_default_executor_must_be_of_threads(self, loop):
        with pytest.raises(TypeError, match="ThreadPoolExecutor"):
            loop.set_default_executor(object())

    def test_getaddrinfo(self, loop):
        found = loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
        assert found[0][4] == ("127.0.0.1", 80)

    def test_a_name_is_looked_up_by_the_socket_module(self, loop, monkeypatch):
        """In a thread; not by this machine's resolver, which may know any name or none."""
        answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
        asked = []

        def look_up(host, port, *options):
            asked.append((host, port, threading.get_ident() == here))
            if host == "unknown":
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return answer

        here = threading.get_ident()
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        assert loop.run_until_complete(loop.getaddrinfo("name", 80)) == answer
        with pytest.raises(socket.gaierror):
            loop.run_until_complete(loop.getaddrinfo("unknown", 80))
        assert asked == [("name", 80, False), ("unknown", 80, False)]
        loop.run_until_complete(loop.shutdown_default_executor())
