"""The doors to this machine: packet sockets, libvirt (read-only), the bridge, the kernel's rules, the meter."""
