"""`preload=`: modules that the template imports once, for all workers."""

import concurrent.futures.process
import os
import subprocess
import sys
import textwrap
import warnings

import pytest

import plait

LIMIT = 60


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported here and in workers."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def write(name, text):
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    return write


def attribute(name, attribute):
    # Not by an import: it has to be there.
    return getattr(sys.modules[name], attribute, None), os.getpid()


def test_a_module_is_imported_once_for_all_workers(module):
    name = module("heavy", "import os; imported_in = os.getpid()")
    with plait.ProcessPoolExecutor(2, preload=[name, "json.tool"]) as pool:
        first, pid = pool.submit(attribute, name, "imported_in").result(LIMIT)
        assert pool.submit(attribute, "json.tool", "main").result(LIMIT)[0] is not None
        pool.submit(os._exit, 0).exception(LIMIT)
        second, other = pool.submit(attribute, name, "imported_in").result(LIMIT)
    assert pid != other
    assert first == second
    assert first not in (pid, other, os.getpid())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "import no_such_one",
            "ModuleNotFoundError: No module named 'no_such_one'",
        ),
        ("raise OSError('no device')", "OSError: no device"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_breaks_the_pool(module, text, expected):
    name = module("unable", text)
    with plait.ProcessPoolExecutor(1, preload=[name]) as pool:
        error = pool.submit(abs, 1).exception(LIMIT)
        assert isinstance(error, concurrent.futures.process.BrokenProcessPool)
        assert f"cannot import 'unable' (preload): {expected}\nTraceback" in str(error)
        assert 'unable.py", line 1' in str(error)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="unable"):
            pool.submit(abs, 1)


@pytest.mark.parametrize(
    ("preload", "error"),
    [("json", TypeError), ([1], TypeError), (7, TypeError), (["__main__"], ValueError)],
)
def test_what_is_no_list_of_modules(preload, error):
    with pytest.raises(error):
        plait.ProcessPoolExecutor(1, preload=preload)


def test_a_module_that_starts_threads_has_workers_executed(module, capfd):
    name = module(
        "threading_module",
        """
        import os
        import threading

        imported_in = os.getpid()
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, daemon=True)
        thread.start()
        """,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        pool = plait.ProcessPoolExecutor(2, preload=["json", name], initializer=list)
    with pool:
        imported_in, pid = pool.submit(attribute, name, "imported_in").result(LIMIT)
        thread, _ = pool.submit(lambda: (sys.modules[name].thread.is_alive(), 0)).result(LIMIT)
        assert sorted(pool.map(abs, range(-20, 0))) == list(range(1, 21))
        error = pool.submit(os.abort).exception(LIMIT)
        assert isinstance(error, plait.WorkerDied)
    # Each has its own, whose thread lives.
    assert imported_in == pid
    assert thread is True
    shown = capfd.readouterr().err
    assert "RuntimeWarning: the preloaded module 'threading_module' has started threads" in shown
    assert shown.count("RuntimeWarning") == 1


def run_program(tmp_path, text, *flags):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, *flags, str(path)], capture_output=True, text=True, timeout=LIMIT
    )


def test_an_error_made_of_that_warning_breaks_the_pool(tmp_path, module):
    module(
        "threading_module",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    )
    answer = run_program(
        tmp_path,
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path / "modules")!r})
        import plait

        with plait.ProcessPoolExecutor(1, preload=["threading_module"]) as pool:
            print(repr(pool.submit(abs, 1).exception()))
        """,
        "-W",
        "error::RuntimeWarning",
    )
    assert answer.stdout.startswith("BrokenProcessPool(")
    assert "'threading_module' has started threads" in answer.stdout


def test_what_a_preloaded_module_has_made_is_not_the_workers_to_remove(module, tmp_path):
    name = module(
        "with_folder",
        """
        import pathlib
        import tempfile

        folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(folder.name)
        """,
    )

    def use():
        (sys.modules[name].path / str(os.getpid())).touch()
        return sys.modules[name].path

    with plait.ProcessPoolExecutor(1, preload=[name]) as pool:
        path = pool.submit(use).result(LIMIT)
        # A worker that retires; the next one finds the folder as it was.
        pool.submit(sys.exit).exception(LIMIT)
        pool.submit(os._exit, 0).exception(LIMIT)
        assert pool.submit(use).result(LIMIT) == path
        assert len(list(path.iterdir())) == 2
    assert not path.exists()


def test_records_of_a_preloaded_module(module, caplog):
    name = module("talking", "import logging; logging.getLogger('talking').error('imported')")
    with plait.ProcessPoolExecutor(1, preload=[name]) as pool:
        pool.submit(abs, 1).result(LIMIT)
    (record,) = caplog.records
    assert (record.getMessage(), record.processName) == ("imported", "plait-template")
