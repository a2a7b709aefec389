//! Going to the background.
//!
//! The fork happens after the configuration is loaded and the listeners are bound, and while there is one thread. The
//! process that was started stays until its child serves, so that its exit status is the truth: whoever waits for it
//! (systemd's `Type=forking`, a script) finds the pid file, and a failure on the way is an exit status of 1.

use std::io::{self, PipeWriter, Read, Write};

/// The daemon's word to its starter.
#[derive(Debug)]
pub struct Ready {
    line: PipeWriter,
}

impl Ready {
    /// Tells the starter that this process serves, and lets go of its terminal.
    ///
    /// # Errors
    /// What the system says when the standard streams are redirected.
    pub fn tell(mut self) -> io::Result<()> {
        // Until here errors could still be said where the starter's user looks.
        fork::redirect_stdio()?;
        // A starter that was killed meanwhile does not matter.
        let _ = self.line.write_all(b"1");
        Ok(())
    }
}

/// Forks, in a session of its own; only the child returns, and owes its starter a word. To be called while this process
/// has one thread. What the starter holds is not dropped: it all belongs to the child now.
///
/// # Errors
/// What the system says to a pipe, a fork or a new session.
pub fn detach() -> io::Result<Ready> {
    let (mut reader, line) = io::pipe()?;
    match fork::fork()? {
        fork::Fork::Parent(_) => {
            drop(line);
            let mut word = [0];
            let serves = reader.read_exact(&mut word).is_ok();
            std::process::exit(i32::from(!serves))
        }
        fork::Fork::Child => {
            drop(reader);
            fork::setsid()?;
            Ok(Ready { line })
        }
    }
}
