//! A domain's record is signed in time, kept alive at the holders, and never goes back.

use proptest::prelude::*;

use super::*;

const VALUE: &str = "/hanse/1/e30";
const HOUR: Duration = Duration::from_secs(3600);

fn own(sequence: u64, lifetime: Duration, put_at: Option<UnixMillis>, failed_at: Option<UnixMillis>) -> Own {
    Own {
        record: record(1, VALUE, sequence, lifetime),
        put_at,
        failed_at,
    }
}

fn next(own: &Own, seen: u64) -> Step {
    Schedule::default().next(VALUE, Some(own), seen, NOW)
}

#[test]
fn the_first_record_is_numbered_with_the_time() {
    let step = Schedule::default().next(VALUE, None, 0, NOW);
    let valid_until = NOW.plus(48 * HOUR);
    assert_eq!(
        step,
        Step::Sign {
            sequence: NOW.0,
            valid_until
        }
    );
}

#[test]
fn what_is_signed_is_put_and_put_again() {
    assert_eq!(next(&own(1, 40 * HOUR, None, None), 0), Step::Put);
    let put_at = NOW.minus(HOUR);
    assert_eq!(
        next(&own(1, 40 * HOUR, Some(put_at), None), 0),
        Step::Wait(put_at.plus(4 * HOUR))
    );
    assert_eq!(next(&own(1, 40 * HOUR, Some(NOW.minus(4 * HOUR)), None), 0), Step::Put);
}

#[test]
fn when_nobody_took_it_it_is_tried_again_soon() {
    let failed = NOW.minus(Duration::from_secs(1));
    let retry = failed.plus(Schedule::default().retry_after);
    for put_at in [None, Some(NOW.minus(5 * HOUR))] {
        assert_eq!(next(&own(1, 40 * HOUR, put_at, Some(failed)), 0), Step::Wait(retry));
        assert_eq!(next(&own(1, 40 * HOUR, put_at, Some(NOW.minus(HOUR))), 0), Step::Put);
    }
    // It was taken since.
    let put_at = NOW.minus(Duration::from_millis(500));
    let step = next(&own(1, 40 * HOUR, Some(put_at), Some(failed)), 0);
    assert_eq!(step, Step::Wait(put_at.plus(4 * HOUR)));
}

#[test]
fn a_record_is_renewed_a_day_before_its_end_and_when_it_says_something_else() {
    let valid_until = NOW.plus(48 * HOUR);
    let sign = Step::Sign {
        sequence: NOW.0,
        valid_until,
    };
    assert_eq!(next(&own(1, 23 * HOUR, Some(NOW), None), 0), sign);
    let changed = Schedule::default().next("/hanse/1/e31", Some(&own(1, 40 * HOUR, Some(NOW), None)), 0, NOW);
    assert_eq!(changed, sign);
    let soon = own(1, 25 * HOUR, Some(NOW), None);
    let Step::Wait(until) = next(&soon, 0) else {
        panic!("{:?}", next(&soon, 0))
    };
    let then = Schedule::default().next(VALUE, Some(&soon), 0, until);
    assert!(
        matches!(then, Step::Sign { .. }),
        "the wait ends when there is something to do: {then:?}"
    );
}

#[test]
fn a_lost_folder_and_a_clock_behind_do_not_take_the_number_back() {
    let seen = NOW.0 + 1000;
    let valid_until = NOW.plus(48 * HOUR);
    let sign = Step::Sign {
        sequence: seen + 1,
        valid_until,
    };
    assert_eq!(Schedule::default().next(VALUE, None, seen, NOW), sign);
    assert_eq!(
        next(&own(7, 40 * HOUR, Some(NOW), None), seen),
        sign,
        "an older record of ours is not good enough"
    );
}

#[test]
fn what_was_done_while_the_clock_was_ahead_is_done_again() {
    let ahead = NOW.plus(2 * HOUR);
    assert_eq!(next(&own(1, 40 * HOUR, Some(ahead), None), 0), Step::Put);
    assert_eq!(next(&own(1, 40 * HOUR, None, Some(ahead)), 0), Step::Put);
    assert!(matches!(
        next(&own(1, 100 * HOUR, Some(NOW), None), 0),
        Step::Sign { .. }
    ));
}

/// Carries the steps out as the service does; how often each was needed, and the records that were signed.
fn carry_out(minutes: &[u64], fails: &[bool]) -> (usize, Vec<IpnsRecord>) {
    let schedule = Schedule::default();
    let (mut now, mut own, mut puts, mut signed) = (NOW, None::<Own>, 0, Vec::new());
    for (pause, fail) in minutes.iter().zip(fails) {
        now = now.plus(Duration::from_secs(60 * pause));
        for round in 0.. {
            assert!(round < 4, "the schedule comes to rest");
            match schedule.next(VALUE, own.as_ref(), 0, now) {
                Step::Wait(until) => {
                    assert!(until > now);
                    break;
                }
                Step::Put => {
                    puts += 1;
                    let own = own.as_mut().unwrap();
                    *(if *fail { &mut own.failed_at } else { &mut own.put_at }) = Some(now);
                }
                Step::Sign { sequence, valid_until } => {
                    let record = IpnsRecord::sign(&key(1), VALUE, sequence, valid_until, schedule.ttl).unwrap();
                    signed.push(record.clone());
                    own = Some(Own {
                        record,
                        put_at: None,
                        failed_at: None,
                    });
                }
            }
        }
    }
    (puts, signed)
}

proptest! {
    #[test]
    fn whatever_happens_each_record_is_better_than_the_last(
        minutes in prop::collection::vec(0..3000_u64, 1..40), fails in prop::collection::vec(any::<bool>(), 40),
    ) {
        let (puts, signed) = carry_out(&minutes, &fails);
        prop_assert!(puts >= 1);
        for pair in signed.windows(2) {
            prop_assert!(pair[1].precedence(&pair[0]).is_gt());
        }
    }

    #[test]
    fn the_number_is_one_that_go_members_read(last in any::<u64>(), seen in any::<u64>(), now in any::<u64>()) {
        let own = own(last.min(i64::MAX as u64), HOUR, None, None);
        let step = Schedule::default().next(VALUE, Some(&own), seen, UnixMillis(now));
        if let Step::Sign { sequence, .. } = step {
            prop_assert!(i64::try_from(sequence).is_ok());
        }
    }
}

/// `now` as a clock shows it that is `hours` ahead.
fn shown(now: UnixMillis, hours: i64) -> UnixMillis {
    let by = Duration::from_secs(hours.unsigned_abs() * 3600);
    if hours < 0 { now.minus(by) } else { now.plus(by) }
}

#[test]
fn a_clock_that_is_most_of_a_day_wrong_harms_nobody_and_one_that_is_days_wrong_is_noticed() {
    let (schedule, key) = (Schedule::default(), key(1));
    for skew in [-23, -1, 0, 1, 23] {
        let mut own: Option<Own> = None;
        for step in 0..24 {
            let now = NOW.plus(4 * step * HOUR);
            let theirs = shown(now, skew);
            if let Step::Sign { sequence, valid_until } = schedule.next("/hanse/1/e30", own.as_ref(), 0, theirs) {
                let record = IpnsRecord::sign(&key, "/hanse/1/e30", sequence, valid_until, schedule.ttl).unwrap();
                own = Some(Own {
                    record,
                    put_at: Some(theirs),
                    failed_at: None,
                });
            }
            let bytes = own.as_ref().unwrap().record.bytes();
            IpnsRecord::check(&key.peer_id(), bytes, now).unwrap_or_else(|error| panic!("{skew} h: {error}"));
        }
    }
    let signed = |hours| {
        let Step::Sign { sequence, valid_until } = schedule.next("/hanse/1/e30", None, 0, shown(NOW, hours)) else {
            panic!("there is none yet")
        };
        IpnsRecord::sign(&key, "/hanse/1/e30", sequence, valid_until, schedule.ttl).unwrap()
    };
    let check = |hours| {
        Announcement::check(&key.peer_id(), signed(hours).bytes(), NOW)
            .unwrap_err()
            .to_string()
    };
    assert!(check(-50).contains("ended at"));
    assert!(check(24 * 7).contains("check the clocks"));
}
