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

"""The options of this plugin, group ``[vf_failover]`` of ``nova.conf``."""

from collections.abc import Iterable
import itertools

from oslo_config import cfg

vf_failover_group = cfg.OptGroup(
    'vf_failover',
    title='SR-IOV failover options',
    help="""
Live migration of servers with SR-IOV virtual functions without losing their
network. Set these on every compute node; they are read when nova-compute
starts.
""")

switch_opts = [
    cfg.BoolOpt(
        'enabled',
        default=False,
        help="""
Swap the VFs of a server for virtio NICs while it is live migrated.

With ``False`` this host behaves exactly like one without the plugin.
"""),
    cfg.StrOpt(
        'policy',
        default='native',
        choices=[
            ('native', 'Migrate it as Nova does by itself: the VFs are '
                       'detached before the memory copy and attached after '
                       'it, and the server has no network in between.'),
            ('required', 'Refuse the live migration with the reason.'),
        ],
        help="""
What to do with a server whose VFs cannot be swapped, because its image has no
agent, its PF cannot carry a standby, or no PCI slot is free. The source host's
value counts for a whole migration.

With ``channel = metadata`` nobody knows beforehand whether there is an agent:
without one the live migration ends as failed, whatever is set here, and the
server keeps both NICs until it has an agent or is hard rebooted.

A server whose flavor has the extra spec ``vf_failover:mode``, or whose image
has the property ``vf_failover_mode``, is treated as that says instead.
"""),
    cfg.StrOpt(
        'peer_without_plugin',
        default='native',
        choices=[
            ('native', 'Migrate it as Nova does by itself.'),
            ('abort', 'End the migration as failed; the server stays where '
                      'it is.'),
        ],
        help="""
What to do when the destination host does not answer this host's offer to swap,
since the plugin is missing or off there. A server that is degraded is never
migrated to such a host, whatever is set here; nor is one whose flavor or image
asks for the mode ``required``.
"""),
]

driver_opts = [
    cfg.StrOpt(
        'standby',
        default='macvtap',
        help="""
What the standby NIC is plugged into: the name of an entry point in the
namespace ``nova_vf_failover.standby``.
"""),
    cfg.StrOpt(
        'channel',
        default='qga',
        help="""
How the guest is told which NIC to use: the name of an entry point in the
namespace ``nova_vf_failover.channels``.

``qga`` goes through the QEMU guest agent, which the image must have. With
``metadata`` the agent finds what it is told in the metadata of the server and
answers with frames on the standby NIC. To hear them nova-compute starts a
privsep-helper with CAP_NET_RAW, as it starts Nova's own; where
``helper_command`` is set in ``[nova_sys_admin]``, set it in
``[nova_vf_failover_net_raw]`` too.
"""),
    cfg.StrOpt(
        'steering',
        default='none',
        help="""
How the receive filter of the NIC is moved: the name of an entry point in the
namespace ``nova_vf_failover.steering``. Only a port whose guest says that the
NIC goes on delivering to the VF is steered; whatever fails, the move goes on
as with ``none``.

``none`` leaves the NIC to itself, which is right for every NIC that delivers
to the VF and to the standby. ``placeholder`` gives the VF another MAC as soon
as the guest uses its standby. ``refilter`` asks the PF for the standby's MAC
once more when the VF has gone. ``auto`` chooses by the driver of the PF.
"""),
]

guest_opts = [
    cfg.StrOpt(
        'agent_program',
        default='vf-failover-agent',
        help="""
The agent's program inside the guest, as the QEMU guest agent is to start it:
a name that it finds in its own PATH, or an absolute path in the guest.
"""),
    cfg.IntOpt(
        'check_timeout',
        default=15, min=1, max=600,
        help="""
Seconds that a guest may take to say whether it could change NICs. Nothing has
been changed when this time is up.

With ``channel = metadata`` a guest cannot be asked beforehand. There it is how
long, on top of ``metadata_delay``, a failback waits for the guest to say that
it expects its VF. One that says nothing stays on its standby NIC.
"""),
    cfg.IntOpt(
        'failover_timeout',
        default=30, min=1, max=600,
        help="""
Seconds that a guest may take to move from its VFs to the standby NICs. When
they are over the migration ends as failed. An agent that still answers has
put everything back. Of one that does not nobody knows which NIC it uses: the
guest keeps both until recovery has brought it back, or a hard reboot.
"""),
    cfg.IntOpt(
        'failback_timeout',
        default=60, min=1, max=600,
        help="""
Seconds that a guest may take to move onto its VFs once they are attached.
When they are over the server stays on its standby NICs: degraded, but
reachable.
"""),
    cfg.IntOpt(
        'metadata_delay',
        default=25, min=0, max=600,
        help="""
With ``channel = metadata``: seconds until a guest sees what was written into
its metadata, which are added to each of the times above. The metadata service
keeps answers for ``[api] metadata_cache_expiration`` (15), which is set where
that service runs, and the agent looks every ``--metadata-interval`` (5)
seconds. It makes a migration longer, and not the interruption.
"""),
]

recovery_opts = [
    cfg.IntOpt(
        'recovery_interval',
        default=60, min=0, max=3600,
        help="""
Seconds between two looks for servers of this host whose ports are not where
they should be: on a standby NIC, because a failback did not work, or anywhere
in between, because nova-compute died in the middle of a move. They are brought
back onto their VFs; the first look is when nova-compute has started. It is
also how long a request of ``nova-vf-failover failback`` may have to wait.

With 0 there are no such looks. A live migration or a hard reboot brings such a
server back then. A guest that lets a VF go some time after it was asked for it
has no network there until then, requests of ``nova-vf-failover failback`` are
not seen, and what an abandoned live migration holds is not given back.
"""),
    cfg.IntOpt(
        'recovery_longest_pause',
        default=3600, min=1,
        help="""
Seconds between two attempts to bring the same server back, at most. After the
first attempt that failed it is ``recovery_interval``, and twice as long after
each further one.
"""),
    cfg.IntOpt(
        'recovery_attempts',
        default=48, min=0,
        help="""
After how many attempts a server is left on its standby NIC, where its network
works. It can still be live migrated or hard rebooted, or its failback be asked
for with ``nova-vf-failover failback``. With 0 it is tried for ever.
"""),
]

report_opts = [
    cfg.StrOpt(
        'metrics_file',
        help="""
Where the counters and durations of this host are written after each move, in
the text format of Prometheus: a path that ends in ``.prom``, in a directory
that belongs to the user of nova-compute alone and that node_exporter's
textfile collector reads (``--collector.textfile.directory``). Not set, nothing
is written.
"""),
]

ALL_OPTS = list(itertools.chain(
    switch_opts, driver_opts, guest_opts, recovery_opts, report_opts))


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to ``conf``; repeating it does no harm."""
    conf.register_group(vf_failover_group)
    conf.register_opts(ALL_OPTS, group=vf_failover_group)


def list_opts() -> Iterable[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Entry point of oslo-config-generator and of the documentation."""
    return [(vf_failover_group, ALL_OPTS)]
