//! The self-contained trial: one command, no root, no network, nothing installed.

mod app;
mod banner;
mod files;
mod people;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, serve};
use crate::config::Config;
use crate::ids;
use crate::reload::start::Fallback;
use crate::run;
use banner::Banner;

/// How to run the trial.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Keep everything in this folder for the next start; made if missing [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Added to the ports 8443, 8080, 8444 and 51820
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=13_715))]
    port_offset: u16,
    /// The address of the tunnel's socket
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    tunnel_listen: IpAddr,
    /// A real application behind the app host, instead of the built-in one
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
}

/// Runs the trial until SIGTERM or Ctrl-C.
///
/// # Errors
/// [`Exit::Unavailable`] for an occupied port, [`Exit::CannotCreate`] for a folder that cannot be made, and what a
/// start may say.
pub(crate) fn run(options: &Options, json: bool) -> Result<(), Failure> {
    let place = Place::open(options.dir.as_deref())?;
    let upstream = match &options.upstream {
        Some(url) => url.clone(),
        None => {
            let address = app::start().map_err(|e| Failure::of(Exit::Unavailable, &e))?;
            format!("http://{address}")
        }
    };
    let ports = files::Ports::new(options.port_offset, options.tunnel_listen);
    files::write(place.path(), &ports, &upstream)?;
    let config = Config::load(&place.path().join("postern.toml"))?;
    serve::log(&config.log);
    let people = people::prepare(&config, place.path())?;
    let mut banner = Banner::new(&config, &ports, people, place.path());
    let keeps = options.dir.is_some();
    run::serve(config, Fallback::default(), move |gateway| {
        let tunnel = gateway.tunnel.get();
        let down = match tunnel {
            Some(handle) => handle.why_down(),
            None => Some("the tunnel is switched off".to_owned()),
        };
        if let Some(why) = down {
            out::note(&format!("no tunnel: {why}"));
            banner.without_tunnel();
        }
        if json {
            out::json(&banner);
        } else {
            out::raw(&banner.text(keeps));
        }
    })?;
    Ok(())
}

/// The folder of the trial; a temporary one goes with it.
struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    fn open(dir: Option<&Path>) -> Result<Self, Failure> {
        let (path, temporary) = match dir {
            Some(dir) => (std::path::absolute(dir), false),
            None => {
                let name = format!("postern-demo-{}", ids::token());
                (Ok(std::env::temp_dir().join(name)), true)
            }
        };
        let path = path.map_err(|e| Failure::of(Exit::CannotCreate, &e))?;
        files::make_folder(&path)?;
        Ok(Self { path, temporary })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}
