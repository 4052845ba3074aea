#!/bin/sh
# Takes away the rules of `bulaq router rules`; run it as root on the box.
set -eu
nft -f - <<'END'
table inet bulaq
delete table inet bulaq
END
ip -4 rule del fwmark 0x6200/0xff00 lookup 6200 2>/dev/null || true
ip -4 route flush table 6200 2>/dev/null || true
ip -6 rule del fwmark 0x6200/0xff00 lookup 6200 2>/dev/null || true
ip -6 route flush table 6200 2>/dev/null || true
