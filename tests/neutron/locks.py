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

"""SQLite's locks as those of the databases that Neutron is made for.

Where two transactions have read and both want to write, SQLite refuses one of
them at once. MySQL and PostgreSQL call that a deadlock, and Neutron tries it
once more; SQLite's word for it is unknown to oslo.db.
"""

import typing

from oslo_db import exception
from oslo_db.sqlalchemy import exc_filters
from sqlalchemy import exc


@exc_filters.filters('sqlite', exc.OperationalError, r'.*database is locked')
def _is_a_deadlock(error: exc.OperationalError, match: typing.Any,
                   engine_name: str, is_disconnect: bool) -> None:
    raise exception.DBDeadlock(error)
