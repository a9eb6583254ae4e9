"""plait.Future against concurrent.futures.Future, step by step.

They differ in one thing: those who wait are told of our cancellation at once,
and of a standard one when the executor reports it. So the rules that wait leave
out the standard's state between the two.
"""

import concurrent.futures as cf
import logging
import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import plait

logging.getLogger("concurrent.futures").addHandler(logging.NullHandler())


class Boom(Exception):
    pass


ERROR = Boom("one for both")


def told(machine):
    return machine.theirs._state != "CANCELLED"


class FutureMachine(RuleBasedStateMachine):
    """Every step is done to both, and has to come to the same."""

    @initialize()
    def make(self):
        self.ours, self.theirs = plait.Future(), cf.Future()
        self.our_calls, self.their_calls = [], []

    def both(self, step):
        def outcome(future):
            try:
                return ("returned", step(future))
            except Exception as error:
                return ("raised", type(error))

        ours, theirs = outcome(self.ours), outcome(self.theirs)
        assert ours == theirs
        return ours

    @rule()
    def cancel(self):
        self.both(lambda future: future.cancel())

    @rule()
    def begin(self):
        self.both(lambda future: future.set_running_or_notify_cancel())

    @rule(value=st.one_of(st.none(), st.integers()))
    def set_result(self, value):
        self.both(lambda future: future.set_result(value))

    @rule(error=st.sampled_from([ERROR, Boom, None]))
    def set_exception(self, error):
        self.both(lambda future: future.set_exception(error))

    @rule()
    def result(self):
        self.both(lambda future: future.result(timeout=0))

    @rule()
    def exception(self):
        self.both(lambda future: future.exception(timeout=0))

    @rule()
    def touch_the_condition(self):
        with self.ours._condition:
            assert self.ours._waiters == []

    @precondition(told)
    @rule(when=st.sampled_from([cf.FIRST_COMPLETED, cf.FIRST_EXCEPTION, cf.ALL_COMPLETED]))
    def wait(self, when):
        self.both(lambda future: [len(part) for part in cf.wait([future], 0, when)])

    @precondition(told)
    @rule()
    def wait_together(self):
        done, not_done = cf.wait([self.ours, self.theirs], 0)
        assert len(done) in (0, 2)
        assert done or not_done == {self.ours, self.theirs}

    @precondition(told)
    @rule()
    def as_completed(self):
        self.both(lambda future: [f is future for f in cf.as_completed([future], 0)])

    @rule(number=st.integers(0, 9), bad=st.booleans())
    def add_callback(self, number, bad):
        def callback_for(future, calls):
            def callback(ended):
                calls.append((number, ended is future))
                if bad:
                    raise Boom("in a callback")

            return callback

        self.ours.add_done_callback(callback_for(self.ours, self.our_calls))
        self.theirs.add_done_callback(callback_for(self.theirs, self.their_calls))

    @invariant()
    def looks_the_same(self):
        self.both(lambda f: (f.done(), f.running(), f.cancelled(), f._result, f._exception))
        self.both(lambda f: re.sub("0x[0-9a-f]+", "", repr(f)))
        if told(self):
            assert self.ours._state == self.theirs._state
        else:
            assert self.ours._state == "CANCELLED_AND_NOTIFIED"
            assert cf.wait([self.ours], 0).done == {self.ours}
        assert self.our_calls == self.their_calls


TestFutureModel = FutureMachine.TestCase
TestFutureModel.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
