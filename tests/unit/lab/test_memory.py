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

"""The lab of large memory, as far as it goes without booting anything."""

import array
import base64
from unittest import mock

from lxml import etree
from oslotest import base

from tests.lab.compare import gaps
from tests.lab import errors
from tests.lab.memory import pinning
from tests.lab.memory import plan
from tests.lab.memory import table
from tests.lab.memory import trial
from tests.lab.sriov import backings
from tests.lab.sriov import guest as guests
from tests.lab.sriov import host as hosts

_TRACE = """\
# tracer: function_graph
#
# CPU  DURATION                  FUNCTION CALLS
# |     |   |                     |   |   |   |
 0) + 16.210 us   |  vfio_iommu_type1_ioctl [vfio_iommu_type1]();
 0) $ 5725121 us  |  vfio_iommu_type1_ioctl [vfio_iommu_type1]();
 ------------------------------------------
 0)  qemu-sy-589   =>  CPU 0/K-595
 ------------------------------------------

 1) @ 229048.5 us |  vfio_iommu_type1_ioctl [vfio_iommu_type1]();
 1)               |  vfio_iommu_type1_ioctl [vfio_iommu_type1]() {
 0) $ 1000000 us  |  } /* vfio_iommu_type1_ioctl [vfio_iommu_type1] */
"""
_PLAIN, _HUGE = (next(its for its in backings.EVERY if its.name == name)
                 for name in ('plain', 'hugepages'))
_VHOST, _QEMU = trial.STANDBYS[:2]


class ArgumentsTestCase(base.BaseTestCase):

    def _asked(self, *argv):
        return [its.title for its in plan.asked(
            plan.parser().parse_args(argv))]

    def test_the_largest_guest_decides_what_the_host_has(self):
        self.assertEqual(hosts.MEGABYTES + 8 * 1024,
                         plan.megabytes([1, 8, 4]))

    def test_every_size_with_every_memory_and_standby(self):
        self.assertEqual(
            ['1 GiB, plain, qemu', '1 GiB, hugepages, qemu',
             '2 GiB, plain, qemu', '2 GiB, hugepages, qemu'],
            self._asked('--sizes', '1', '2', '--backings', 'plain',
                        'hugepages', '--standbys', 'qemu'))

    def test_what_is_measured_if_nobody_says(self):
        self.assertEqual(3 * 3 * 2, len(self._asked()))

    def test_a_guest_has_memory(self):
        with mock.patch('sys.stderr', autospec=True):
            self.assertRaises(SystemExit, self._asked, '--sizes', '0')

    def test_too_little_memory_is_refused_with_what_decides_it(self):
        with mock.patch.object(hosts, 'check', autospec=True,
                               side_effect=errors.LabError(
                                   '900 MiB of memory are free.')) as check:
            error = self.assertRaises(errors.LabError, plan.check, [1, 8])

        check.assert_called_once_with(plan.megabytes([8]))
        self.assertEqual('900 MiB of memory are free. The largest guest of '
                         '--sizes 8 decides that.', str(error))


class BackingTestCase(base.BaseTestCase):

    def _host(self, pages):
        host = mock.Mock(spec=hosts.Host, machine=mock.Mock())
        host.machine.guest.output.return_value = f'{pages}\n'
        return host

    def _script(self, host):
        return host.machine.guest.output.call_args.args[-1]

    def test_all_are_xml(self):
        for its in backings.EVERY:
            self.assertEqual('memoryBacking', etree.fromstring(its.xml).tag)

    def test_some_need_nothing_of_a_host(self):
        self.assertEqual(['plain', 'locked', 'prealloc'], [
            its.name for its in backings.EVERY if its.unprepared])

    def test_huge_pages_are_set_aside(self):
        host = self._host(512)
        _HUGE.prepare(host, 1024)

        self.assertIn('echo 512 > /proc/sys/vm/nr_hugepages',
                      self._script(host))

    def test_others_give_them_back(self):
        host = self._host(0)
        _PLAIN.prepare(host, 1024)

        self.assertIn('echo 0 > /proc/sys/vm/nr_hugepages',
                      self._script(host))

    def test_a_host_with_too_few_is_told(self):
        error = self.assertRaises(errors.LabError, _HUGE.prepare,
                                  self._host(500), 1024)

        self.assertIn('500 huge pages', str(error))
        self.assertIn('512', str(error))


class PinningTestCase(base.BaseTestCase):

    def test_all_calls_count_and_nothing_else(self):
        self.assertAlmostEqual(6.954, pinning.seconds(_TRACE), 3)

    def test_no_call_takes_no_time(self):
        self.assertEqual(0, pinning.seconds('# tracer: function_graph\n'))


class StepsTestCase(base.BaseTestCase):

    def test_each_is_told_to_the_desk_and_the_quiet_is_as_long(self):
        guest = mock.Mock(spec=guests.Guest)
        clock = [0.0]

        def wait(seconds):
            clock[0] += seconds

        guest.tell.side_effect = lambda command: wait(
            9.0 if command == 'attach' else 2.0)
        watch = mock.Mock(spec=pinning.Pinning)
        watch.take.side_effect = [99.0, 8.0, 0.0, 1.0, 7.0, 0.5]
        with mock.patch.object(
                trial.time, 'sleep', autospec=True, side_effect=wait), (
                mock.patch.object(
                    trial.time, 'monotonic', autospec=True,
                    side_effect=lambda: clock[0])):
            phases, pinned = trial._take_through(guest, watch)

        self.assertEqual(
            [('attach', 9.0), ('quiet', 9.0), ('detach', 2.0),
             ('attach again', 9.0), ('detach again', 2.0)],
            [(name, end - start) for name, (start, end) in phases.items()])
        self.assertEqual([8.0, 0.0, 1.0, 7.0, 0.5], list(pinned.values()))
        self.assertEqual(['attach', 'detach'] * 2, [
            call.args[0] for call in guest.tell.call_args_list])

    def test_each_has_what_was_noticed_in_it(self):
        way = gaps.Way([], [gaps.Gap(0.5, 1.5, idle=0.9), gaps.Gap(3.0, 3.3)],
                       [], [])
        its = gaps.Round(
            {'attach': (0.0, 1.0), 'quiet': (2.0, 4.0), 'detach': (4.0, 5.0)},
            gaps.Way([], [], [], []), way,
            gaps.Stream([0.1, 0.9, 2.5, 2.6], 0), gaps.Quiet(0, 0, 0))

        done = trial.read(its, {'attach': 0.8, 'quiet': 0.0, 'detach': 0.1})

        attach = done['attach']
        self.assertEqual((1.0, 0.8, 0.0, 0.5, 0.9), (
            attach.seconds, attach.pinned, attach.inwards, attach.outwards,
            attach.idle))
        self.assertAlmostEqual(0.8, attach.stall)
        self.assertAlmostEqual(0.3, done['quiet'].outwards)
        self.assertAlmostEqual(0.5, done['quiet'].stall)
        self.assertEqual(0.0, done['detach'].outwards)

    def test_a_gap_goes_on_after_its_step_until_the_next_one(self):
        its = gaps.Round(
            {'attach': (0.0, 1.0), 'detach': (4.0, 5.0)},
            gaps.Way([], [gaps.Gap(6.0, 6.4)], [], []),
            gaps.Way([], [gaps.Gap(0.5, 1.7), gaps.Gap(2.0, 2.3),
                          gaps.Gap(3.5, 4.5)], [], []),
            gaps.Stream([], 0), gaps.Quiet(0, 0, 0))

        done = trial.read(its, {'attach': 0.8, 'detach': 0.1})

        self.assertAlmostEqual(0.7, done['attach'].after)
        self.assertAlmostEqual(0.5, done['attach'].outwards)
        self.assertAlmostEqual(0.4, done['detach'].after)

    def test_a_gap_that_outlasts_the_last_step_is_one(self):
        sent = [number * 0.1 for number in range(100)]
        through = [number for number, at in enumerate(sent)
                   if not 4.5 < at < 5.5]
        arrivals = [part for number in through
                    for part in (number, sent[number])]
        peer = {'sent': sent, 'received': arrivals, 'stream': [
            part for number in through
            for part in (sent[number], float(number), 0.0)]}
        guest = {'sent': sent, 'received': base64.b64encode(
            array.array('I', through).tobytes()).decode()}
        phases = {'attach': (1.0, 2.0), 'detach': (4.0, 5.0)}

        its = trial._measure(peer, guest, phases)
        detach = trial.read(its, dict.fromkeys(phases, 0.0))['detach']

        for seconds in (detach.inwards, detach.outwards, detach.stall):
            self.assertAlmostEqual(0.5, seconds)


class ResultTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        step = trial.Step(2.0, 1.5, 0.0, 0.4, 0.0, 0.3, 0.2)
        later = trial.Step(4.0, 3.5, 0.0, 0.6, 0.0, 0.3, 0.0)
        self.done = {
            trial.Trial(4, _PLAIN, _VHOST): [
                dict.fromkeys(trial.STEPS, step),
                dict.fromkeys(trial.STEPS, later)],
            trial.Trial(4, _HUGE, _QEMU): [dict.fromkeys(trial.STEPS, step)]}

    def test_the_document_has_milliseconds_of_each_round(self):
        first, second = table.document(self.done)['trials']

        self.assertEqual((4, 'plain', 'vhost'), (
            first['gib'], first['memory'], first['standby']))
        self.assertEqual({
            'ms': [2000, 4000], 'pinned_ms': [1500, 3500],
            'inwards_ms': [0, 0], 'outwards_ms': [400, 600],
            'idle_ms': [0, 0], 'stall_ms': [300, 300],
            'after_ms': [200, 0]},
            first['steps']['detach'])
        self.assertEqual([2000], second['steps']['quiet']['ms'])

    def test_the_table_has_a_row_for_each(self):
        made = table.make('attach', self.done)

        cells = list(zip(*(column.cells for column in made.columns)))
        self.assertEqual(
            ('4', 'plain', 'vhost', '3000 (2000-4000)', '2500 (1500-3500)',
             '0 (0-0)', '500 (400-600)', '0 (0-0)', '300 (300-300)',
             '100 (0-200)'),
            cells[0])
        self.assertEqual(('hugepages', 'qemu', '2000'), cells[1][1:4])
