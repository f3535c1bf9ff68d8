#!/bin/bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

# Runs the plugin through devstack's phases, as stack.sh, unstack.sh and
# clean.sh do (devstack's functions-common, run_phase).
#
# The functions that the plugin calls are stand-ins, or devstack's own where
# DEVSTACK_DIR is a checkout of it. What would change the machine is written
# into CALLS instead.

set -o errexit

if [[ -n "$DEVSTACK_DIR" ]]; then
    source $DEVSTACK_DIR/functions-common
    source $DEVSTACK_DIR/inc/ini-config
else
    function iniset {
        python3 $HERE/ini.py iniset "$@"
    }
    function iniget {
        python3 $HERE/ini.py iniget "$@"
    }
    function iniadd {
        python3 $HERE/ini.py iniadd "$@"
    }
    function is_service_enabled {
        [[ ,$ENABLED_SERVICES, == *,$1,* ]]
    }
    function define_plugin {
        :
    }
    function warn {
        local before=$?
        echo "warn ${*:2}" >>$CALLS
        return $before
    }
fi

function sudo {
    echo "sudo $*" >>$CALLS
    "$@"
}
# As the one of shadow: sg GROUP -c COMMAND.
function sg {
    SG=$1 sh $2 "$3"
}
# Who has begun it waits for it here (inc/async).
function async_wait {
    echo "async_wait $*: $(md5sum <$NOVA_CONF)" >>$CALLS
}
function setup_develop {
    echo "setup_develop $*" >>$CALLS
}
function echo_summary {
    :
}

source $PLUGIN/override-defaults
source $PLUGIN/settings
# The name that a clone has is the user's.
VF_FAILOVER_DIR=$PLUGIN/..

for phase in pre-install install post-config; do
    source $PLUGIN/plugin.sh stack $phase
done
cp $NOVA_CONF $NOVA_CPU_CONF
for phase in extra test-config; do
    source $PLUGIN/plugin.sh stack $phase
done
source $PLUGIN/plugin.sh unstack
source $PLUGIN/plugin.sh clean

echo "mechanism drivers: $Q_ML2_PLUGIN_MECHANISM_DRIVERS"
