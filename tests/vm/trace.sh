#!/bin/sh
# All that a machine holds and does, as lines to be compared: files, packages, units, kernel
# settings, rules, interfaces, users. What every machine changes by itself is left out, and the
# units that run at its first boot alone.
set -u
export LC_ALL=C
find / -xdev \( -path /tmp -o -path /root/.cache -o -path /var/tmp -o -path /var/log \
	-o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/cloud \
	-o -path /var/lib/systemd -o -path /var/lib/private -o -path /var/backups \) \
	-prune -o ! -type d -printf 'file %p %m %u %g %y %l\n' 2>/dev/null |
	grep -vE '^file (/etc/ld.so.cache|/etc/.pwd.lock|.*/__pycache__/)' | sort
find / -xdev \( -path /tmp -o -path /var -o -path /usr/share -o -path /run \) -prune -o -type d -printf 'folder %p %m %u %g\n' |
	grep -v __pycache__ | sort
find /etc /usr/local /usr/lib/systemd -xdev -type f ! -name ld.so.cache ! -path '*/__pycache__/*' -exec sha256sum {} + | sed 's/^/content /' | sort -k 3
dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Abbrev}\n'
systemctl list-unit-files --no-legend --plain | awk '{ print "unit", $1, $2 }'
systemctl list-units --no-legend --plain --type=service,timer,socket --state=active,failed |
	awk '{ print "running", $1, $3 }' | grep -vE '^running (apt|user@|user-runtime|session|systemd-(tmpfiles|hostnamed|timedated|localed|hwdb-update|journal-catalog-update|sysusers|update-done|firstboot|machine-id-commit)|ldconfig|fstrim|dpkg|e2scrub|logrotate|man-db)'
for file in /proc/sys/net/ipv4/ip_forward $(find /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf -type f); do
	case $file in */stable_secret | */flush) continue ;; esac
	echo "setting $file $(cat "$file" 2>/dev/null)"
done | sort
ip -o link show | sed 's/^[0-9]*: /link /; s/ state .*//'
ip -o addr show scope global | awk '{ print "address", $2, $4 }'
for family in -4 -6; do
	ip $family rule | sed "s/^/rule $family /"
	ip $family route show table all | sed -e 's/ expires [^ ]*//' -e "s/^/route $family /"
done
# Of rules the order counts too.
if command -v nft >/dev/null; then
	nft -s list ruleset | awk '
		/^table/ { table = $2 " " $3 }
		/^\t(chain|set|map) / { kind = $1; of = $2; n = 0 }
		{ print "nft", table, of, kind == "chain" ? ++n : "", $0 }
		/^\t}/ { kind = of = "" }'
fi
if command -v iptables-save >/dev/null; then
	for tool in iptables ip6tables; do
		$tool-save 2>/dev/null | sed -e '/^#/d' -e 's/\[[0-9:]*\]$//' | awk -v tool=$tool '
			/^[*]/ { table = $1 }
			{ print tool, table, $1 == "-A" ? ++n[table, $2] : "", $0 }'
	done
fi
sed 's/^/user /' /etc/passwd
