#!/bin/sh
# Hands pupils' connections to Bulaq while it serves. Made by `bulaq router rules`; run it as root on the box.
# What it does is undone by the script of `bulaq router rules --remove`.
set -eu
ip -4 rule del fwmark 0x6200/0xff00 lookup 6200 2>/dev/null || true
ip -4 route flush table 6200 2>/dev/null || true
ip -6 rule del fwmark 0x6200/0xff00 lookup 6200 2>/dev/null || true
ip -6 route flush table 6200 2>/dev/null || true
nft -f - <<'END'
table inet bulaq
delete table inet bulaq
table inet bulaq {
	# The ports that the box serves now. It renews them; they leave by themselves.
	set serving_redirect_8080_8443 { type inet_service; flags timeout; }
	# Where permitted names lead, as the box finds them.
	set listed4 { type ipv4_addr; size 65536; }
	set listed6 { type ipv6_addr; size 65536; }
	chain arriving {
		type nat hook prerouting priority dstnat; policy accept;
		iifname { "lan0" } meta l4proto tcp jump pupils
	}
	chain pupils {
		# The box's own pages, and what is no one's in particular.
		fib daddr type { local, broadcast, anycast, multicast } return
		ip daddr @listed4 jump taken
		ip6 daddr @listed6 jump taken
	}
	chain taken {
		tcp dport @serving_redirect_8080_8443 tcp dport 80 meta nfproto ipv4 redirect to :8080
		tcp dport @serving_redirect_8080_8443 tcp dport 80 meta nfproto ipv6 redirect to :8080
		tcp dport @serving_redirect_8080_8443 tcp dport 443 meta nfproto ipv4 redirect to :8443
		tcp dport @serving_redirect_8080_8443 tcp dport 443 meta nfproto ipv6 redirect to :8443
	}
	chain passing {
		type filter hook forward priority filter - 1; policy accept;
		# QUIC would go around the box. It is refused at once, so that browsers use TCP without waiting.
		iifname { "lan0" } udp dport 443 udp dport @serving_redirect_8080_8443 jump quic
	}
	chain quic {
		ip daddr @listed4 reject with icmpx port-unreachable
		ip6 daddr @listed6 reject with icmpx port-unreachable
	}
}
END
