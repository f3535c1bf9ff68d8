#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""The message bus of Nova's harness, without its pauses.

Each listener looks into its queue twenty times a second (``FakeListener.poll``
in oslo_messaging/_drivers/impl_fake.py), so that a message waits for 25 ms on
average. A test has some dozens of them, one after the other.
"""

import threading
import time
import typing

import fixtures
from oslo_messaging._drivers import impl_fake


class PromptBus(fixtures.Fixture):
    """Has listeners look whenever something was sent."""

    def _setUp(self) -> None:
        sent = threading.Condition()
        deliver = impl_fake.FakeExchange.deliver_message

        def deliver_and_tell(exchange: impl_fake.FakeExchange,
                             *arguments: typing.Any,
                             **keywords: typing.Any) -> None:
            deliver(exchange, *arguments, **keywords)
            with sent:
                sent.notify_all()

        self.useFixture(fixtures.MonkeyPatch(
            'oslo_messaging._drivers.impl_fake.FakeExchange.deliver_message',
            deliver_and_tell))
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_messaging._drivers.impl_fake.time', _Time(sent)))


class _Time:
    """What the bus uses of the module ``time``."""

    time = staticmethod(time.time)

    def __init__(self, sent: threading.Condition) -> None:
        self._sent = sent

    def sleep(self, pause: float) -> None:
        """Until something is sent, at most so many seconds."""
        with self._sent:
            self._sent.wait(pause)
