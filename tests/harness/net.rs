use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::process::{Done, run};

/// Address of the server's host.
pub const SERVER_ADDRESS: &str = "10.213.0.1";
/// Name that the device's host resolves to it.
pub const SERVER_NAME: &str = "moor.test";
/// Address of the device's host.
const DEVICE_ADDRESS: &str = "10.213.0.2";
/// Name of each host's end of the link.
const LINK: &str = "link0";

/// Two hosts in network namespaces of their own with one link between them. The thread that makes it stands on the
/// server's host until this handle goes; the device's host is entered by name.
#[derive(Debug)]
pub struct Network {
    server: String,
    device: String,
    before: File,
}

impl Network {
    /// Makes both hosts and the link.
    ///
    /// # Panics
    /// When not run as root: namespaces cannot be made then.
    #[must_use]
    pub fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            nix::unistd::geteuid().is_root(),
            "this story makes network namespaces and needs root"
        );
        let tag = format!(
            "ml{}x{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let network = Self {
            server: format!("{tag}s"),
            device: format!("{tag}d"),
            before: File::open("/proc/thread-self/ns/net").unwrap(),
        };
        network.build();
        let namespace = File::open(format!("/run/netns/{}", network.server)).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        network
    }

    fn build(&self) {
        let (server, device) = (self.server.as_str(), self.device.as_str());
        std::fs::create_dir_all(self.etc()).unwrap();
        std::fs::write(
            self.etc().join("resolv.conf"),
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        )
        .unwrap();
        std::fs::write(self.etc().join("hosts"), "").unwrap();
        self.names_work(true);
        ip(&["netns", "add", server]).ok();
        ip(&["netns", "add", device]).ok();
        ip(&[
            "-n", server, "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns",
            device,
        ])
        .ok();
        for (host, address) in [(server, SERVER_ADDRESS), (device, DEVICE_ADDRESS)] {
            ip(&[
                "-n",
                host,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                LINK,
            ])
            .ok();
            ip(&["-n", host, "link", "set", LINK, "up"]).ok();
            ip(&["-n", host, "link", "set", "lo", "up"]).ok();
        }
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.device)
    }

    /// Name of the device's host.
    #[must_use]
    pub fn device_host(&self) -> &str {
        &self.device
    }

    /// Takes the device's end of the link down or up.
    pub fn link(&self, up: bool) {
        let word = if up { "up" } else { "down" };
        ip(&["-n", &self.device, "link", "set", LINK, word]).ok();
    }

    /// Drops every packet in both directions, without a word to either side; or stops doing so.
    pub fn drop_packets(&self, drop: bool) {
        let rules = if drop {
            format!(
                "table inet cut {{\n chain out {{ type filter hook output priority 0; oifname \"{LINK}\" drop; }}\n \
                 chain in {{ type filter hook input priority 0; iifname \"{LINK}\" drop; }}\n}}\n"
            )
        } else {
            "delete table inet cut\n".to_owned()
        };
        self.rules(&rules);
    }

    /// Leads what the device sends to port `from` of the server's host to port `to` there.
    pub fn redirect(&self, from: u16, to: u16) {
        self.rules(&format!(
            "table inet stand_in {{\n chain out {{ type nat hook output priority -100; \
             ip daddr {SERVER_ADDRESS} tcp dport {from} dnat ip to {SERVER_ADDRESS}:{to}; }}\n}}\n"
        ));
    }

    /// Ends [`Network::redirect`].
    pub fn stop_redirecting(&self) {
        self.rules("delete table inet stand_in\n");
    }

    fn rules(&self, rules: &str) {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.device, "nft", "-f", "-"]);
        crate::process::run_with_input(&mut nft, rules.as_bytes()).ok();
    }

    /// Gives the device's host another address; its connections die without a word.
    pub fn change_address(&self) {
        let device = self.device.as_str();
        ip(&["-n", device, "addr", "add", "10.213.0.77/24", "dev", LINK]).ok();
        ip(&[
            "-n",
            device,
            "addr",
            "del",
            &format!("{DEVICE_ADDRESS}/24"),
            "dev",
            LINK,
        ])
        .ok();
        // The second address may have gone with the first, as a secondary of it.
        let shown = ip(&["-n", device, "addr", "show", LINK]).ok();
        if !shown.contains("10.213.0.77") {
            ip(&["-n", device, "addr", "add", "10.213.0.77/24", "dev", LINK]).ok();
        }
    }

    /// Lets the device's host resolve [`SERVER_NAME`], or makes every look-up fail.
    pub fn names_work(&self, work: bool) {
        let text = if work {
            format!("127.0.0.1 localhost\n{SERVER_ADDRESS} {SERVER_NAME}\n")
        } else {
            "127.0.0.1 localhost\n".to_owned()
        };
        // Written in place: the file is mounted into the device's host.
        std::fs::write(self.etc().join("hosts"), text).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        setns(&self.before, CloneFlags::CLONE_NEWNET).ok();
        ip(&["netns", "del", &self.device]);
        ip(&["netns", "del", &self.server]);
        std::fs::remove_dir_all(self.etc()).ok();
    }
}

fn ip(arguments: &[&str]) -> Done {
    run(Command::new("ip").args(arguments))
}
