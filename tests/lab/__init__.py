"""A lab on one machine: a private libvirtd, two booted guests, two hosts, one bridge, and a flood with ground truth.

Everything of a lab lives in namespaces of its own (processes, mounts, network), on a file system in memory. So it
never meets a libvirtd of the machine, and whatever way it ends, the kernel takes all of it away. It needs root and a
few Debian packages, and nothing of Python but the standard library.
"""
