//! A whole Quorate cluster in one deterministic process, and checkers that decide.
//!
//! The nodes are those that ship: [`quorate_node::simulation::Process`] is everything of a server
//! process but its sockets, threads, clocks and disk, which are simulated here. One seed gives a
//! schedule: what clients ask, what goes wrong, and how long everything takes. Afterwards every
//! fault ends, the cluster settles without any client, every key is read at every node, and the
//! checkers look at what the clients saw.
//!
//! - [`scenario`]: clusters, workloads, faults, and what is promised;
//! - [`fault`], [`workload`], [`action`], [`document`]: what goes wrong, and what clients do;
//! - [`world`], [`machine`], [`network`], [`client`], [`random`]: the simulation;
//! - [`history`], [`check`]: what clients saw, and whether it keeps the promises;
//! - [`processes`]: the same with real processes;
//! - [`schedule`], [`runner`], [`shrink`], [`observe`]: running one, many, the smallest that fails,
//!   and what was met on the way.

pub mod action;
pub mod check;
pub mod client;
pub mod document;
pub mod fault;
pub mod history;
pub mod machine;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
pub mod observe;
pub mod processes;
pub mod random;
pub mod runner;
pub mod scenario;
pub mod schedule;
pub mod shrink;
pub mod workload;
pub mod world;
