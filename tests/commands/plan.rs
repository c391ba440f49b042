//! A plan: what is asked of Ferry, in which order, and what becomes of each transfer's work meanwhile.

use ferry_engine::Cause;

use super::chance::Chance;

/// Transfers are named by the number that they were added with.
pub type Number = u32;

/// No more are on the list of one plan.
const MOST_TRANSFERS: u32 = 14;

/// What an attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// After so many milliseconds of Ferry's own time.
    pub after: u32,
    /// When it is to stop, it comes back after so many turns of the others.
    pub deaf: u8,
    /// And then it has done all the same what it was about to do.
    pub stubborn: bool,
    /// What goes wrong; nothing if nothing does.
    pub fails: Option<Cause>,
}

/// A transfer of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// By a link of which the list may only show a part.
    Link,
    /// The same, with a header that has to go along.
    LinkWithHeader,
    /// By a link that may be shown.
    OpenLink,
    OpenLinkWithHeader,
    /// By its id at MAVI.
    Asset,
    /// By its id at the service that is the default one.
    AssetOfDefault,
    /// A file to MAVI.
    File,
    /// A file to a signed URL.
    FileToUrl,
    FileToUrlWithHeader,
}

/// What is asked of Ferry, or let happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Add {
        number: Number,
        what: What,
        is_long: bool,
        tries: Vec<Try>,
    },
    Pause(Vec<Number>),
    Cancel(Vec<Number>),
    Resume(Vec<Number>),
    Retry(Vec<Number>),
    Remove(Vec<Number>),
    /// An undo of what was added.
    TakeBack(Vec<Number>),
    /// Removed in the window, for as long as that can be undone.
    Hide(Vec<Number>),
    Unhide(Vec<Number>),
    RemoveHidden,
    Reorder(Vec<Number>, Option<Number>),
    SetUploads(u8),
    SetDownloads(u8),
    SetRetries(u32),
    SetDefault(&'static str),
    SetKey,
    RemoveKey,
    /// The computer's clock is set by so many milliseconds.
    Clock(i64),
    /// All others have so many turns.
    Turns(u8),
    /// So many milliseconds pass.
    Time(u32),
    /// Every command is answered.
    Answered,
    /// And all work is over, or says what it waits for.
    Rest,
    /// Ferry is quit, and started again.
    Quit,
    /// Ferry is killed, and started again.
    Kill,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Decides how many turns of others each write waits for; 0: none.
    pub disk: u64,
    pub steps: Vec<Step>,
}

const CAUSES: [Cause; 8] = [
    Cause::Unauthorized,
    Cause::QuotaExceeded,
    Cause::ServerTrouble,
    Cause::ServerTrouble,
    Cause::RateLimited,
    Cause::NotFound,
    Cause::CutShort,
    Cause::DiskFull,
];

impl Try {
    pub fn by(chance: &mut Chance) -> Self {
        Self {
            after: [0, 0, 1, 30, 700, 4_000][chance.below(6) as usize],
            deaf: if chance.one_in(3) { chance.below(12) as u8 } else { 0 },
            stubborn: chance.one_in(5),
            fails: chance.one_in(3).then(|| CAUSES[chance.below(CAUSES.len() as u64) as usize]),
        }
    }
}

impl What {
    pub fn is_upload(self) -> bool {
        matches!(self, Self::File | Self::FileToUrl | Self::FileToUrlWithHeader)
    }

    pub fn has_header(self) -> bool {
        matches!(self, Self::LinkWithHeader | Self::OpenLinkWithHeader | Self::FileToUrlWithHeader)
    }

    /// Whether it goes to a service with an account: what fails for that goes on once it is seen to.
    pub fn has_account(self) -> bool {
        matches!(self, Self::Asset | Self::AssetOfDefault | Self::File)
    }

    pub fn by(chance: &mut Chance) -> Self {
        [
            Self::Link,
            Self::Link,
            Self::LinkWithHeader,
            Self::OpenLink,
            Self::OpenLinkWithHeader,
            Self::Asset,
            Self::AssetOfDefault,
            Self::File,
            Self::FileToUrl,
            Self::FileToUrlWithHeader,
        ][chance.below(10) as usize]
    }
}

impl Step {
    /// A command, a change of the settings or of a key, by chance; `known` were added before.
    pub fn command(chance: &mut Chance, known: &[Number]) -> Self {
        let wanted = match chance.below(6) {
            // "All of them".
            0 => known.len(),
            1 => 1 + chance.below(6) as usize,
            _ => 1 + chance.below(2) as usize,
        };
        let some = chance.some(known.to_vec(), wanted);
        match chance.below(40) {
            0..=6 => Self::Resume(some),
            7..=12 => Self::Pause(some),
            13..=17 => Self::Cancel(some),
            18..=20 => Self::Retry(some),
            21..=23 => Self::Remove(some),
            24..=25 => Self::TakeBack(some),
            26..=27 => Self::Hide(some),
            28 => Self::Unhide(some),
            29 => Self::RemoveHidden,
            30..=33 => {
                Self::Reorder(some, chance.some(known.to_vec(), 1).pop().filter(|_| !chance.one_in(3)))
            }
            34 => Self::SetUploads(1 + chance.below(4) as u8),
            35 => Self::SetDownloads(1 + chance.below(4) as u8),
            36 => Self::SetRetries(chance.below(4) as u32),
            37 => Self::SetDefault(["mavi", "visual-search"][chance.below(2) as usize]),
            38 => Self::SetKey,
            _ => Self::RemoveKey,
        }
    }
}

impl Plan {
    /// A plan by chance, of so many steps.
    pub fn by(chance: &mut Chance, length: usize) -> Self {
        let disk = if chance.one_in(4) { 0 } else { 1 + chance.below(1 << 20) };
        let mut known = Vec::new();
        let mut steps = Vec::with_capacity(length);
        while steps.len() < length {
            let is_full = known.len() as u32 >= MOST_TRANSFERS;
            steps.push(match chance.below(40) {
                0..=5 if !is_full => {
                    let number = known.len() as u32 + 1;
                    known.push(number);
                    let tries = chance.below(4);
                    let tries = (0..tries).map(|_| Try::by(chance)).collect();
                    Step::Add { number, what: What::by(chance), is_long: chance.one_in(3), tries }
                }
                6..=14 => Step::Turns(1 + chance.below(9) as u8),
                15..=16 => Step::Time([1, 40, 600, 5_000][chance.below(4) as usize]),
                17 => Step::Answered,
                18 if chance.one_in(3) => Step::Rest,
                19 if chance.one_in(5) => Step::Quit,
                19 if chance.one_in(3) => Step::Kill,
                20 if chance.one_in(4) => Step::Clock(chance.below(200_000) as i64 - 100_000),
                _ => Step::command(chance, &known),
            });
        }
        Self { disk, steps }
    }

    /// As it is written down in a test.
    pub fn written(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|step| format!("    {step:?},\n")).collect();
        let text = format!("Plan {{ disk: {}, steps: vec![\n{}] }}", self.disk, steps.concat());
        text.replace("([", "(vec![").replace(": [", ": vec![")
    }

    /// The smallest plan with which it is still so, as far as `tries` last.
    pub fn shrunk(&self, mut tries: usize, mut is_so: impl FnMut(&Self) -> bool) -> Self {
        let mut best = self.clone();
        let mut try_one = |best: &mut Self, plan: Self| {
            if tries == 0 || plan == *best {
                return false;
            }
            tries -= 1;
            let better = is_so(&plan);
            if better {
                *best = plan;
            }
            better
        };
        try_one(&mut best, Self { disk: 0, ..self.clone() });
        loop {
            let before = best.clone();
            let mut size = best.steps.len().div_ceil(2);
            while size > 0 {
                let mut at = 0;
                while at < best.steps.len() {
                    let mut steps = best.steps.clone();
                    steps.drain(at..(at + size).min(best.steps.len()));
                    let plan = Self { disk: best.disk, steps };
                    if !try_one(&mut best, plan) {
                        at += size;
                    }
                }
                size /= 2;
            }
            for at in 0..best.steps.len() {
                for step in best.steps[at].simpler() {
                    let mut steps = best.steps.clone();
                    steps[at] = step;
                    let plan = Self { disk: best.disk, steps };
                    try_one(&mut best, plan);
                }
            }
            if best == before {
                return best;
            }
        }
    }
}

impl Step {
    /// The transfers that it is for.
    pub fn numbers(&self) -> &[Number] {
        match self {
            Self::Pause(numbers)
            | Self::Cancel(numbers)
            | Self::Resume(numbers)
            | Self::Retry(numbers)
            | Self::Remove(numbers)
            | Self::TakeBack(numbers)
            | Self::Hide(numbers)
            | Self::Unhide(numbers)
            | Self::Reorder(numbers, _) => numbers,
            _ => &[],
        }
    }

    /// Steps in which one thing is smaller.
    fn simpler(&self) -> Vec<Self> {
        let fewer = |numbers: &[Number], step: fn(Vec<Number>) -> Self| {
            let without = |at: usize| {
                let mut numbers = numbers.to_vec();
                numbers.remove(at);
                step(numbers)
            };
            if numbers.len() > 1 { (0..numbers.len()).map(without).collect() } else { Vec::new() }
        };
        match self {
            Self::Add { number, what, is_long, tries } => {
                let add = |what: What, is_long: bool, tries: Vec<Try>| Self::Add {
                    number: *number,
                    what,
                    is_long,
                    tries,
                };
                let mut simpler = vec![add(*what, false, tries.clone()), add(*what, *is_long, Vec::new())];
                simpler.push(add(What::OpenLink, *is_long, tries.clone()));
                for at in 0..tries.len() {
                    let with = |change: fn(&mut Try)| {
                        let mut tries = tries.clone();
                        change(&mut tries[at]);
                        add(*what, *is_long, tries)
                    };
                    simpler.push(add(*what, *is_long, tries[..at].to_vec()));
                    simpler.push(with(|one| one.deaf = 0));
                    simpler.push(with(|one| one.stubborn = false));
                    simpler.push(with(|one| one.fails = None));
                    simpler.push(with(|one| one.after = 0));
                }
                simpler
            }
            Self::Pause(numbers) => fewer(numbers, Self::Pause),
            Self::Cancel(numbers) => fewer(numbers, Self::Cancel),
            Self::Resume(numbers) => fewer(numbers, Self::Resume),
            Self::Retry(numbers) => fewer(numbers, Self::Retry),
            Self::Remove(numbers) => fewer(numbers, Self::Remove),
            Self::TakeBack(numbers) => fewer(numbers, Self::TakeBack),
            Self::Hide(numbers) => fewer(numbers, Self::Hide),
            Self::Turns(turns) if *turns > 1 => vec![Self::Turns(1), Self::Turns(turns / 2)],
            Self::Rest => vec![Self::Answered],
            Self::Answered => vec![Self::Turns(4)],
            _ => Vec::new(),
        }
    }
}
