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

"""One of the processes that run trials: told on stdin, tells on stdout.

A line is a JSON document: ``{"vfs", "plugin", "scene"}`` asks for the points
of a scene, with ``point`` and ``fault`` for a run.
"""

# Before any other module of Nova: it chooses the concurrency mode.
from tests.faults import cloud as clouds  # isort: skip

import json
import os
import sys
import typing

from tests.faults import faults
from tests.faults import points
from tests.faults import scenes
from tests.faults import trial as trials


class Worker:
    """Has one stage at a time."""

    def __init__(self) -> None:
        self._stage: trials.Stage | None = None
        self._kind: tuple[
            int, bool, type[clouds.FaultyCloud]] | None = None

    def answer(self, asked: dict[str, typing.Any]) -> dict[str, typing.Any]:
        scene = scenes.Scene(asked['scene'])
        stage = self._need(asked['vfs'], asked['plugin'], clouds.of(scene))
        if 'point' not in asked:
            return {'points': [str(point) for point in stage.record(scene)]}
        trial = trials.Trial(
            asked['vfs'], points.Point.parse(asked['point']),
            faults.Fault(asked['fault']), scene)
        outcome = stage.play(trial)
        if not outcome.hit and not outcome.violations:
            # Which calls there are depends on how long something takes. The
            # second time is in a cloud of its own.
            outcome = stage.play(trial)
        return trials.as_document(outcome)

    def close(self) -> None:
        if self._stage:
            self._stage.close()

    def _need(self, vfs: int, plugin: bool,
              cloud: type[clouds.FaultyCloud]) -> trials.Stage:
        if self._kind != (vfs, plugin, cloud) or self._stage is None:
            self.close()
            self._kind = vfs, plugin, cloud
            self._stage = trials.Stage(vfs, plugin, cloud)
        return self._stage


def main() -> None:
    # What Nova or a fixture prints must not come between the answers.
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    worker = Worker()
    try:
        for line in sys.stdin:
            answers.write(json.dumps(worker.answer(json.loads(line))) + '\n')
    except KeyboardInterrupt:
        return
    finally:
        worker.close()
    # The pools of Nova's that a killed process has left hold this one up.
    answers.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
