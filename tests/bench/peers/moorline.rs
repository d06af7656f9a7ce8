use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::{DeviceOptions, Operator, ServerOptions, TestDevice, TestServer, free_port};
use reqwest::Method;
use serde_json::json;

use super::{Door, IdleMemory, OURS, Peer};
use crate::create;
use crate::fleet;
use crate::idle::{IdleTunnels, Login, device_key};
use crate::load::reconnect::wait_served;
use crate::processes;
use crate::service::Service;
use crate::web::Web;

/// Devices whose tunnels are taken over, one after the other.
const TAKEN_OVER: usize = 100;
/// Name of the device.
const DEVICE: &str = "bench";

/// The real server on SQLite and the real agent, as installed.
#[derive(Debug)]
pub(super) struct Moorline {
    // Fields go in this order: the device before the server it talks to.
    _device: TestDevice,
    server: TestServer,
    port: u16,
    door: Door,
}

impl Moorline {
    pub(super) fn start(service: &Service) -> Result<Self> {
        let names_port = free_port();
        let server = TestServer::start_with(ServerOptions {
            config: format!(
                "[names]\ndomain = \"bench.test\"\nlisten = [\"127.0.0.1:{names_port}\"]\n"
            ),
            ..ServerOptions::default()
        });
        let key = server.full_key("bench");
        let options = DeviceOptions {
            name: Some(DEVICE.into()),
            forward_port: Some(service.port()),
            ..DeviceOptions::default()
        };
        let mut device = TestDevice::new(&server, &key, options);
        device.launch();
        let operator = Operator::login(&server);
        harness::eventually("the device is online", || {
            device.assert_alive();
            operator
                .try_device(DEVICE)
                .is_some_and(|device| device.online)
        });
        // A bench connects more often than the ten times a minute that a visitor may.
        let answer = operator.send(
            Method::PATCH,
            &format!("/v1/admin/devices/{DEVICE}"),
            Some(&json!({"max_connections_per_minute": 0})),
        );
        ensure!(
            answer.status == 200,
            "lift the limit of visitors: {}",
            answer.text
        );
        let forwards = operator.device(DEVICE).forwards;
        let port = forwards.first().context("no forward")?.public_port;
        wait_served(port)?;
        let door = Door {
            port: names_port,
            host: http_name(&operator)?,
        };
        Ok(Self {
            door,
            _device: device,
            server,
            port,
        })
    }
}

/// Makes a web server on the device reachable by an HTTP name.
fn http_name(operator: &Operator) -> Result<String> {
    let web = Web::start()?;
    let answer = operator.send(
        Method::POST,
        &format!("/v1/admin/devices/{DEVICE}/forwards"),
        Some(&json!({"device_port": web.port(), "http": true})),
    );
    ensure!(answer.status == 201, "expose: {}", answer.text);
    let answer = answer.json();
    let name = answer.pointer("/forward/http_name");
    let name = name.and_then(serde_json::Value::as_str);
    Ok(name.context("no HTTP name")?.to_owned())
}

impl Peer for Moorline {
    fn name(&self) -> &'static str {
        OURS
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn door(&self) -> Option<Door> {
        Some(self.door.clone())
    }

    fn kill_server(&mut self) -> bool {
        self.server.kill();
        true
    }

    fn launch_server(&mut self) {
        self.server.launch();
    }

    /// Devices of their own, made over the API, each with its tunnel, its control channel and its public port.
    fn idle_memory(&self, count: usize) -> Result<Option<IdleMemory>> {
        let (server, logins) = others(count)?;
        let process = server.process().id();
        let before_bytes = processes::memory_bytes(&[process])?;
        let held = IdleTunnels::hold(server.ssh_port(), logins)?;
        processes::wait_settled(process)?;
        let after_bytes = processes::memory_bytes(&[process])?;
        drop(held);
        Ok(Some(IdleMemory {
            tunnels: count,
            before_bytes,
            after_bytes,
        }))
    }

    fn fleet(&self, count: usize, source: fleet::Source) -> Result<Option<fleet::Return>> {
        let (mut server, logins) = others(count)?;
        fleet::comes_back(&mut server, logins, source).map(Some)
    }

    fn takeovers(&self) -> Result<Option<Vec<f64>>> {
        let (server, logins) = others(TAKEN_OVER)?;
        fleet::takeovers(&server, logins).map(Some)
    }
}

/// A server of their own with `count` devices.
fn others(count: usize) -> Result<(TestServer, Vec<Login>)> {
    let server = TestServer::start_with(ServerOptions {
        ports: u16::try_from(count).context("too many devices")?,
        ..ServerOptions::default()
    });
    let api_key = server.full_key("factory");
    let logins = logins(&server, &api_key, count)?;
    Ok((server, logins))
}

fn logins(server: &TestServer, api_key: &str, count: usize) -> Result<Vec<Login>> {
    let mut keys = HashMap::new();
    let mut waiting = VecDeque::new();
    for _ in 0..count {
        let key = device_key()?;
        let public = key.public_key().to_openssh()?;
        waiting.push_back(public.clone());
        keys.insert(public, Arc::new(key));
    }
    let mut logins = Vec::new();
    for (public, device) in create::create(server, api_key, waiting)? {
        let key = keys.remove(&public).context("an unknown key")?;
        logins.push(Login::agent(&device.client_id, key, device.port));
    }
    Ok(logins)
}
