#!/bin/bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

# Installs nova_vf_failover beside Nova and enables it on hosts with n-cpu.

_XTRACE_VF_FAILOVER=$(set +o | grep xtrace)
set +o xtrace

function install_vf_failover {
    setup_develop $VF_FAILOVER_DIR
}

# stack.sh has Neutron's options written into nova.conf in the background and
# waits for that only after this phase. Of two that change the file at the same
# time one loses what it has written.
function _vf_failover_have_nova_conf {
    if type -t async_wait >/dev/null; then
        async_wait configure_neutron_nova
    fi
}

# nova-cpu.conf is a copy that devstack makes of nova.conf right before it
# starts nova-compute (lib/nova, start_nova_compute).
function configure_vf_failover_compute {
    iniset $NOVA_CONF vf_failover enabled "$VF_FAILOVER_ENABLED"
    _vf_failover_set policy "$VF_FAILOVER_POLICY"
    _vf_failover_set peer_without_plugin "$VF_FAILOVER_PEER_WITHOUT_PLUGIN"
    _vf_failover_set channel "$VF_FAILOVER_CHANNEL"
    _vf_failover_set steering "$VF_FAILOVER_STEERING"
    iniset $NOVA_CONF libvirt num_pcie_ports "$VF_FAILOVER_PCIE_PORTS"
    if [[ "$VF_FAILOVER_CHANNEL" == "metadata" ]]; then
        sudo install -o root -g root -m 644 \
            $VF_FAILOVER_DIR/etc/nova/rootwrap.d/nova-vf-failover.filters \
            $NOVA_CONF_DIR/rootwrap.d/
    fi
    _vf_failover_whitelist
}

function _vf_failover_set {
    local option=$1
    local value=$2
    if [[ -n "$value" ]]; then
        iniset $NOVA_CONF vf_failover $option "$value"
    fi
}

function _vf_failover_whitelist {
    local mapping
    for mapping in ${PHYSICAL_DEVICE_MAPPINGS//,/ }; do
        local pf="\"devname\":\"${mapping#*:}\""
        local network="\"physical_network\":\"${mapping%%:*}\""
        # Without a space, for devstack takes words for values.
        iniadd $NOVA_CONF pci device_spec "{$pf,$network}"
    done
}

function configure_vf_failover_scheduler {
    local filters
    filters=$(iniget $NOVA_CONF filter_scheduler enabled_filters)
    if [[ "$filters" != *PciPassthroughFilter* ]]; then
        iniset $NOVA_CONF filter_scheduler enabled_filters \
            "${filters:+$filters,}PciPassthroughFilter"
    fi
}

function build_vf_failover_agent {
    (cd $VF_FAILOVER_DIR && \
        python3 -m nova_vf_failover.guest.bundle $VF_FAILOVER_AGENT)
}

# A host that is not fit is one to be mended, and no reason to end stack.sh.
function check_vf_failover {
    local program=$NOVA_BIN_DIR/nova-vf-failover
    # stack.sh may just have put its user into the group that may use libvirt,
    # of which this shell knows nothing; nova-compute gets it from its unit
    # (lib/nova, start_nova_compute).
    # Not "||": warn returns what went before it, and stack.sh ends on that.
    if ! sg "$LIBVIRT_GROUP" -c \
        "$program --config-file $NOVA_CPU_CONF check"; then
        warn $LINENO "nova-vf-failover check: see what it says above"
    fi
}

if [[ "$1" == "stack" && "$2" == "install" ]]; then
    # The API needs it as well: it validates the extra spec of flavors.
    if is_service_enabled n-cpu || is_service_enabled n-api; then
        echo_summary "Installing nova_vf_failover"
        install_vf_failover
    fi
elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    if is_service_enabled n-cpu || is_service_enabled n-sch; then
        _vf_failover_have_nova_conf
    fi
    if is_service_enabled n-cpu; then
        echo_summary "Configuring nova_vf_failover"
        configure_vf_failover_compute
    fi
    if is_service_enabled n-sch; then
        configure_vf_failover_scheduler
    fi
elif [[ "$1" == "stack" && "$2" == "extra" ]]; then
    if is_service_enabled n-cpu; then
        build_vf_failover_agent
        check_vf_failover
    fi
fi
# There is nothing to do for unstack and clean: no service of its own runs, and
# clean.sh removes Nova's configuration and the data folder.

$_XTRACE_VF_FAILOVER
