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

"""Whose work a thread does."""

import threading


def is_worker(thread: threading.Thread) -> bool:
    """Whether a thread is of a pool: it belongs to what it works upon."""
    return (type(thread).__module__.startswith('futurist')
            or thread.name.startswith('ThreadPoolExecutor'))


def is_guest(thread: threading.Thread) -> bool:
    """Whether a thread is a guest's, which runs beside the hosts."""
    return thread.name == 'guest'


def is_listener(thread: threading.Thread) -> bool:
    """Whether a thread listens to the message bus."""
    return thread.name.endswith('(_runner)')
