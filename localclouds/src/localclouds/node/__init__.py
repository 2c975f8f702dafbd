"""The node agent of a local cloud: a small kubelet whose containers are processes of this machine.

`python -m localclouds.node --cloud-dir STATE/<cloud>` registers one Node and runs every pod bound to it.

    agent      composition: what runs, in which order it starts and stops
    node       the Node object and its Lease
    pod        one pod's life, from its first status to its deletion
    container  one container's life: pull, start, hooks, probes, restarts
    volumes    what pods mount, and keeping it fresh        environment  what containers find in their
    variables status     what is reported: pure                       probes       when a probe counts: pure,
    and how it is made proxy      Services at their ClusterIPs                 logs         the kubelet's log
    endpoint isolation, launch, process, reaper                      processes with their volumes, and none
    left behind
"""
