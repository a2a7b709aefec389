//! `auth_basic`: a user and a password, looked up in a file.
//!
//! ```text
//! Idle ─► (the file was looked at a moment ago) ──────────────────────────────┐
//!   │                                                                         ▼
//!   └─► Opening ─► (unchanged) ──────────────────────────────────────────► compare ─► Idle, with a verdict
//!          └─► Reading ─► … ─► (all of it is here) ────────────────────────►  └─► Verifying ─► Idle
//! ```
//! Reference: nginx's ngx_http_auth_basic_module.

use alloc::format;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::access::Verdict;
use super::context::{Context, FileRole, Generation};
use super::{Exchange, Stage};
use crate::access::credentials::Credentials;
use crate::access::password;
use crate::access::users::{FILE_BYTES_MAX, Users};
use crate::buf::Buf;
use crate::command::{Command, Completion, FileId, FileInfo, IoError, Level, OpenMode, VerifyId};
use crate::config::{Access, AuthBasic, UserFilePath};
use crate::conn::Link;
use crate::content::files::shown;
use crate::h1::encode;
use crate::http::Status;

/// What is waited for.
#[derive(Debug, Default)]
pub(super) enum PasswordRun {
    #[default]
    Idle,
    Opening {
        file: FileId,
        path: Arc<[u8]>,
        opened: Option<Result<FileInfo, IoError>>,
    },
    Reading {
        file: FileId,
        path: Arc<[u8]>,
        info: FileInfo,
        text: Vec<u8>,
        read: Option<Result<Buf, IoError>>,
    },
    Verifying {
        id: VerifyId,
        stored: Vec<u8>,
        answer: Option<Option<bool>>,
    },
}

/// How much of a password file is read at once, in bytes.
const READ_BYTES: usize = 32 * 1024;

impl PasswordRun {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn handle_file(&mut self, of: FileId, completion: Completion) {
        match (self, completion) {
            (Self::Opening { file, opened, .. }, Completion::OpenFile { result, .. }) if *file == of => {
                *opened = Some(result);
            }
            (Self::Reading { file, read, .. }, Completion::ReadFile { result, .. }) if *file == of => {
                *read = Some(result);
            }
            (Self::Idle | Self::Opening { .. } | Self::Reading { .. } | Self::Verifying { .. }, _) => {}
        }
    }

    pub(super) fn handle_verified(&mut self, of: VerifyId, matches: Option<bool>) {
        if let Self::Verifying { id, answer, .. } = self
            && *id == of
        {
            *answer = Some(matches);
        }
    }

    /// Lets go of everything.
    pub(super) fn close(&mut self, ctx: &mut Context) {
        match core::mem::take(self) {
            Self::Idle => {}
            Self::Opening { file, .. } | Self::Reading { file, .. } => ctx.close_file(file),
            Self::Verifying { id, .. } => {
                ctx.verifying.remove(id.0);
            }
        }
    }
}

impl Exchange {
    /// Asks for the password.
    pub(super) fn check_password(
        &mut self,
        access: &Access,
        generation: &Generation,
        link: &Link,
        ctx: &mut Context,
    ) -> Verdict {
        let Some(basic) = &access.basic else { return Verdict::Declined };
        if basic.realm.as_literal().is_none() && self.evaluate(&basic.realm, generation, ctx) == b"off" {
            return Verdict::Declined;
        }
        if Credentials::of(&self.facts.head).is_none() {
            self.log_error(Level::Info, &"no user/password was provided for basic authentication", ctx);
            return self.ask_for_password(basic, generation, ctx);
        }
        let path = match &basic.file {
            UserFilePath::Fixed(path) => Arc::clone(path),
            UserFilePath::Computed(template) => self.evaluate(template, generation, ctx).into(),
        };
        if let Some(users) = ctx.user_files.fresh(&path, ctx.now) {
            return self.look_up_user(&users, &path, basic, generation, link, ctx);
        }
        if path.first() != Some(&b'/') || memchr::memchr(0, &path).is_some() {
            return self.fail_users(IoError::NOT_FOUND, "open()", &path, ctx);
        }
        let file = ctx.open_file(link.id, FileRole::Users, Arc::clone(&path), OpenMode::Read);
        self.access.password = PasswordRun::Opening { file, path, opened: None };
        self.stage = Stage::Access;
        Verdict::Pending
    }

    /// Goes on as far as what has come allows.
    pub(super) fn pump_password(&mut self, link: &Link, ctx: &mut Context) -> Verdict {
        let generation = Rc::clone(&self.generation);
        let access = self.location(&generation).and_then(|location| location.access.as_ref());
        let Some(basic) = access.and_then(|access| access.basic.as_ref()) else { return Verdict::Pending };
        match core::mem::take(&mut self.access.password) {
            PasswordRun::Opening { file, path, opened: Some(result) } => {
                self.users_opened(file, path, result, basic, link, ctx)
            }
            PasswordRun::Reading { file, path, info, text, read: Some(result) } => match result {
                Ok(bytes) => self.users_read(file, path, info, text, &bytes.freeze(), basic, link, ctx),
                Err(error) => {
                    ctx.close_file(file);
                    self.fail_users(error, "pread()", &path, ctx)
                }
            },
            PasswordRun::Verifying { stored, answer: Some(answer), .. } => {
                self.password_verified(&stored, answer, basic, ctx)
            }
            waiting @ (PasswordRun::Idle
            | PasswordRun::Opening { .. }
            | PasswordRun::Reading { .. }
            | PasswordRun::Verifying { .. }) => {
                self.access.password = waiting;
                Verdict::Pending
            }
        }
    }

    fn users_opened(
        &mut self,
        file: FileId,
        path: Arc<[u8]>,
        opened: Result<FileInfo, IoError>,
        basic: &AuthBasic,
        link: &Link,
        ctx: &mut Context,
    ) -> Verdict {
        let info = match opened {
            Ok(info) => info,
            Err(error) => {
                ctx.close_file(file);
                return self.fail_users(error, "open()", &path, ctx);
            }
        };
        if let Some(users) = ctx.user_files.unchanged(&path, info, ctx.now) {
            ctx.close_file(file);
            let generation = Rc::clone(&self.generation);
            return self.look_up_user(&users, &path, basic, &generation, link, ctx);
        }
        ctx.commands.push_back(Command::ReadFile { file, offset: 0, len: READ_BYTES });
        self.access.password = PasswordRun::Reading { file, path, info, text: Vec::new(), read: None };
        Verdict::Pending
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of the state that it takes apart")]
    fn users_read(
        &mut self,
        file: FileId,
        path: Arc<[u8]>,
        info: FileInfo,
        mut text: Vec<u8>,
        bytes: &[u8],
        basic: &AuthBasic,
        link: &Link,
        ctx: &mut Context,
    ) -> Verdict {
        text.extend_from_slice(bytes);
        let offset = text.len() as u64;
        if offset > FILE_BYTES_MAX {
            ctx.close_file(file);
            // EFBIG
            return self.fail_users(IoError { errno: 27 }, "pread()", &path, ctx);
        }
        if !bytes.is_empty() {
            ctx.commands.push_back(Command::ReadFile { file, offset, len: READ_BYTES });
            self.access.password = PasswordRun::Reading { file, path, info, text, read: None };
            return Verdict::Pending;
        }
        ctx.close_file(file);
        let users = ctx.user_files.learn(Arc::clone(&path), info, &text, ctx.now);
        let generation = Rc::clone(&self.generation);
        self.look_up_user(&users, &path, basic, &generation, link, ctx)
    }

    fn look_up_user(
        &mut self,
        users: &Users,
        path: &[u8],
        basic: &AuthBasic,
        generation: &Generation,
        link: &Link,
        ctx: &mut Context,
    ) -> Verdict {
        let Some(credentials) = Credentials::of(&self.facts.head) else { return Verdict::Declined };
        let Some(stored) = users.password(credentials.user()) else {
            let (user, path) = (shown(credentials.user()), shown(path));
            self.log_error(Level::Error, &format!("user \"{user}\" was not found in \"{path}\""), ctx);
            return self.ask_for_password(basic, generation, ctx);
        };
        if ctx.verified.knows(credentials.password(), stored) {
            return Verdict::Allowed;
        }
        if !password::is_slow(stored) {
            let matches = password::matches(credentials.password(), stored);
            return self.password_compared(&credentials, matches, basic, generation, ctx);
        }
        let id = VerifyId(ctx.verifying.insert(link.id));
        let password = credentials.password().into();
        ctx.commands.push_back(Command::Verify { id, password, stored: stored.into() });
        self.access.password = PasswordRun::Verifying { id, stored: stored.to_vec(), answer: None };
        self.stage = Stage::Access;
        Verdict::Pending
    }

    fn password_verified(
        &mut self,
        stored: &[u8],
        answer: Option<bool>,
        basic: &AuthBasic,
        ctx: &mut Context,
    ) -> Verdict {
        let Some(credentials) = Credentials::of(&self.facts.head) else { return Verdict::Declined };
        let Some(matches) = answer else {
            self.log_error(Level::Crit, &"too many passwords wait to be compared", ctx);
            return Verdict::Denied(Status::INTERNAL_SERVER_ERROR);
        };
        if matches {
            ctx.verified.learn(credentials.password(), stored);
        }
        let generation = Rc::clone(&self.generation);
        self.password_compared(&credentials, matches, basic, &generation, ctx)
    }

    fn password_compared(
        &mut self,
        credentials: &Credentials,
        matches: bool,
        basic: &AuthBasic,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Verdict {
        if matches {
            return Verdict::Allowed;
        }
        let user = shown(credentials.user());
        self.log_error(Level::Error, &format!("user \"{user}\": password mismatch"), ctx);
        self.ask_for_password(basic, generation, ctx)
    }

    /// The challenge goes with whatever reply there will be, an error page's included.
    fn ask_for_password(&mut self, basic: &AuthBasic, generation: &Generation, ctx: &mut Context) -> Verdict {
        let realm = self.evaluate(&basic.realm, generation, ctx);
        if !encode::is_clean(&realm) {
            let text = format!("realm \"{}\" would hold a line end", realm.escape_ascii());
            self.log_error(Level::Error, &text, ctx);
            return Verdict::Denied(Status::INTERNAL_SERVER_ERROR);
        }
        let value = [b"Basic realm=\"".as_slice(), &realm, b"\""].concat();
        encode::field(&mut self.challenge, b"WWW-Authenticate", &value);
        Verdict::Denied(Status::UNAUTHORIZED)
    }

    /// The file cannot be had. One that does not exist lets nobody in; anything else is our trouble.
    fn fail_users(&mut self, error: IoError, call: &str, path: &[u8], ctx: &mut Context) -> Verdict {
        let missing = error == IoError::NOT_FOUND;
        let (level, status) = if missing {
            (Level::Error, Status::FORBIDDEN)
        } else {
            (Level::Crit, Status::INTERNAL_SERVER_ERROR)
        };
        self.log_error(level, &format!("{call} \"{}\" failed ({error})", shown(path)), ctx);
        Verdict::Denied(status)
    }
}
