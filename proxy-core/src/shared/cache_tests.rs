//! What holds of an index whoever asks it.

use super::*;

fn wish(min_uses: u32, now: u64) -> Wish {
    let now_s = i64::try_from(now).unwrap();
    Wish { min_uses, inactive: Millis::from_secs(10), now: Instant::from_micros(now * 1_000_000), now_s }
}

fn index() -> Arc<CacheIndex> {
    Arc::new(CacheIndex::new(1 << 16))
}

#[test]
fn a_lock_is_free_again_however_its_owner_ends() {
    let index = index();
    let age = Millis::from_secs(5);
    let now = wish(1, 1).now;
    let mut gone = Vec::new();
    let (found, mut first) = index.enter(&[1; 16], wish(1, 1), &mut gone).unwrap();
    assert_eq!(found, Found::New);
    assert!(first.lock(now, age));
    let (found, mut second) = index.enter(&[1; 16], wish(1, 1), &mut gone).unwrap();
    assert_eq!(found, Found::Entry { exists: false });
    assert!(!second.lock(now, age) && second.is_busy(now));
    assert!(!second.is_busy(now + age), "a lock that is too old holds nobody up");
    drop(first);
    assert!(!second.is_busy(now) && second.lock(now, age));
    drop(second);
    assert_eq!(index.count.load(Ordering::Relaxed), 0, "what has no file is forgotten with its last request");
}

#[test]
fn a_lock_that_was_taken_over_is_not_given_back_by_its_first_owner() {
    let index = index();
    let (now, age) = (wish(1, 1).now, Millis::from_secs(5));
    let mut gone = Vec::new();
    let (_, mut first) = index.enter(&[1; 16], wish(1, 1), &mut gone).unwrap();
    let (_, mut second) = index.enter(&[1; 16], wish(1, 1), &mut gone).unwrap();
    assert!(first.lock(now, age) && second.lock(now + age, age));
    drop(first);
    let (_, third) = index.enter(&[1; 16], wish(1, 1), &mut gone).unwrap();
    assert!(third.is_busy(now + age));
}

#[test]
fn entries_are_counted_committed_and_forgotten() {
    let index = index();
    let mut gone = Vec::new();
    let (found, seat) = index.enter(&[2; 16], wish(2, 1), &mut gone).unwrap();
    assert_eq!(found, Found::New);
    drop(seat);
    let (found, mut seat) = index.enter(&[2; 16], wish(2, 1), &mut gone).unwrap();
    assert_eq!(found, Found::Entry { exists: false }, "the second use is enough");
    seat.begin_commit();
    assert_eq!(index.enter(&[2; 16], wish(2, 1), &mut gone).unwrap().0, Found::Committing);
    seat.end_commit(Some(4096));
    assert_eq!(index.enter(&[2; 16], wish(2, 1), &mut gone).unwrap().0, Found::Entry { exists: true });
    assert_eq!(index.bytes(), 4096);
    let late = wish(2, 60).now;
    assert!(index.expire(100, late).0.is_empty(), "somebody is at it");
    drop(seat);
    assert_eq!(index.expire(100, late).0.len(), 1);
    assert_eq!((index.bytes(), index.count.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn an_entry_is_put_into_its_place_until_the_last_of_its_replies_is() {
    let index = index();
    let mut gone = Vec::new();
    let mut enter = || index.enter(&[3; 16], wish(1, 1), &mut gone).unwrap();
    let ((_, mut first), (_, mut renewal)) = (enter(), enter());
    first.begin_commit();
    renewal.begin_commit();
    first.end_commit(Some(4096));
    assert_eq!(enter().0, Found::Committing, "the renewal is on its way");
    renewal.end_commit(Some(4096));
    assert_eq!(enter().0, Found::Entry { exists: true });
    renewal.begin_commit();
    drop(renewal);
    assert_eq!(enter().0, Found::Entry { exists: true }, "one that is given up holds nobody up");
}

#[test]
fn a_full_zone_forgets_its_oldest_entry_and_a_status_is_remembered() {
    let index = Arc::new(CacheIndex::new(32 << 10));
    let mut gone = Vec::new();
    for n in 0..1000_u32 {
        let mut hash = [0; 16];
        hash[..4].copy_from_slice(&n.to_le_bytes());
        let (_, mut seat) = index.enter(&hash, wish(1, 1), &mut gone).unwrap();
        seat.end_commit(Some(4096));
    }
    assert!(gone.len() > 700 && gone[0].0 == [0; 16], "{}", gone.len());
    assert_eq!(index.bytes(), (1000 - gone.len() as u64) * 4096);
    let (_, seat) = index.enter(&[9; 16], wish(1, 1), &mut gone).unwrap();
    seat.remember(Status(502), 5);
    drop(seat);
    assert_eq!(index.enter(&[9; 16], wish(1, 5), &mut gone).unwrap().0, Found::Error(Status(502)));
    assert_eq!(index.enter(&[9; 16], wish(1, 6), &mut gone).unwrap().0, Found::New);
}
