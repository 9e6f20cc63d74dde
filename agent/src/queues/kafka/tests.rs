//! What goes through a connection, frame by frame.

mod brokers;
mod consuming;
mod foreign;
mod producing;
