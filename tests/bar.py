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

"""How far something long is."""

from collections.abc import Callable
import time
import typing

from rich import console
from rich import progress

# Seconds from one line to the next where there is no terminal.
_PAUSE = 60.0


class Bar(progress.Progress):
    """A bar on a terminal, and elsewhere a line each minute.

    Without a terminal rich shows nothing but the end.
    """

    def __init__(self, screen: console.Console,
                 clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            progress.TextColumn('{task.description}'), progress.BarColumn(),
            progress.MofNCompleteColumn(), progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(), console=screen, get_time=clock)
        self._told = clock()

    def update(self, task_id: progress.TaskID,
               **changes: typing.Any) -> None:
        super().update(task_id, **changes)
        self._tell(task_id)

    def advance(self, task_id: progress.TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: progress.TaskID) -> None:
        now = self.get_time()
        if self.console.is_terminal or now - self._told < _PAUSE:
            return
        self._told = now
        self.console.print(self.make_tasks_table(
            [task for task in self.tasks if task.id == task_id]))
