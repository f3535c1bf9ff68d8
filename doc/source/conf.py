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

"""How the documentation is built."""

project = 'nova_vf_failover'
copyright = 'the authors of nova_vf_failover'
extensions = ['openstackdocstheme', 'oslo_config.sphinxext',
              'sphinx.ext.autodoc']
# What the described modules import, and the documentation does not need.
autodoc_mock_imports = ['lxml', 'nova', 'oslo_log', 'oslo_privsep',
                        'oslo_serialization', 'pyroute2']
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
openstackdocs_bug_project = ''
openstackdocs_repo_name = ''
exclude_patterns = []
