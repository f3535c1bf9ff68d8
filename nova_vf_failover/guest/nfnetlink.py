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

"""What messages of nfnetlink begin with, and numbers of nftables in them.

Constants of the kernel's interface by its own names: include/uapi/linux/
netlink.h, netfilter.h, netfilter/nfnetlink.h, netfilter/nf_tables.h. What only
one module knows of is said there.
"""

import struct

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
(NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN,
 NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_GETSETELEM) = [
     NFNL_SUBSYS_NFTABLES << 8 | kind for kind in (0, 2, 3, 4, 6, 7, 13)]

#: struct nfgenmsg: family, version, resource in the network's byte order
NFGENMSG = struct.Struct('!BBH')

(NFPROTO_INET, NFPROTO_IPV4, NFPROTO_ARP, NFPROTO_NETDEV, NFPROTO_BRIDGE,
 NFPROTO_IPV6) = 1, 2, 3, 5, 7, 10
NF_INET_FORWARD = 2

(NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY,
 NFTA_CHAIN_TYPE) = 1, 3, 4, 5, 7
NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_HOOK_DEV, NFTA_HOOK_DEVS = (
    1, 2, 3, 4)
NFTA_DEVICE_NAME = 1
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_DATA_VALUE, NFTA_DATA_VERDICT = 1, 2
NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN = 1, 2
NFTA_META_DREG, NFTA_META_KEY, NFTA_META_SREG = 1, 2, 3
NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA = 1, 2, 3
NFT_CMP_EQ, NFT_CMP_NEQ = 0, 1
NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA = 1, 2
NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_LOOKUP_DREG, NFTA_LOOKUP_FLAGS = (
    1, 2, 3, 5)
NFT_REG_VERDICT = 0


def family(body: bytes) -> int:
    """Of any of these messages: each begins with it."""
    return body[0]
