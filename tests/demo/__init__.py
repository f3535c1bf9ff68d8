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

"""The main job, shown: a VF server is live migrated through a real Nova.

``python -m tests.demo`` runs it twice, on plain Nova and with the plugin, and
shows both side by side. Each run is a process of its own (``cloud``): Nova's
services, served on a TCP port, on hosts of :mod:`tests.simulation.fabric`,
told what to do by the real ``openstack`` command.
"""
