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


import contextlib
import threading

from oslotest import base

from nova_vf_failover import exception
from nova_vf_failover import operations

SERVER = '7c1c6bb1-8d3f-4a0e-9f3e-0d3f6a3c1b11'


class OperationsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.operations = operations.Operations()

    def recover(self, until):
        """Recovery works upon the server until it is told to end."""
        begun = threading.Event()

        def work():
            with self.operations.begin_yielding(SERVER) as operation:
                begun.set()
                until(operation)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join, 10)
        self.assertTrue(begun.wait(10))

    def test_recovery_makes_way(self):
        told = []
        self.recover(lambda operation: told.append(
            operation.cancelled.wait(10)))

        with self.operations.begin(SERVER) as operation:
            self.assertFalse(operation.cancelled.is_set())
            self.assertTrue(self.operations.mine(SERVER))

        self.assertFalse(self.operations.mine(SERVER))
        self.assertEqual([True], told)

    def test_nobody_waits_for_ever(self):
        over = threading.Event()
        self.recover(lambda operation: over.wait(10))

        error = self.assertRaises(
            exception.Busy, self.operations.begin(SERVER, 1).__enter__)

        self.assertEqual(
            f'Recovery is still moving ports of server {SERVER} and did not '
            'stop within 1 s. Try again.', str(error))
        over.set()

    def test_recovery_does_not_wait(self):
        with self.operations.begin(SERVER):
            self.assertRaises(
                exception.Busy,
                self.operations.begin_yielding(SERVER).__enter__)
            with self.operations.begin_yielding('another'):
                pass

    def test_recovery_leaves_alone_who_is_on_its_way(self):
        with self.operations.leaving(SERVER):
            self.assertTrue(self.operations.leaves(SERVER))
            self.assertRaises(
                exception.Busy,
                self.operations.begin_yielding(SERVER).__enter__)
            # What is undone is part of it.
            with self.operations.begin(SERVER):
                pass

        self.assertFalse(self.operations.leaves(SERVER))
        with self.operations.begin_yielding(SERVER):
            pass

    def test_who_is_on_its_way_is_so_until_libvirt_has_answered(self):
        with contextlib.ExitStack() as copying:
            with self.operations.leaving(SERVER):
                copying.enter_context(self.operations.still_leaving(SERVER))
            self.assertTrue(self.operations.leaves(SERVER))

        self.assertFalse(self.operations.leaves(SERVER))

    def test_who_was_given_up_does_not_leave(self):
        with self.operations.leaving(SERVER):
            pass

        self.assertRaises(
            exception.SwapCancelled,
            self.operations.still_leaving(SERVER).__enter__)
        self.assertFalse(self.operations.leaves(SERVER))

    def test_what_is_given_up_is_not_begun(self):
        with self.operations.leaving(SERVER), (
                self.operations.still_leaving(SERVER)):
            self.operations.stop_if_given_up(SERVER)
            self.operations.give_up(SERVER)

            self.assertTrue(self.operations.leaves(SERVER))
            self.assertRaises(exception.SwapCancelled,
                              self.operations.stop_if_given_up, SERVER)

        with self.operations.leaving(SERVER):
            self.operations.stop_if_given_up(SERVER)

    def test_a_move_is_not_begun_twice(self):
        with self.operations.begin(SERVER):
            error = self.assertRaises(
                exception.Busy, self.operations.begin(SERVER).__enter__)

        self.assertEqual('Another operation of this plugin is working on '
                         f'server {SERVER}.', str(error))

    def test_an_abort_is_for_moves(self):
        self.assertFalse(self.operations.cancel(SERVER))
        with self.operations.begin_yielding(SERVER) as recovering:
            self.assertFalse(self.operations.cancel(SERVER))
        self.assertFalse(recovering.cancelled.is_set())
        with self.operations.begin(SERVER) as moving:
            self.assertTrue(self.operations.cancel(SERVER))
        self.assertTrue(moving.cancelled.is_set())

    def test_the_end_of_the_process_is_for_all(self):
        with self.operations.begin('another') as moving, (
                self.operations.begin_yielding(SERVER)) as recovering:
            self.operations.close()
            # Nova may call it more than once.
            self.operations.close()

        self.assertEqual([(True, True)] * 2, [
            (its.cancelled.is_set(), its.stopped)
            for its in (moving, recovering)])

    def test_what_begins_at_the_end_of_the_process_ends_at_once(self):
        self.operations.close()

        for begin in (self.operations.begin, self.operations.begin_yielding):
            with begin(SERVER) as operation:
                self.assertTrue(operation.cancelled.is_set())
                self.assertTrue(operation.stopped)

    def test_nobody_leaves_at_the_end_of_the_process(self):
        with self.operations.leaving('another'):
            self.operations.close()

            self.assertTrue(self.operations.leaves('another'))
        error = self.assertRaises(
            exception.SwapCancelled,
            self.operations.leaving(SERVER).__enter__)
        self.assertIn('nova-compute was stopped', str(error))
        self.assertFalse(self.operations.leaves(SERVER))

    def test_an_abort_comes_before_the_end_of_the_process(self):
        with self.operations.begin(SERVER) as moving:
            self.operations.cancel(SERVER)
            self.operations.close()

        self.assertFalse(moving.stopped)

    def test_an_error_ends_it(self):
        def fail():
            with self.operations.begin(SERVER):
                raise RuntimeError()

        self.assertRaises(RuntimeError, fail)
        with self.operations.begin(SERVER):
            pass
