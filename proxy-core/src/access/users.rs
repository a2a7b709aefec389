//! Password files: what they say, kept so that a request does not read its file again.
//!
//! A file that was looked at a moment ago is taken to be the same; one that was not is opened, and read again if its
//! time or size differ. A file whose last change was too young to tell by its time whether another followed is read
//! again in any case.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::Hasher as _;

use hashbrown::{HashMap, HashSet};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::command::FileInfo;
use crate::dns::Secret;
use crate::time::{Instant, Millis, Now};

/// How long a file is taken to be what it was.
const FRESH: Millis = Millis(1000);
/// A change this young, in seconds, may be followed by another one that its time does not show.
const RACY_S: i64 = 2;
/// How many files a worker keeps.
const FILES_MAX: usize = 64;
/// The largest file, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a password file says: names and what stands behind them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    by_name: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl Users {
    /// Lines of `name:password[:comment]`; of two with one name the first counts. What begins with `#` is a comment.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut by_name = HashMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            if matches!(line.first(), None | Some(b'#' | b'\r')) {
                continue;
            }
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, rest) = line.split_at(colon);
            let rest = rest.get(1..).unwrap_or_default();
            let end = memchr::memchr2(b':', b'\r', rest).unwrap_or(rest.len());
            by_name.entry(name.into()).or_insert_with(|| rest.get(..end).unwrap_or_default().into());
        }
        Self { by_name }
    }

    /// What stands behind a name.
    pub(crate) fn password(&self, name: &[u8]) -> Option<&[u8]> {
        self.by_name.get(name).map(|password| &**password)
    }
}

/// The password files that a worker knows, the one that was read last at the end.
#[derive(Debug, Default)]
pub(crate) struct UserFiles {
    files: Vec<UserFile>,
}

#[derive(Debug)]
struct UserFile {
    path: Arc<[u8]>,
    users: Rc<Users>,
    mtime_s: i64,
    size: u64,
    racy: bool,
    looked_at: Instant,
}

impl UserFiles {
    /// What a file says, if it was looked at a moment ago.
    pub(crate) fn fresh(&self, path: &[u8], now: Now) -> Option<Rc<Users>> {
        let file = self.files.iter().find(|file| *file.path == *path)?;
        (now.instant < file.looked_at + FRESH).then(|| Rc::clone(&file.users))
    }

    /// What a file says, if it is the one that was read.
    pub(crate) fn unchanged(&mut self, path: &[u8], info: FileInfo, now: Now) -> Option<Rc<Users>> {
        let file = self.files.iter_mut().find(|file| *file.path == *path)?;
        if file.racy || file.mtime_s != info.mtime_s || file.size != info.size {
            return None;
        }
        file.looked_at = now.instant;
        Some(Rc::clone(&file.users))
    }

    /// Learns what a file says.
    pub(crate) fn learn(&mut self, path: Arc<[u8]>, info: FileInfo, text: &[u8], now: Now) -> Rc<Users> {
        self.files.retain(|file| file.path != path);
        if self.files.len() >= FILES_MAX {
            self.files.remove(0);
        }
        let users = Rc::new(Users::parse(text));
        let now_s = i64::try_from(now.unix_ms / 1000).unwrap_or(i64::MAX);
        self.files.push(UserFile {
            path,
            users: Rc::clone(&users),
            mtime_s: info.mtime_s,
            size: info.size,
            racy: info.mtime_s.saturating_add(RACY_S) > now_s,
            looked_at: now.instant,
        });
        users
    }
}

/// How many right passwords a worker remembers.
const VERIFIED_MAX: usize = 1024;

/// Passwords that were compared and found right: comparing takes long by design, and a client sends its password with
/// every request. Only a keyed hash of 128 bits over password and stored hash is kept, so that a new entry in the file
/// is a new question, and memory that leaks tells no password.
#[derive(Debug)]
pub(crate) struct Verified {
    key: [u8; 16],
    known: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Verified {
    pub(crate) fn new(seed: u64) -> Self {
        let mut secret = Secret::new(seed, PURPOSE);
        let key = u128::from(secret.draw()) << 64 | u128::from(secret.draw());
        Self { key: key.to_le_bytes(), known: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether the password was found right before.
    pub(crate) fn knows(&self, password: &[u8], stored: &[u8]) -> bool {
        !self.known.is_empty() && self.known.contains(&self.digest(password, stored))
    }

    /// The password is right.
    pub(crate) fn learn(&mut self, password: &[u8], stored: &[u8]) {
        let digest = self.digest(password, stored);
        if !self.known.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > VERIFIED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn digest(&self, password: &[u8], stored: &[u8]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_usize(stored.len());
        hasher.write(stored);
        hasher.write(password);
        hasher.finish128().as_u128()
    }
}

/// Sets this generator apart from others with the same seed.
const PURPOSE: u64 = 0x7061_7373_776f_7264;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::FileKind;

    #[test]
    fn lines() {
        let text = b"a:1\nb:2:comment\r\n#c:3\n\r\n\nno colon\nd:\na:again\n:5\n a:6\ne:7:\nlast:8";
        let users = Users::parse(text);
        let found = [&b"a"[..], b"b", b"#c", b"c", b"d", b"", b" a", b"e", b"last", b"no colon", b"A"]
            .map(|name| users.password(name).map(|password| alloc::format!("{}", password.escape_ascii())));
        let expected = [
            Some("1"),
            Some("2"),
            None,
            None,
            Some(""),
            Some("5"),
            Some("6"),
            Some("7"),
            Some("8"),
            None,
            None,
        ];
        assert_eq!(found.each_ref().map(Option::as_deref), expected);
    }

    #[test]
    fn a_file_is_read_again_when_it_may_have_changed() {
        let at = |s: u64| Now {
            unix_ms: s * 1000,
            instant: Instant::default() + Millis(s * 1000),
            utc_offset_s: 0,
        };
        let info = |mtime_s, size| FileInfo { kind: FileKind::Regular, size, mtime_s, executable: false };
        let mut files = UserFiles::default();
        let path: Arc<[u8]> = Arc::from(b"/f".as_slice());
        assert_eq!(files.fresh(b"/f", at(100)), None);
        files.learn(Arc::clone(&path), info(100, 3), b"a:1", at(100));
        assert!(files.fresh(b"/f", at(100)).is_some());
        assert!(files.fresh(b"/f", at(101)).is_none(), "its time is over");
        assert!(
            files.unchanged(b"/f", info(100, 3), at(103)).is_none(),
            "changed in the second of the reading"
        );
        files.learn(Arc::clone(&path), info(100, 3), b"a:2", at(103));
        let known = files.unchanged(b"/f", info(100, 3), at(110)).unwrap();
        assert_eq!(known.password(b"a"), Some(b"2".as_slice()));
        assert!(files.fresh(b"/f", at(110)).is_some());
        assert!(files.unchanged(b"/f", info(101, 3), at(110)).is_none(), "another time");
        assert!(files.unchanged(b"/f", info(100, 4), at(110)).is_none(), "another size");
        for n in 0..=FILES_MAX {
            files.learn(alloc::format!("/{n}").as_bytes().into(), info(1, 0), b"", at(110));
        }
        assert_eq!(files.files.len(), FILES_MAX);
        assert!(files.fresh(b"/f", at(110)).is_none());
    }

    #[test]
    fn right_passwords_are_known_until_others_take_their_place() {
        let mut verified = Verified::new(7);
        verified.learn(b"secret", b"$1$x");
        assert!(verified.knows(b"secret", b"$1$x"));
        for (password, stored) in [(&b"secret"[..], &b"$1$y"[..]), (b"secre", b"$1$x"), (b"xsecret", b"$1$")]
        {
            assert!(!verified.knows(password, stored));
        }
        for n in 0..VERIFIED_MAX {
            verified.learn(&n.to_le_bytes(), b"$1$x");
            verified.learn(&n.to_le_bytes(), b"$1$x");
        }
        assert!(!verified.knows(b"secret", b"$1$x"));
        assert!(verified.knows(&0_usize.to_le_bytes(), b"$1$x"));
        assert_eq!((verified.known.len(), verified.order.len()), (VERIFIED_MAX, VERIFIED_MAX));
    }
}
