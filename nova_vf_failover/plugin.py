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

"""The front door: how stock Nova comes to load this package.

nova-compute calls ``os_vif.initialize()`` after it has read its configuration
and before it makes its service; that loads every entry point of the group
``os_vif``. It is the one place where Nova runs foreign code before the compute
driver exists.
"""

from os_vif.objects import host_info
from os_vif import plugin
from oslo_config import cfg
from oslo_log import log as logging

from nova_vf_failover import conf
from nova_vf_failover import prerequisites

LOG = logging.getLogger(__name__)
CONF = cfg.CONF


# os-vif has no type hints for mypy (no py.typed): its class is Any.
class FailoverPlugin(plugin.PluginBase):  # type: ignore[misc]
    """An os-vif plugin that plugs nothing and installs the compute driver."""

    CONFIG_OPTS = ()

    @classmethod
    def load(cls, plugin_name: str) -> 'FailoverPlugin':
        """Install the failover driver if ``[vf_failover] enabled`` is set.

        :raises SystemExit: with one sentence, when it is set on a host where
            it cannot work. nova-compute then does not start: a silent
            fall-back would be noticed only when a migration cuts a server
            off.
        """
        _log_where_nova_does()
        conf.register_opts(CONF)
        fault = prerequisites.option_fault()
        if fault is None and CONF.vf_failover.enabled:
            fault = _install()
        if fault is not None:
            refusal = f'nova_vf_failover: {fault}'
            LOG.critical(refusal)
            raise SystemExit(refusal)
        loaded: FailoverPlugin = super().load(plugin_name)
        return loaded

    def describe(self) -> host_info.HostPluginInfo:
        return host_info.HostPluginInfo(
            plugin_name='vf_failover', vif_info=[])

    def plug(self, vif: object, instance_info: object) -> None:
        """Not a plugin for any VIF type: os-vif never calls this."""
        raise NotImplementedError()

    def unplug(self, vif: object, instance_info: object) -> None:
        """Not a plugin for any VIF type: os-vif never calls this."""
        raise NotImplementedError()


def _log_where_nova_does() -> None:
    """Have Nova's logger take in what is logged here.

    By its name no logger of this package is below that one. Where a file of
    ``log_config_append`` gives handlers to Nova's alone, as Nova's own
    etc/nova/logging_sample.conf, nothing would be logged. Who gives some to
    the logger of this package is left alone.
    """
    ours = logging.getLogger('nova_vf_failover').logger
    if not ours.handlers:
        ours.parent = logging.getLogger('nova').logger
        # Loggers remember which levels they log until one is set anew.
        ours.setLevel(ours.level)


def _install() -> str | None:
    """Put the failover driver in the place of Nova's libvirt driver.

    :returns: the sentence that says why it cannot be done, or None
    """
    for find in (prerequisites.nova_fault, prerequisites.signature_fault,
                 prerequisites.driver_fault,
                 prerequisites.compute_driver_fault):
        fault = find()
        if fault:
            return fault
    # Not at the top: stevedore swallows an error of the import, and a host
    # on which the plugin is off must not depend on any of this.
    from nova.virt import libvirt

    from nova_vf_failover import driver

    # load_compute_driver() imports 'nova.virt.libvirt.LibvirtDriver', which
    # is this attribute of the package, not the class in its driver module.
    libvirt.LibvirtDriver = driver.FailoverLibvirtDriver
    LOG.info('nova_vf_failover is enabled: VFs are swapped for standby NICs '
             'during live migration (standby: %(standby)s, channel: '
             '%(channel)s, steering: %(steering)s, policy: %(policy)s)',
             CONF.vf_failover)
    return None
