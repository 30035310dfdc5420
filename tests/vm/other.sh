#!/bin/sh
# A tunnel of the owner's own, wg1, with a peer in a network namespace. `other.sh pings` has the peer
# ask through it all the while; `other.sh lost` ends that and tells how many it has asked and lost.
set -eu
if [ "${1-}" = pings ]; then
	ip netns exec other setsid ping -q -i 0.5 10.9.0.1 >/run/other.said 2>&1 &
	echo $! >/run/other.pid
	exit
fi
if [ "${1-}" = lost ]; then
	kill -INT "$(cat /run/other.pid)"
	until grep -q 'packet loss' /run/other.said; do sleep 0.1; done
	sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' /run/other.said
	exit
fi
umask 077
mine=$(wg genkey)
peers=$(wg genkey)
cat >/etc/wireguard/wg1.conf <<END
[Interface]
PrivateKey = $mine
ListenPort = 51999
Address = 10.9.0.1/24
[Peer]
PublicKey = $(echo "$peers" | wg pubkey)
AllowedIPs = 10.9.0.2/32
END
systemctl -q enable --now wg-quick@wg1
ip netns add other
ip link add toward-other type veth peer name eth0 netns other
ip addr add 192.0.2.5/30 dev toward-other
ip link set toward-other up
ip -n other addr add 192.0.2.6/30 dev eth0
ip -n other link set eth0 up
ip -n other link add wg2 type wireguard
echo "$peers" >/run/other.key
ip netns exec other wg set wg2 private-key /run/other.key \
	peer "$(echo "$mine" | wg pubkey)" endpoint 192.0.2.5:51999 allowed-ips 10.9.0.0/24
rm /run/other.key
ip -n other addr add 10.9.0.2/24 dev wg2
ip -n other link set wg2 up
