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

"""A standby that is up only to send report frames, and one that goes."""

import threading
from unittest import mock

from nova_vf_failover.guest import intent as intents
from nova_vf_failover.guest import links
from nova_vf_failover.guest import sysctl
from nova_vf_failover.guest import voice
from tests.guest import in_process


class VoiceTestCase(in_process.InProcess):

    def setUp(self):
        super().setUp()
        self.port, = self.ports
        self.attach_standby('alpha', self.port)
        self.nics = self.mover._nics
        self.asked = intents.from_document(self.intent('standby'))
        self.report = intents.Report(self.asked, intents.REFUSED)
        self.changed = threading.Condition()
        self.voice = voice.Voice(self.changed, self.nics,
                                 lambda: self.report, lambda _: [])

    def say(self):
        with self.changed:
            self.voice.follow(self.asked)
            self.voice._say_what_is_due()

    def fall_silent(self):
        with self.changed:
            self.voice.fall_silent()

    def standby(self):
        return self.guest.inside(lambda: self.nics.standby(self.port.mac))

    def settings(self):
        return self.guest.inside(
            lambda: sysctl.snapshot(self.standby().name))

    def assertRaised(self):
        """It is up, and is no second NIC of this MAC that hears."""
        raised = self.standby()
        self.assertEqual((True, links.parked(self.port.mac)),
                         (raised.up, raised.mac))
        self.assertEqual('1', self.settings()['ipv6/conf:disable_ipv6'])

    def assertRaisedAndLeft(self):
        """The next time to say it comes, and the next intent."""
        before = self.settings()
        self.voice._due = 0.0
        self.guest.inside(self.say)
        self.assertRaised()

        self.guest.inside(self.fall_silent)

        self.assertFalse(self.standby().up)
        self.assertEqual(before, self.settings())

    def test_it_is_left_as_it_was_found(self):
        self.assertRaisedAndLeft()

    def test_it_is_not_set_up_before_it_is_known_that_nothing_is_moved(self):
        self.report.state = intents.WORKING

        self.guest.inside(self.say)

        self.assertFalse(self.standby().up)

    def stale(self, **changed):
        """It is seen as it was for now, as by whoever has just looked."""
        return mock.patch.object(
            self.nics, 'standby', autospec=True,
            return_value=self.standby()._replace(**changed))

    def gone(self, **changed):
        """It goes behind a look at it, as it may at any time."""
        seen = self.stale(**changed)
        self.detach_standby('alpha', self.port)
        return seen

    def test_one_that_is_up_goes(self):
        with self.gone(up=True):
            self.guest.inside(self.say)

        self.attach_standby('alpha', self.port)
        self.assertRaisedAndLeft()

    def test_one_that_is_down_goes(self):
        """The next one of this port is left as it was found all the same."""
        with self.gone():
            self.guest.inside(self.say)

        self.attach_standby('alpha', self.port)
        self.assertRaisedAndLeft()

    def test_one_goes_before_it_is_left(self):
        self.guest.inside(self.say)
        self.assertRaised()

        with self.gone():
            self.guest.inside(self.fall_silent)

        self.assertEqual({}, self.voice._raised)
        self.attach_standby('alpha', self.port)
        self.assertRaisedAndLeft()

    def test_one_gets_another_name(self):
        """It is not up while it hears, though its index is the same."""
        with self.stale():
            self.guest.set(self.standby().name, ifname='ens9')
            self.guest.inside(self.say)

        self.assertFalse(self.standby().up)
        self.assertRaisedAndLeft()

    def test_one_gets_another_name_before_it_is_left(self):
        before = self.settings()
        self.guest.inside(self.say)
        self.assertRaised()
        seen = [self.standby()]
        self.guest.set(seen[0].name, ifname='ens9')
        look = self.nics.standby

        with mock.patch.object(
                self.nics, 'standby', autospec=True,
                side_effect=lambda mac: seen.pop() if seen else look(mac)):
            self.guest.inside(self.fall_silent)

        self.assertFalse(self.standby().up)
        self.assertEqual(before, self.settings())
