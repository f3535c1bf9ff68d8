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

"""Copies of routing tables that stay as the tables are.

While a port is on its standby, what the guest looks up first is a copy. It
goes on changing the tables themselves: a new network of containers, a NIC
that is set down and up, a rule. The copies are made anew then, in the set
that is not in use, and exchanged as in a move: nothing is lost meanwhile.
"""

import logging
import time
import typing

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import standbys
from nova_vf_failover.guest import switch

LOG = logging.getLogger(__name__)

# Seconds from the first of some changes until they are copied together.
_GATHERING = 0.1
# The pause behind it, as a multiple of the time that it took. It is doubled as
# long as each pause sees a change: so a guest whose routes change all the time
# gives a twentieth of one processor for it.
_SHORTEST, _LONGEST = 1, 19
# Seconds from one fault to the next attempt, at most; the first one follows at
# once, and each further pause is twice as long.
_LONGEST_AFTER_A_FAULT = 60.0


class Upkeep:
    """Makes copies anew when somebody has changed their tables.

    :param switched: whose copies they are
    :param others: the standbys that are in use
    """

    def __init__(self, switched: switch.Switch,
                 others: standbys.Standbys) -> None:
        self._switch = switched
        self._standbys = others
        self._since: typing.Optional[float] = None
        self._not_before = 0.0
        self._pause = _SHORTEST
        self._after_a_fault = 0.0

    def wait(self) -> None:
        """Until there is something to do, however long that takes.

        For a thread of its own; the rest is for whoever moves the NICs.
        """
        self._switch.changes.wait()

    @property
    def wanted(self) -> bool:
        """Whether there is something to do."""
        return self._switch.changes.seen

    def want(self) -> None:
        self._switch.changes.seen = True

    def look(self) -> typing.Optional[float]:
        """Do it, if it is time.

        :returns: the seconds until it is, or None if nothing is wanted
        """
        if not self.wanted:
            self._since = None
            return None
        begun = time.monotonic()
        if self._since is None:
            self._since = begun
        left = max(self._since + _GATHERING, self._not_before) - begun
        if left > 0:
            return left
        self._pause = _SHORTEST if self._since > self._not_before else min(
            self._pause * 2, _LONGEST)
        self._since = None
        self._after_a_fault = 0.0 if self._renew() else min(
            max(self._after_a_fault * 2, _GATHERING), _LONGEST_AFTER_A_FAULT)
        ended = time.monotonic()
        self._not_before = ended + max(
            self._pause * (ended - begun), self._after_a_fault)
        return self.look()

    def _renew(self) -> bool:
        """:returns: whether that is to be tried no more"""
        self._standbys.forget_withdrawn()
        away = self._standbys.all_away()
        # Whatever brings a standby back makes its copies. Those of ports that
        # have gone altogether would come before the routes of other NICs. The
        # ports stay away all the same: what their NICs had is put on a VF
        # that the host attaches in their place, with an intent.
        if not away and not self._standbys.all_gone():
            self._switch.changes.stop()
            return True
        try:
            self._switch.throw(self._switch.prepare(away))
            self._switch.tidy()
        except intents.Refused as refusal:
            LOG.warning('The routes over the standbys stay as they are: %s',
                        refusal)
        except OSError:
            LOG.exception('The routes over the standbys are tried again')
            self.want()
            return False
        return True
