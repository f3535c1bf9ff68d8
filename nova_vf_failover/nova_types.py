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

"""Names for what Nova hands over and no type checker sees into."""

import typing

#: :class:`nova.context.RequestContext`, as type checkers see none of Nova
Context: typing.TypeAlias = typing.Any

#: ``LibvirtLiveMigrateData`` and ``VIFMigrateData``: versioned objects, whose
#: fields are made at run time
MigrateData: typing.TypeAlias = typing.Any
MigrateVIF: typing.TypeAlias = typing.Any

#: a port as Nova's network information has it (:class:`nova.network.model.VIF`
#: is a dict), or a part of it
VIF: typing.TypeAlias = dict[str, typing.Any]
