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

"""The version of the agent."""

import pkgutil

NAME = 'nova-vf-failover'
# Beside this module in the one-file agent, see bundle.
FILE = 'version.txt'


def version() -> str:
    """Of the one file, or of the package that is installed."""
    try:
        kept = pkgutil.get_data('nova_vf_failover.guest', FILE)
    except OSError:
        return installed()
    return kept.decode().strip() if kept else installed()


def installed() -> str:
    """A clone whose package is not installed has no version."""
    try:
        # Not in Python 3.6 and 3.7, and slow to import.
        from importlib import metadata
        return metadata.version(NAME)
    except ImportError:
        return 'unknown'
