//! The leaky bucket against times and excesses that were computed from nginx's formula.

use super::*;

/// `10r/s`
const TEN: u64 = 10_000;
/// `30r/m`: nginx's integer division.
const HALF: u64 = 30 * 1000 / 60;

fn bounds(rate: u64, burst: u64) -> Bounds {
    Bounds { rate, burst: burst * 1000 }
}

/// Every row: when the request comes, and the excess that it meets; `Err` where that is more than the burst.
fn replay(rate: u64, burst: u64, rows: &[(u64, Result<u64, u64>)]) {
    let zone = ReqZone::new(32 << 10);
    for (now_ms, expected) in rows {
        let verdict = match zone.ask(b"key", bounds(rate, burst), true, *now_ms) {
            Verdict::Counted(excess) => Ok(excess),
            Verdict::Refused(excess) => Err(excess),
            Verdict::Pinned(_) | Verdict::NoRoom => panic!("it has room and is the last one"),
        };
        assert_eq!(verdict, *expected, "at {now_ms} ms, rate {rate}, burst {burst}");
    }
}

#[test]
fn the_excess_is_nginxs() {
    // excess - rate * ms / 1000 + 1000, each division rounded down, never below 0; a refused request is not counted
    // and does not move the clock.
    replay(TEN, 0, &[(5000, Ok(0)), (5000, Err(1000)), (5050, Err(500)), (5099, Err(10)), (5100, Ok(0))]);
    replay(
        TEN,
        2,
        &[(0, Ok(0)), (0, Ok(1000)), (0, Ok(2000)), (0, Err(3000)), (1, Err(2990)), (100, Ok(2000))],
    );
    replay(TEN, 5, &[(0, Ok(0)), (33, Ok(670)), (66, Ok(1340)), (1000, Ok(0)), (1000, Ok(1000))]);
    // At half a request per second a millisecond leaks half a thousandth: rounded down, it leaks nothing.
    replay(HALF, 1, &[(0, Ok(0)), (1, Ok(1000)), (2, Err(2000)), (3, Err(1999)), (2001, Ok(1000))]);
    replay(1, 3, &[(0, Ok(0)), (999, Ok(1000)), (1998, Ok(2000)), (2998, Ok(2999))]);
    // Two turns that began in the wrong order are at the same time; a clock that went back far counts one millisecond.
    replay(TEN, 2, &[(100_000, Ok(0)), (99_990, Ok(1000)), (100_000, Ok(2000)), (39_000, Err(2990))]);
}

#[test]
fn several_zones_count_only_what_all_let_pass() {
    let (first, last) = (ReqZone::new(32 << 10), ReqZone::new(32 << 10));
    let Verdict::Pinned(pin) = first.ask(b"k", bounds(TEN, 0), false, 10) else { panic!() };
    assert_eq!(last.ask(b"k", bounds(TEN, 0), true, 10), Verdict::Counted(0));
    assert_eq!(first.count(pin, TEN, 10), 0, "one that was never counted is fresh");
    assert_eq!(first.ask(b"k", bounds(TEN, 0), false, 10), Verdict::Refused(1000));
    // Nothing was counted in the first one while the second refused.
    let Verdict::Pinned(pin) = first.ask(b"k", bounds(TEN, 0), false, 110) else { panic!() };
    assert_eq!(last.ask(b"k", bounds(1, 0), true, 110), Verdict::Refused(1000));
    first.release(pin);
    let Verdict::Pinned(pin) = first.ask(b"k", bounds(TEN, 0), false, 111) else { panic!() };
    assert_eq!(first.count(pin, TEN, 111), 0);
    assert_eq!(first.ask(b"k", bounds(TEN, 0), true, 111), Verdict::Refused(1000));
}

#[test]
fn a_full_zone_forgets_the_oldest_that_is_not_pinned() {
    let zone = ReqZone::new(32 << 10);
    let ask = |n: u32, last| zone.ask(&n.to_be_bytes(), bounds(TEN, 0), last, 0);
    const HELD: u32 = 6 * 32 - 1;
    assert!((0..HELD).all(|n| ask(n, true) == Verdict::Counted(0)));
    assert_eq!(ask(0, true), Verdict::Refused(1000), "it was used just now");
    assert_eq!(ask(HELD, true), Verdict::Counted(0), "it takes the place of 1");
    assert_eq!(ask(2, true), Verdict::Refused(1000));
    assert_eq!(ask(1, true), Verdict::Counted(0), "1 was forgotten; it takes the place of 3");
    // With a pinned key at the end, there is no room for others.
    let zone = ReqZone::new(32 << 10);
    let ask = |n: u32, last| zone.ask(&n.to_be_bytes(), bounds(TEN, 0), last, 0);
    let Verdict::Pinned(pin) = ask(0, false) else { panic!() };
    assert!((1..HELD).all(|n| ask(n, true) == Verdict::Counted(0)));
    assert_eq!(ask(HELD, true), Verdict::NoRoom);
    zone.release(pin);
    assert_eq!(ask(HELD, true), Verdict::Counted(0));
}

#[test]
fn what_has_leaked_dry_for_a_minute_is_forgotten_two_at_a_time() {
    let zone = ReqZone::new(32 << 10);
    let held = || zone.shards.iter().map(|shard| shard.lock().len()).sum::<usize>();
    for n in 0..5u8 {
        zone.ask(&[n], bounds(TEN, 0), true, 0);
    }
    zone.ask(b"at 59 s", bounds(TEN, 0), true, 59_999);
    assert_eq!(held(), 6);
    zone.ask(b"at 60 s", bounds(TEN, 0), true, 60_000);
    assert_eq!(held(), 5, "two went, one came");
}
