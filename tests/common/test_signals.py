"""SIGTERM and SIGINT: remembered, answered once, and the handlers put back."""

import os
import signal
import threading

import pytest

from lsdkit.common.signals import Interrupts, Stopped


def test_interrupts_wait_once_and_put_the_handlers_back():
    before = [signal.getsignal(number) for number in Interrupts.SIGNALS]
    with Interrupts() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):  # the second one is not waited for
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in Interrupts.SIGNALS] == before


def test_interrupts_do_nothing_in_another_thread():
    found = []

    def work():
        with Interrupts() as interrupts:
            interrupts.check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
