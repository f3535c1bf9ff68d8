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

"""The in-guest half, ``vf-failover-agent``.

It lives in images that have nothing of OpenStack: all it imports is the
standard library of Python 3.6 or newer.

The primary and the standby of a port have one MAC. The agent *dresses* the one
that is to be used like the other, *proves* that it carries traffic,
*switches* with one policy rule per address family, and *announces*. What it
needs to go back is on disk before it changes anything.
"""
