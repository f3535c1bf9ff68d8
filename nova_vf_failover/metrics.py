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

"""Counters and durations, in a file that other programs pick up.

``[vf_failover] metrics_file`` is written anew when nova-compute starts and
after every move, in the text format of Prometheus: node_exporter's textfile
collector serves it, Telegraf and others pass it on to statsd. The counters
begin at zero when nova-compute starts, as those who read them expect of a
process.

prometheus_client is on every compute node already: oslo.messaging needs
oslo.metrics, which needs it. oslo.metrics itself counts RPC calls only, and
needs a server of its own.
"""

from __future__ import annotations

import functools

from oslo_config import cfg
from oslo_log import log as logging
import prometheus_client

from nova_vf_failover import moves

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

PREFIX = 'nova_vf_failover'

# Seconds: the fastest step and the longest time-out are within.
_DURATIONS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# Seconds: a guest switches in less than one packet's time.
_INTERRUPTIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Metrics:
    """What this process has counted so far."""

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._moves = prometheus_client.Counter(
            f'{PREFIX}_moves', 'Failovers and failbacks of servers.',
            ['move', 'outcome'], registry=self._registry)
        self._durations = prometheus_client.Histogram(
            f'{PREFIX}_move_duration_seconds',
            'How long a failover or a failback of a server took.',
            ['move'], buckets=_DURATIONS, registry=self._registry)
        self._steps = prometheus_client.Histogram(
            f'{PREFIX}_step_duration_seconds',
            'How long a step took, whether it worked or not.',
            ['step'], buckets=_DURATIONS, registry=self._registry)
        self._faults = prometheus_client.Counter(
            f'{PREFIX}_step_errors', 'Steps that failed.',
            ['step'], registry=self._registry)
        self._interruptions = prometheus_client.Histogram(
            f'{PREFIX}_interruption_seconds',
            'How long a guest had no NIC in use, as its agent saw it.',
            ['move'], buckets=_INTERRUPTIONS, registry=self._registry)
        for kind in (moves.FAILOVER, moves.FAILBACK):
            for outcome in ('success', 'error'):
                # A rate needs the zero before the first one.
                self._moves.labels(kind, outcome)
        for step in moves.STEPS:
            self._faults.labels(_label(step))

    def count_move(self, move: moves.Move) -> None:
        """A failover or a failback of a server is over."""
        outcome = 'error' if move.error else 'success'
        self._moves.labels(move.kind, outcome).inc()
        self._durations.labels(move.kind).observe(move.duration)
        if move.interruption is not None:
            self._interruptions.labels(move.kind).observe(move.interruption)

    def count_step(self, step: moves.Step) -> None:
        """A step is over, whether it worked or not."""
        name = _label(step.name)
        self._steps.labels(name).observe(step.duration)
        if step.error:
            self._faults.labels(name).inc()

    def write(self) -> None:
        """Replace the file, in one step for those who read it.

        Nothing that is moved depends on it: a file that cannot be written is
        a line in the log.
        """
        path = CONF.vf_failover.metrics_file
        if not path:
            return
        try:
            prometheus_client.write_to_textfile(path, self._registry)
        except OSError as error:
            LOG.warning('[vf_failover] metrics_file %(path)s cannot be '
                        'written: %(error)s',
                        {'path': path, 'error': error})


def _label(step: str) -> str:
    return step.replace(' ', '_')


@functools.cache
def of_process() -> Metrics:
    """The counters of this nova-compute."""
    return Metrics()
