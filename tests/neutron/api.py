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

"""Serves Neutron's API: ``python -m tests.neutron.api PORT FILE``.

It is the application that a WSGI server of an operator would load; Neutron has
brought none itself since it is without eventlet.
"""

import os
import sys

from cheroot import wsgi

from tests.neutron import locks  # noqa: F401


def main() -> None:
    port, path = sys.argv[1:]
    # The application reads its own arguments and variables.
    del sys.argv[1:]
    os.environ['OS_NEUTRON_CONFIG_FILES'] = path
    from neutron.wsgi import api
    wsgi.Server(('127.0.0.1', int(port)), api.application,
                numthreads=4).start()


if __name__ == '__main__':
    main()
