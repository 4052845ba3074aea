//! Bridges whose packets the kernel shows to the rules too early.
//!
//! Where the kernel calls the rules for what a bridge carries (`br_netfilter`, which Docker and others load), a packet
//! of a pupil meets them within the bridge, before it is routed. It is handed over there and then lost: every connection
//! waits until it gives up, and nothing is logged. That can only be seen beforehand.

use std::path::Path;

use super::Interface;

/// Those of the interfaces that are bridges, when the kernel calls the rules within them. `root` is `/` but in tests.
pub(super) fn losing<'a>(interfaces: &'a [Interface], root: &Path) -> Vec<&'a Interface> {
    let calls = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"].iter().any(|setting| {
        let text = std::fs::read_to_string(root.join("proc/sys/net/bridge").join(setting));
        text.is_ok_and(|text| text.trim() != "0")
    });
    let is_bridge = |interface: &&Interface| root.join("sys/class/net").join(&interface.0).join("bridge").exists();
    if calls { interfaces.iter().filter(is_bridge).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_loses_packets_where_the_rules_are_called_within_it() {
        let root = tempfile::tempdir().unwrap();
        let settings = root.path().join("proc/sys/net/bridge");
        std::fs::create_dir_all(root.path().join("sys/class/net/br-lan/bridge")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/net/lan0")).unwrap();
        let interfaces = ["lan0", "br-lan"].map(|name| name.parse().unwrap());
        let told = || losing(&interfaces, root.path()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(told().is_empty(), "without br_netfilter");
        std::fs::create_dir_all(&settings).unwrap();
        for (four, six, expected) in [("0", "0", &[][..]), ("1", "0", &["br-lan"]), ("0", "1", &["br-lan"])] {
            std::fs::write(settings.join("bridge-nf-call-iptables"), format!("{four}\n")).unwrap();
            std::fs::write(settings.join("bridge-nf-call-ip6tables"), format!("{six}\n")).unwrap();
            assert_eq!(told(), expected, "{four} {six}");
        }
    }
}
