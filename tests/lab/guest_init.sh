#!/bin/busybox sh
# The whole user space of a lab guest: one card, one address, an echo service, and a shell on the second serial port.
/bin/busybox mkdir -p /proc /sys /dev /sbin /usr/bin /usr/sbin /tmp
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order

for word in $(cat /proc/cmdline); do
    case "$word" in
        lab.address=*) address=${word#lab.address=} ;;
        lab.name=*) hostname "${word#lab.name=}" ;;
    esac
done
# idle: no IPv6 of its own accord; tests that want it turn it on
for conf in all default; do echo 1 > /proc/sys/net/ipv6/conf/$conf/disable_ipv6; done
ip link set lo up
for card in /sys/class/net/eth*; do ip link set "${card##*/}" up; done
[ -n "$address" ] && ip addr add "$address" dev eth0

nc -ll -p 7 -e /bin/cat < /dev/null > /dev/null 2>&1 &

export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/tmp
stty -F /dev/ttyS1 raw -echo
while :; do setsid sh < /dev/ttyS1 > /dev/ttyS1 2>&1; done &

echo "GUEST-READY" > /dev/console
while :; do wait; sleep 60; done
