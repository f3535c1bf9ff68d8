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

"""Makes Neutron's tables, as they are after all migrations.

A process of its own: ``python -m tests.neutron.database --config-file FILE``.
The migrations themselves cannot be run, since they alter tables in ways that
SQLite does not know.
"""

import sys

from neutron.common import config
from neutron.db.migration.models import head
from neutron_lib.db import api


def main() -> None:
    config.register_common_config_options()
    config.init(sys.argv[1:])
    with api.CONTEXT_WRITER.connection.using(_Context()) as connection:
        head.get_metadata().create_all(connection)


class _Context:
    """Whose transaction it is; oslo.db keeps it there."""


if __name__ == '__main__':
    main()
