"""The domain XML of the lab's guests."""

from tests.lab.layout import BRIDGE, CONSOLES, ROOT, GuestAddress


def interface_xml(mac: str, *, filterref: str = "", bridge: str = BRIDGE, extra: str = "") -> str:
    """One card on the bridge; `filterref` is the element, or nothing."""
    return (
        f"<interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/>"
        f"<model type='virtio'/>{filterref}{extra}</interface>"
    )


def domain_xml(guest: GuestAddress, *, filterref: str = "", cards: str | None = None) -> str:
    """A guest without a disk: kernel, initramfs, a card, a console in a file, and a shell on a serial port.

    On a busy host the emulated timer may miss the kernel's check of it, which panics: no_timer_check leaves it out.
    """
    cards = interface_xml(guest.mac, filterref=filterref) if cards is None else cards
    return f"""\
<domain type='qemu'>
  <name>{guest.name}</name>
  <uuid>{guest.uuid}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{ROOT}/vmlinuz</kernel>
    <initrd>{ROOT}/initramfs</initrd>
    <cmdline>console=ttyS0 quiet no_timer_check lab.name={guest.name} lab.address={guest.ipv4}/24</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='file'><source path='{CONSOLES}/{guest.name}.log'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='{CONSOLES}/{guest.name}.shell'/><target port='1'/></serial>
    {cards}
    <memballoon model='none'/>
  </devices>
</domain>
"""
