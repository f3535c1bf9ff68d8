# How the host is to reach the agent, "qga" or "metadata".
export DIB_VF_FAILOVER_CHANNEL=${DIB_VF_FAILOVER_CHANNEL:-qga}
