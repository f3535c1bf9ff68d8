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

"""Says on the standby NICs how an intent of the metadata service goes.

The host hears nothing else of such an intent, and it may begin to listen
late, so everything is said again and again with growing pauses.
"""

import contextlib
import errno
import threading
import time
import typing

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import reportframe
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import wire

# Seconds before each repetition.
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)

# As long as the host leaves an intent where it is, it may have missed them
# all; seconds for which they are then said at each look.
LONGEST = intents.LONGEST_TIMEOUT

# On these a NIC that is down is set up, for nothing runs over it.
_OVER = (intents.DONE, intents.REFUSED, intents.FAILED, intents.NONE)

# What a standby has while it is up only to send: what comes in on it comes
# to the NIC in use as well.
_DEAF = {sysctl.RP_FILTER: '1', sysctl.ARP_IGNORE: '8',
         sysctl.ADDR_GEN_MODE: '1',
         sysctl.ACCEPT_RA: '0', 'ipv6/conf:disable_ipv6': '1'}

Addresses = typing.Callable[[str], typing.List[wire.Address]]


class Voice:
    """Every method is called with the lock held.

    :param changed: the service's, notified of every new report
    :param current: the service's report
    :param addresses: of a port, by MAC
    """

    def __init__(self, changed: threading.Condition, nics: links.Links,
                 current: typing.Callable[[], intents.Report],
                 addresses: Addresses) -> None:
        self._changed = changed
        self._nics = nics
        self._current = current
        self._addresses = addresses
        self._generation = 0
        self._said: typing.Optional[typing.Tuple[int, str]] = None
        self._since = 0.0
        self._due: typing.Optional[float] = None
        self._pauses: typing.Iterator[float] = iter(())
        #: by MAC: standbys that were down, and their sysctls
        self._raised: typing.Dict[str, sysctl.Values] = {}

    def follow(self, intent: intents.Intent) -> None:
        """The host waits for reports on this intent."""
        now = time.monotonic()
        if self._generation != intent.generation:
            self._generation = intent.generation
            self._said = None
        elif self._due is None and now - self._since < LONGEST:
            self._due = now
        self._changed.notify_all()

    def run(self) -> None:
        with self._changed:
            while True:
                self._say_what_is_due()
                self._changed.wait(
                    None if self._due is None
                    else max(0.0, self._due - time.monotonic()))

    def fall_silent(self) -> None:
        """Leave the standbys as they were found: the next intent has come.
        """
        self._due = None
        for mac, values in self._raised.items():
            left, standby = '', self._nics.standby(mac)
            # One that got another name meanwhile has its sysctls by that.
            while standby and standby.name != left:
                with _unless_it_goes():
                    self._nics.set(standby, up=False)
                    sysctl.write_changed(standby.name, values)
                left, standby = standby.name, self._nics.standby(mac)
        self._raised.clear()

    def _say_what_is_due(self) -> None:
        report, now = self._current(), time.monotonic()
        if report.generation != self._generation:
            return
        if (report.generation, report.state) != self._said:
            self._said = (report.generation, report.state)
            self._since = self._due = now
            self._pauses = iter(PAUSES)
        if self._due is None or now < self._due:
            return
        self._say(report)
        pause = next(self._pauses, None)
        if pause is None:
            self.fall_silent()
        else:
            self._due = now + pause

    def _say(self, report: intents.Report) -> None:
        for mac in report.ports:
            standby = self._nics.standby(mac)
            with _unless_it_goes():
                if standby and (standby.up
                                or self._raise(standby, mac, report)):
                    opened = wire.Mouth(standby)
                    opened.send(reportframe.build(
                        mac, self._addresses(mac), report))
                    wire.close_later([opened])

    def _raise(self, standby: links.Nic, mac: str,
               report: intents.Report) -> bool:
        if report.state not in _OVER:
            return False
        found = sysctl.snapshot(standby.name)
        if not found:
            # It has gone, or has got another name, and would be set up by
            # its index while it hears. There is another time to say it.
            return False
        self._raised.setdefault(mac, {
            name: found[name] for name in _DEAF if name in found})
        sysctl.write_changed(standby.name, _DEAF)
        # Parked before it is up: nobody finds a second NIC of this MAC.
        self._nics.set(standby, mac=links.parked(mac))
        self._nics.set(standby, up=True)
        return True


@contextlib.contextmanager
def _unless_it_goes() -> typing.Iterator[None]:
    """Do something with a standby that the host may detach meanwhile.

    It has heard then what it waits for. A NIC that is renamed is not found
    either; there is another time to say it.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
