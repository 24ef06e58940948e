//! Many executors on one server: what that costs it, and whether they all come at once when it was away.
//!
//! The executors are real agents in this process, each with connections, heartbeats and dequeues of its own; only the runtime is
//! made up, since no job is given out. The server is the binary in `EXECUTOR_FLEET_BINARY`. Between them is a relay that counts
//! requests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may panic, and prints what it measured"
)]

mod idle;
mod relay;
mod server;

use agent::{AgentConfig, Orders};
use idle::IdleRuntime;
use relay::Relay;
use secrecy::SecretString;
use server::Server;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EXECUTORS: usize = 500;
/// How long each figure is taken over.
const TAKEN_OVER: Duration = Duration::from_mins(1);
/// How long the server is away.
const AWAY: Duration = Duration::from_secs(2);
/// How long all executors may take to be heard of.
const HEARD: Duration = Duration::from_mins(3);

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Each has two threads for its heartbeats.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "127.0.0.1:0");
    let relay = Relay::start(server.address()).await;
    let orders = Orders::default();
    for number in 0..EXECUTORS {
        let name = format!("fleet-{number:03}");
        let secret = SecretString::from(server.shared_secret());
        let url = format!("http://{}", relay.address()).parse().unwrap();
        let mut config = AgentConfig::new(url, secret, "batches", &name, dir.path().join(&name));
        config.disk_floor = Some(0);
        tokio::spawn(agent::run(config, Arc::new(IdleRuntime), orders.clone()));
    }
    until_all_are_heard(&server).await;
    // What the first minute of each has in it that the others have not is over.
    tokio::time::sleep(TAKEN_OVER / 2).await;

    let (before, begun) = (server.processor_time(), Instant::now());
    let steady = relay.requests_each_second(TAKEN_OVER).await;
    let share = server.processor_time().saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let mean = steady.iter().sum::<u64>() as f64 / steady.len() as f64;
    println!("{EXECUTORS} executors, heartbeats every 5 s, dequeues held for 15 to 20 s:");
    println!("  {mean:.0} requests a second, {} in the busiest", steady.iter().max().unwrap());
    println!("  server: {:.1} % of one core, {:.1} MB", share * 100.0, server.memory_mb());

    let address = server.address();
    server.kill();
    let away = relay.requests_each_second(AWAY).await;
    let server = Server::start(dir.path(), &address.to_string());
    let back = relay.requests_each_second(TAKEN_OVER).await;
    let peak = away.iter().chain(&back).max().unwrap();
    println!("killed, and started again after {AWAY:?}:");
    println!(
        "  busiest second {peak} requests, {:.2} x the mean before; while away {away:?}, then {:?}",
        *peak as f64 / mean,
        &back[..12]
    );
    until_all_are_heard(&server).await;
    println!("  server: {:.1} MB", server.memory_mb());
    orders.stop.cancel();
}

async fn until_all_are_heard(server: &Server) {
    let begun = Instant::now();
    while server.active_executors().await < EXECUTORS {
        assert!(begun.elapsed() < HEARD, "{} executors were heard of", server.active_executors().await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
