//! What the end-to-end tests share: the real binary, real clients, and a record of what reached
//! the protected side.

pub mod apps;
pub mod cases;
pub mod chrome;
pub mod curl;
pub mod frames;
pub mod gateway;
pub mod grpc;
pub mod guess;
pub mod html;
pub mod journal;
pub mod mirror;
pub mod netns;
pub mod office;
pub mod pebble;
pub mod policy;
pub mod ports;
pub mod process;
pub mod raw;
pub mod relay;
pub mod replica;
pub mod resolver;
pub mod routes;
pub mod scale;
pub mod site;
pub mod smtp;
pub mod temp;
pub mod totp;
pub mod upstream;
pub mod wait;
pub mod websocket;
pub mod wireguard;
