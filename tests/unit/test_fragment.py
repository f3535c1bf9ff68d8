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

"""The fragment of nova.conf in etc/nova."""

# Before any other module of Nova: it chooses the concurrency mode.
import nova.tests.functional  # noqa: F401 isort: skip

import pathlib
import tempfile

import nova.conf
from oslo_config import cfg
from oslo_messaging import conffixture
from oslotest import base

from nova_vf_failover import conf

FRAGMENT = pathlib.Path(__file__).parents[2].joinpath(
    'etc', 'nova', 'vf-failover.conf')


class FragmentTestCase(base.BaseTestCase):

    def parse(self, text):
        """The options of a text, and their values, read as Nova reads them."""
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
            file.write(text)
            file.flush()
            sections = {}
            cfg.ConfigParser(file.name, sections).parse()
            options = cfg.ConfigOpts()
            for module in (nova.conf.libvirt, nova.conf.notifications, conf):
                module.register_opts(options)
            conffixture._import_opts(
                options, 'oslo_messaging.notify.notifier',
                '_notifier_opts', 'oslo_messaging_notifications')
            options(['--config-file', file.name], project='nova')
            return {f'[{group}] {name}': options[group][name]
                    for group, names in sections.items() for name in names}

    def test_each_option_exists_and_has_a_value_that_it_can_have(self):
        text = FRAGMENT.read_text()
        found = self.parse(text)
        self.assertIs(True, found['[vf_failover] enabled'])

        # What is commented out is meant to be used as well.
        lines = [line[1:] if line.startswith('#') and not
                 line.startswith('# ') else line
                 for line in text.splitlines()]
        everything = self.parse('\n'.join(lines))

        self.assertEqual({
            '[vf_failover] metrics_file', '[notifications] '
            'notification_format', '[oslo_messaging_notifications] driver'},
            set(everything) - set(found))

    def test_a_wrong_one_would_be_found(self):
        text = FRAGMENT.read_text()

        self.assertRaises(ValueError, self.parse,
                          text.replace('policy = native', 'policy = often'))
        self.assertRaises(cfg.NoSuchOptError, self.parse,
                          text.replace('policy = ', 'polity = '))
