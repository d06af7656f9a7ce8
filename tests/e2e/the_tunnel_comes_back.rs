//! Faults of the network and of the server, each between two hosts of its own.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use harness::{
    DeviceOptions, Network, Operator, SERVER_ADDRESS, SERVER_NAME, ServerOptions, TestDevice,
    TestServer, eventually, wait_for,
};

const NAME: &str = "afloat";
/// A dead link is noticed within 30 s, and the first attempts after it may fail.
const NOTICE_LIMIT: Duration = Duration::from_secs(100);

/// A device on one host, its server on another.
struct Sea {
    // Fields go in this order: the network last.
    device: TestDevice,
    operator: Operator,
    server: TestServer,
    network: Network,
    generation: u64,
}

fn server_options() -> ServerOptions {
    ServerOptions {
        address: SERVER_ADDRESS.into(),
        public_host: SERVER_NAME.into(),
        ..ServerOptions::default()
    }
}

impl Sea {
    fn calm() -> Self {
        let network = Network::make();
        let server = TestServer::start_with(server_options());
        let operator = Operator::login(&server);
        let key = server.full_key("maker");
        let options = DeviceOptions {
            name: Some(NAME.into()),
            namespace: Some(network.device_host().to_owned()),
            // The server is known to the device by its name, which only the device's host resolves.
            api_url: Some(server.public_url()),
            ..DeviceOptions::default()
        };
        let mut device = TestDevice::new(&server, &key, options);
        device.launch();
        let generation = operator.wait_online(NAME, None);
        operator.open_port(NAME);
        let sea = Self {
            device,
            operator,
            server,
            network,
            generation,
        };
        sea.assert_served();
        sea
    }

    fn serves_ssh(&self) -> bool {
        let port = self.operator.device(NAME).forwards[0].public_port;
        let Ok(mut visitor) = TcpStream::connect((SERVER_ADDRESS, port)) else {
            return false;
        };
        visitor
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut greeting = [0; 8];
        visitor.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-2.0-"
    }

    fn assert_served(&self) {
        eventually("ssh is served on the public port", || self.serves_ssh());
    }

    /// Waits for another tunnel than the one before the fault.
    fn wait_back(&mut self) {
        let (operator, before) = (&self.operator, self.generation);
        wait_for("the tunnel is back", NOTICE_LIMIT, || {
            let device = operator.device(NAME);
            let another = device
                .tunnel
                .is_some_and(|tunnel| tunnel.generation != before);
            (device.online && another).then_some(())
        });
        self.device.assert_alive();
        self.assert_served();
    }

    /// After a restart the server has no tunnel until the device brings it.
    fn wait_back_after_restart(&mut self) {
        self.operator.wait_online(NAME, None);
        self.device.assert_alive();
        self.assert_served();
    }

    fn wait_noticed(&mut self) {
        let (operator, before) = (&self.operator, self.generation);
        wait_for("the server notices", NOTICE_LIMIT, || {
            let tunnel = operator.device(NAME).tunnel;
            tunnel
                .is_none_or(|tunnel| tunnel.generation != before)
                .then_some(())
        });
        self.device.assert_alive();
    }
}

#[test]
fn after_a_restart_of_the_server() {
    let mut sea = Sea::calm();
    sea.server.stop();
    sea.server.launch();
    sea.wait_back_after_restart();
    sea.server.kill();
    sea.server.launch();
    sea.wait_back_after_restart();
}

#[test]
fn after_the_server_was_gone_for_a_minute() {
    let mut sea = Sea::calm();
    sea.server.kill();
    // The minute is the fault itself.
    std::thread::sleep(Duration::from_secs(60));
    sea.device.assert_alive();
    sea.server.launch();
    sea.wait_back_after_restart();
}

#[test]
fn after_the_link_was_down() {
    let mut sea = Sea::calm();
    sea.network.link(false);
    sea.wait_noticed();
    sea.network.link(true);
    sea.wait_back();
}

#[test]
fn after_packets_were_dropped_both_ways() {
    let mut sea = Sea::calm();
    sea.network.drop_packets(true);
    sea.wait_noticed();
    sea.network.drop_packets(false);
    sea.wait_back();
}

#[test]
fn after_a_change_of_address() {
    let mut sea = Sea::calm();
    sea.network.change_address();
    sea.wait_back();
    let peer = sea.operator.device(NAME).tunnel.unwrap().peer;
    assert!(peer.starts_with("10.213.0.77"), "{peer}");
}

#[test]
fn after_names_could_not_be_resolved() {
    let mut sea = Sea::calm();
    let said_before = sea.device.log().len();
    sea.network.names_work(false);
    sea.server.stop();
    sea.server.launch();
    eventually("the agent says that the name cannot be resolved", || {
        sea.device.log()[said_before..].contains(SERVER_NAME)
    });
    assert!(sea.operator.device(NAME).tunnel.is_none());
    sea.device.assert_alive();
    sea.network.names_work(true);
    sea.wait_back_after_restart();
}

#[test]
fn after_another_server_stood_in_its_place() {
    let mut sea = Sea::calm();
    let impostor = TestServer::start_with(server_options());
    let said_before = sea.device.log().len();
    sea.network
        .redirect(sea.server.ssh_port(), impostor.ssh_port());
    sea.server.stop();
    sea.server.launch();
    eventually("the agent says that the host key is wrong", || {
        let said = sea.device.log()[said_before..].to_lowercase();
        said.contains("host key")
    });
    sea.device.assert_alive();
    assert!(sea.operator.device(NAME).tunnel.is_none());
    sea.network.stop_redirecting();
    sea.wait_back_after_restart();
}
