//! `-t` and `-T`: would it start?

use std::path::Path;
use std::process::ExitCode;

use proxy_io::Logs;

use crate::cli::{Options, Version};
use crate::load::{Remarks, Site, Source as _, temporary_directories};
use crate::site::ConfSource;
use crate::{privilege, run, say, version};

/// Checks the configuration, and that its logs, directories and addresses can be had; says so in nginx's words.
#[must_use]
pub fn test(options: &Options, dump: bool, version: Option<Version>) -> ExitCode {
    if let Some(version) = version {
        say::error(version::text(version).trim_end_matches('\n'));
    }
    let source = ConfSource::from_options(options).strict();
    let path = source.main().display();
    match check(&source, options.quiet) {
        Ok(site) => {
            if !options.quiet {
                say::nginx(&format!("configuration file {path} test is successful"));
            }
            if dump {
                say::output(&site.dump);
            }
            ExitCode::SUCCESS
        }
        Err(remarks) => {
            run::report_early(&source.early_log(), &remarks);
            say::nginx(&format!("configuration file {path} test failed"));
            ExitCode::FAILURE
        }
    }
}

fn check(source: &ConfSource, quiet: bool) -> Result<Site, Remarks> {
    let site = source.load(1)?;
    site.remarks.print();
    if !quiet {
        say::nginx(&format!("the configuration file {} syntax is ok", source.main().display()));
    }
    let identity = privilege::identity(site.main.user()).map_err(Remarks::emerg)?;
    privilege::make_directories(&temporary_directories(&site.config), identity.as_ref())
        .map_err(Remarks::emerg)?;
    Logs::open(&site.config).map_err(|error| Remarks::emerg(error.to_string()))?;
    let directory = site.main.pid.as_deref().and_then(Path::parent);
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        let message = format!("open() \"{}\" failed (2: No such file or directory)", directory.display());
        return Err(Remarks::emerg(message));
    }
    proxy_io::check(&site.config).map_err(|error| Remarks::emerg(error.to_string()))?;
    Ok(site)
}
