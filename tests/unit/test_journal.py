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

import time
import types

import fixtures
from oslotest import base

from nova_vf_failover import exception
from nova_vf_failover import journal

PORT = '5b0e3d0e-5d5c-4a3f-9c55-d7a4f04d6f5d'
MAC = 'fa:16:3e:00:00:01'
State = journal.State


class JournalTestCase(base.BaseTestCase):

    def test_survives_the_domain_xml(self):
        written = journal.Journal(generation=7).moved(
            PORT, MAC, State.ATTACHING, 'it says <no> & "why"')

        read = journal.Journal.from_xml(written.to_xml())

        self.assertEqual(7, read.generation)
        entry = read.entries[PORT]
        self.assertEqual((MAC, State.ATTACHING, 'it says <no> & "why"'),
                         (entry.mac, entry.state, entry.reason))
        self.assertTrue(entry.degraded)

    def test_reads_what_libvirt_gives_back_with_a_prefix(self):
        text = (f'<vff:journal xmlns:vff="{journal.NAMESPACE}" '
                f'generation="3"><vff:port id="{PORT}" mac="{MAC}" '
                'state="standby" reason="" since="1.5"/></vff:journal>')

        read = journal.Journal.from_xml(text)

        self.assertEqual(State.STANDBY, read.entries[PORT].state)

    def test_somebody_elses_text_is_refused(self):
        for text in ('<journal/>', 'no xml', '<journal generation="x"/>',
                     '<journal generation="1"><port id="a"/></journal>',
                     '<journal generation="1"><port id="a" mac="b" '
                     'state="lost" reason="" since="0"/></journal>'):
            self.assertRaises(exception.JournalError,
                              journal.Journal.from_xml, text)

    def test_a_vf_is_not_detached_before_the_guest_was_told(self):
        attaching = journal.Journal().moved(PORT, MAC, State.ATTACHING)

        self.assertRaises(exception.WrongTransition, attaching.moved,
                          PORT, MAC, State.DETACHING)
        self.assertRaises(exception.WrongTransition, journal.Journal().moved,
                          PORT, MAC, State.SWITCHING)

    def test_there_is_a_way_back_from_every_state(self):
        for state in State:
            # To become what it is already is no way back.
            back = {State.CLEARING, State.RETURNING} - {state}
            self.assertTrue(any(self.can_become(state, following)
                                for following in back), state)

    def can_become(self, state, following):
        now = journal.Journal(entries={PORT: journal.Entry(PORT, MAC, state)})
        try:
            now.moved(PORT, MAC, following)
        except exception.WrongTransition:
            return False
        return True

    def test_generations_grow_even_after_the_journal_was_lost(self):
        first = journal.Journal().next_generation()
        second = first.next_generation()
        self.assertGreater(second.generation, first.generation)

        later = types.SimpleNamespace(time=lambda: time.time() + 60)
        with fixtures.MonkeyPatch('nova_vf_failover.journal.time', later):
            anew = journal.Journal().next_generation()

        self.assertGreater(anew.generation, second.generation)

    def test_without_leaves_the_other_ports(self):
        both = journal.Journal().moved(PORT, MAC, State.ATTACHING).moved(
            'other', 'fa:16:3e:00:00:02', State.ATTACHING)

        self.assertEqual({'other'}, set(both.without(PORT).entries))

    def test_reads_what_knew_no_attempts(self):
        text = (f'<journal generation="3"><port id="{PORT}" mac="{MAC}" '
                'state="standby" reason="it says no" since="1.5"/></journal>')

        entry = journal.Journal.from_xml(text).entries[PORT]

        self.assertEqual((0, 0.0, True), (
            entry.attempts, entry.next_attempt, entry.degraded))

    def test_attempts_survive_the_domain_xml_and_every_state(self):
        tried = self.standing().tried([PORT], 1764000000.25)
        moved = tried.moved(PORT, MAC, State.RETURNING).moved(
            PORT, MAC, State.STANDBY, 'it says no')

        entry = journal.Journal.from_xml(moved.to_xml()).entries[PORT]

        self.assertEqual((1, 1764000000.25), (
            entry.attempts, entry.next_attempt))
        self.assertEqual(2, moved.tried([PORT], 0).entries[PORT].attempts)

    def test_a_move_begins_to_count_anew(self):
        tried = self.standing().tried([PORT], 1764000000.25)

        entry = tried.anew().entries[PORT]

        self.assertEqual((0, 0.0, State.STANDBY), (
            entry.attempts, entry.next_attempt, entry.state))

    def test_a_reason_is_not_replaced_by_a_later_one(self):
        both = self.standing('it says no').moved(
            'other', 'fa:16:3e:00:00:02', State.ATTACHING)

        reasons = [entry.reason for entry in both.explained(
            'nobody knows').entries.values()]

        self.assertEqual(['it says no', 'nobody knows'], reasons)

    def test_a_reason_of_an_attempt_before_is_replaced(self):
        before = self.standing('it says no')
        outdated = tuple(before.entries.values())
        moved = before.moved(PORT, MAC, State.RETURNING).moved(
            PORT, MAC, State.STANDBY, 'no VF is left')

        for now, reason in ((before, 'nobody knows'),
                            (moved, 'no VF is left')):
            self.assertEqual(reason, now.explained(
                'nobody knows', outdated).entries[PORT].reason)

    def test_any_error_can_be_a_reason(self):
        text = 'QEMU said:\n\x00\x1b[31mno' + 'o' * 5000

        for written in (self.standing().explained(text),
                        self.standing().moved(PORT, MAC, State.STANDBY,
                                              text)):
            read = journal.Journal.from_xml(written.to_xml())

            self.assertStartsWith(read.entries[PORT].reason,
                                  'QEMU said:   [31mno')
            self.assertEqual(journal.LONGEST_REASON,
                             len(read.entries[PORT].reason))

    def assertStartsWith(self, text, beginning):
        self.assertEqual(beginning, text[:len(beginning)])

    def standing(self, reason=''):
        return journal.Journal(7, {PORT: journal.Entry(
            PORT, MAC, State.STANDBY, reason)})

    def test_a_vf_that_the_guest_keeps_may_go_later(self):
        asked = journal.Journal()
        for state in (State.ATTACHING, State.SWITCHING, State.DETACHING):
            asked = asked.moved(PORT, MAC, state)
        self.assertEqual({}, asked.kept)

        kept = asked.moved(PORT, MAC, State.RETURNING).moved(
            PORT, MAC, State.CLEARING).without(PORT)

        self.assertEqual({}, kept.entries)
        self.assertFalse(kept.empty)
        read = journal.Journal.from_xml(kept.to_xml())
        self.assertEqual({PORT: MAC}, read.kept)
        gone = read.moved(PORT, MAC, State.STANDBY)
        self.assertEqual({}, gone.kept)
        self.assertTrue(gone.moved(PORT, MAC, State.RETURNING).moved(
            PORT, MAC, State.CLEARING).without(PORT).empty)
