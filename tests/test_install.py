"""`install` and `uninstall`: in child processes, for they change asyncio."""

import subprocess
import sys
import textwrap


def check(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_asyncio_run_uses_plaits_loop_until_uninstalled():
    check(
        """
        import asyncio, plait

        async def kind():
            return type(asyncio.get_running_loop())

        before = asyncio.run(kind())
        plait.install()
        plait.install()
        assert asyncio.run(kind()) is plait.EventLoop
        with asyncio.Runner() as runner:
            assert runner.run(kind()) is plait.EventLoop
        plait.uninstall()
        assert asyncio.run(kind()) is before
        plait.uninstall()
        plait.install()
        assert asyncio.run(kind()) is plait.EventLoop
        """
    )


def test_a_policy_set_since_stays():
    check(
        """
        import asyncio, warnings, plait

        plait.install()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            mine = asyncio.DefaultEventLoopPolicy()
            asyncio.set_event_loop_policy(mine)
            plait.uninstall()
            assert asyncio.get_event_loop_policy() is mine
        """
    )


def test_runner_and_run():
    check(
        """
        import asyncio, plait

        async def kind():
            return type(asyncio.get_running_loop())

        with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
            assert runner.run(kind()) is plait.EventLoop
        assert plait.run(kind()) is plait.EventLoop

        async def nested():
            coroutine = kind()
            try:
                plait.run(coroutine)
            except RuntimeError as error:
                assert "cannot be called from a running event loop" in str(error)
            else:
                raise AssertionError
            coroutine.close()

        plait.run(nested())
        """
    )


def test_run_shuts_down_gracefully():
    check(
        """
        import asyncio, plait

        events = []

        async def background():
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0)
                events.append("cleaned")

        async def main():
            main.task = asyncio.create_task(background())
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, events.append, "thread")
            return 3

        assert plait.run(main()) == 3
        assert events == ["thread", "cleaned"]
        assert main.task.cancelled()
        """
    )
