//! Sums over the rows, kept by adding and taking out.

use super::card::{Card, Stands};
use super::look::{Counts, Filter, Today, Totals};
use crate::transfer::WaitReason;

#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) counts: Counts,
    pub(super) totals: Totals,
    pub(super) today: Today,
}

impl Sums {
    /// Adds a row (1), or takes it out again (-1).
    pub(super) fn add(&mut self, card: &Card, sign: i64, midnight: u64) {
        if card.hidden {
            return;
        }
        let Self { counts, totals, today } = self;
        let signed = |number: u64| sign * i64::try_from(number).unwrap_or(i64::MAX);
        counts.all += sign;
        *match card.tab() {
            Filter::Done => &mut counts.done,
            Filter::Attention => &mut counts.attention,
            Filter::Active | Filter::All => &mut counts.active,
        } += sign;
        match card.stands {
            Stands::Running => {
                *if card.wait.is_some() { &mut totals.waiting } else { &mut totals.running } += sign;
                *if card.up { &mut totals.up } else { &mut totals.down } += signed(card.speed);
            }
            Stands::Completed if card.came_since(midnight) => {
                today.files += sign;
                *if card.up { &mut today.up } else { &mut today.down } += signed(card.bytes);
            }
            Stands::Queued => totals.waiting += sign,
            Stands::Paused => totals.paused += sign,
            Stands::Failed | Stands::Completed | Stands::Canceled => {}
        }
        if card.wait == Some(WaitReason::Network) {
            totals.offline += sign;
        }
    }
}
