#!/bin/sh
# A stand-in for a home: a network namespace of the relay's own machine, behind a veth, that joins
# with a homeConfig on standard input and serves what /run/hello.py does. `house.sh anew` has it come
# once more, from another port; `house.sh gone` takes it away.
set -eu
folder=/run/house
if [ "${1-}" = gone ]; then
	ip netns pids house | xargs -r kill
	ip netns exec house wg-quick down $folder/wg9.conf 2>/dev/null || :
	ip netns delete house
	rm -r $folder /run/hello.py /etc/netns/house
	rmdir --ignore-fail-on-non-empty /etc/netns
	exit
fi
if [ "${1-}" = anew ]; then
	ip netns exec house wg-quick down $folder/wg9.conf
	ip netns exec house wg-quick up $folder/wg9.conf
	exit
fi
rm -rf $folder /etc/netns/house # what a reboot has left
mkdir -p $folder /etc/netns/house
umask 077
cat >$folder/wg9.conf
ip netns add house
ip link add toward-house type veth peer name eth0 netns house
ip addr add 192.0.2.1/30 dev toward-house
ip link set toward-house up
ip -n house addr add 192.0.2.2/30 dev eth0
ip -n house link set eth0 up
ip -n house link set lo up
ip -n house route add default via 192.0.2.1
ip netns exec house wg-quick up $folder/wg9.conf
ip netns exec house setsid python3 /run/hello.py >/dev/null 2>&1 &
