//! What a server or a store is like, as plain data: made by chance, printed when it was too much for Ferry, and put back
//! as a test of its own. How it behaves is a function of its plan, the number of the request and the request's head.
//!
//! Only lies that a careful program can see through are told: where nothing on the line differs (one strong entity tag
//! for two contents, a length that is too short), no client can tell the right file from a wrong one.

/// A server that gives one file.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerPlan {
    /// What the name says about the content.
    pub kind: FileKind,
    /// Bytes of the first version.
    pub size: u32,
    /// By how much each version is longer than the one before.
    pub growth: u32,
    /// When the file becomes another.
    pub change: Change,
    pub tag: Tag,
    pub date: Dated,
    pub ranges: Ranges,
    pub framing: Framing,
    pub coding: Coding,
    pub digests: Vec<Digest>,
    pub hops: Hops,
    /// Redirects to itself until its cookie comes back.
    pub wants_cookie: bool,
    /// So many answers at a time.
    pub ceiling: Option<u8>,
    /// Each connection is slow, the first one most, so that several are worth while.
    pub throttled: bool,
    /// What goes wrong with the nth request for the file.
    pub faults: Vec<Fault>,
    /// The last of the faults for ever.
    pub for_ever: bool,
    pub meddling: Vec<Meddle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `.bin`, octets.
    Plain,
    /// `.bin`, without a content type.
    Untyped,
    /// `.txt`.
    Text,
    /// `.tar.gz`: packed already.
    Packed,
    /// `.bin`, as an attachment.
    Attachment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Never,
    /// Once, with this request.
    At(u8),
    /// With each request.
    Always,
    /// Two versions take turns, as behind a balancer during a rollout.
    Turns,
}

/// The entity tag. A strong one differs wherever the bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    None,
    Strong,
    /// One for all versions: it promises the meaning, not the bytes.
    Weak,
    /// Not an entity tag by its form.
    Unquoted,
    /// Strong, and the same number at every place: each has counted its own versions.
    Counter,
    /// Strong, made of date and size as nginx does it: two places share it.
    OfDate,
    /// A name as long as a hash, which stays while the date moves on.
    Constant,
    /// Only the first answer has it.
    FirstOnly,
    /// A 206 lacks it.
    NotInParts,
}

/// `Last-Modified` and `Date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    None,
    /// Of another day for each version.
    Old,
    /// Of this second, for all versions.
    Fresh,
    /// Half a minute old, for all versions: the clocks of two machines may differ by that (RFC 9110 §8.8.2.2).
    Young,
    /// Old, and the same for all versions, as where every file is given one date.
    Shared,
    /// Old, in an answer without a date of its own.
    WithoutDate,
    FirstOnly,
    NotInParts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    /// `Accept-Ranges: bytes` in every answer.
    pub told: bool,
    pub honour: Honour,
    /// At most so many bytes in a part, told as it is.
    pub cap: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Honour {
    /// Everything, whatever is asked for.
    Never,
    /// The part of whatever the file is now: `If-Range` is not looked at.
    Blindly,
    /// As RFC 9110 says.
    IfRange,
    /// `If-Range` is understood where it is a date.
    OnlyDates,
    /// `If-Range` is never fulfilled.
    OnlyPlain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    /// Until the connection closes.
    Close,
    /// Chunked, beside a length that is another.
    ChunkedAndLength(u32),
    /// Two lengths that differ.
    TwoLengths,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    None,
    Identity,
    /// `Content-Encoding:` with nothing behind it.
    Empty,
    /// What a store kept of the way in which it was uploaded.
    AwsChunked,
    /// Really compressed.
    Gzip,
    XGzip,
    Deflate,
    /// Said, and not done.
    GzipLie,
    BrLie,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    pub header: DigestHeader,
    pub truth: Truth,
    pub when: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestHeader {
    ContentMd5,
    ContentSha256,
    ReprSha256,
    ReprSha512,
    LegacySha256,
    LegacyMd5,
    GoogCrc32c,
    GoogMd5,
    AmzCrc32,
    AmzCrc32c,
    AmzCrc64,
    AmzSha1,
    AmzSha256,
    AzureMd5,
    LinkedSha256,
}

impl DigestHeader {
    /// Of an answer with the object, in S3's own words.
    pub fn is_amazons(self) -> bool {
        matches!(self, Self::AmzCrc32 | Self::AmzCrc32c | Self::AmzCrc64 | Self::AmzSha1 | Self::AmzSha256)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    Right,
    Wrong,
    /// Right for the next version.
    OfNext,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    FirstOnly,
    LaterOnly,
    /// Behind the last chunk.
    Trailer,
    /// In the redirect that leads to the file.
    OnTheWay,
}

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    None,
    /// The link leads to another place of the same server.
    Redirect(u16),
    /// The link leads to the newest version, at a place that only its query tells from that of the one before, which is gone.
    Numbered,
    /// The link leads to one of these many mirrors in turn.
    Mirrors {
        count: u8,
        /// Whether all give the same entity tag for the same bytes.
        share_tags: bool,
        /// Whether the second has another version than the first.
        differ: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection ends after so many bytes of the body.
    Cut {
        after: u32,
        how: Cut,
    },
    /// The length that is told is larger than what comes.
    TooShort {
        missing: u64,
    },
    /// Nothing more after the head and so many bytes; `None`: not even a head.
    Silence {
        after: Option<u32>,
    },
    /// The length that is told is smaller than the file is, and the connection ends before so much has come: it shows when
    /// a later answer brings more than was promised.
    Less {
        by: u32,
        after: u32,
    },
    /// Something that is not the file.
    Instead(Instead),
    /// A part that is not what was asked for. For a request without a range: nothing wrong.
    Part(PartFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In order; where the length is told by nothing else, it is a reset all the same.
    Fin,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// Still being made.
    Accepted {
        wait: Pause,
        body: Body,
    },
    NoContent,
    ResetContent,
    NotModified,
    Status {
        code: u16,
        wait: Pause,
        body: Body,
    },
    /// 416 in one of its spellings.
    Unsatisfied(Unsatisfied),
    /// A half, under 206, of what was not asked for in parts.
    UnaskedPart(Unasked),
    /// A redirect that says no place.
    Nowhere,
    /// A redirect to itself.
    Loop,
    /// What a network shows to those who have not signed in.
    Page,
    /// An error under 200.
    Envelope,
    NotHttp,
    NoAnswer,
    HugeHead,
    /// A 200 of which the head comes, and the rest of the connection not.
    HeadOnly,
}

/// What a part that nobody asked for says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// That it is the first half of so many bytes.
    First,
    /// That it is the second.
    Second,
    /// That it is the first half of nobody knows how many.
    UnknownTotal,
    /// Nothing.
    NoContentRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsatisfied {
    Total,
    /// Without the unit (Starlette).
    Bare,
    Untold,
    WrongTotal,
}

/// `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    None,
    Zero,
    One,
    Long,
    PastDate,
    Nonsense,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Empty,
    Text,
    Json,
    Xml,
    Html,
    /// Text, as long as it is listened to.
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartFault {
    /// Begins so many bytes later than asked for, and says so.
    Later(u32),
    /// From the first byte on, and says so.
    FromStart,
    /// The size of the whole is another than it was.
    OtherTotal(u32),
    /// More bytes than the range that it names.
    Surplus(u32),
    /// Fewer bytes than the range that it names.
    Missing(u32),
    Multipart,
    NoContentRange,
    UnknownTotal,
    OtherUnit,
}

/// What the user, or the world around Ferry, does once so many bytes of a case have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meddle {
    pub after: u32,
    pub what: Meddling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// Paused and resumed.
    Pause,
    /// Ferry is quit and started again.
    Restart,
    /// Ferry ends without having been asked to.
    Kill,
}

impl ServerPlan {
    /// A good server, which named cases begin from.
    pub fn good(size: u32) -> Self {
        Self {
            kind: FileKind::Plain,
            size,
            growth: 0,
            change: Change::Never,
            tag: Tag::Strong,
            date: Dated::Old,
            ranges: Ranges { told: true, honour: Honour::IfRange, cap: None },
            framing: Framing::Length,
            coding: Coding::None,
            digests: Vec::new(),
            hops: Hops::None,
            wants_cookie: false,
            ceiling: None,
            throttled: false,
            faults: Vec::new(),
            for_ever: false,
            meddling: Vec::new(),
        }
    }

    /// The plan as it is written down in a test: what is as in a good one is left out.
    pub fn written(&self) -> String {
        let good = Self::good(self.size);
        let mut differs = Vec::new();
        macro_rules! note {
            ($($field:ident),*) => {$(
                if self.$field != good.$field {
                    differs.push(format!("{}: {:?}", stringify!($field), self.$field));
                }
            )*};
        }
        note!(
            kind,
            growth,
            change,
            tag,
            date,
            ranges,
            framing,
            coding,
            digests,
            hops,
            wants_cookie,
            ceiling,
            throttled
        );
        note!(faults, for_ever, meddling);
        format!("ServerPlan {{ {}, ..ServerPlan::good({}) }}", differs.join(", "), self.size)
    }

    /// Plans in which one thing is as in a good one, or smaller.
    pub fn simpler(&self) -> Vec<Self> {
        let good = Self::good(self.size);
        let mut plans = Vec::new();
        macro_rules! take {
            ($($field:ident),*) => {$(
                if self.$field != good.$field {
                    plans.push(Self { $field: good.$field.clone(), ..self.clone() });
                }
            )*};
        }
        take!(meddling, faults, digests, hops, coding, framing, kind, change, growth, ranges, tag, date);
        take!(wants_cookie, ceiling, throttled, for_ever);
        plans.extend(without_one(&self.faults).map(|faults| Self { faults, ..self.clone() }));
        plans.extend(without_one(&self.meddling).map(|meddling| Self { meddling, ..self.clone() }));
        plans.extend(without_one(&self.digests).map(|digests| Self { digests, ..self.clone() }));
        for at in 0..self.faults.len() {
            let smaller = match self.faults[at] {
                Fault::None => continue,
                Fault::Cut { after, how } if after > 3 => Fault::Cut { after: after / 2, how },
                _ => Fault::None,
            };
            let mut faults = self.faults.clone();
            faults[at] = smaller;
            plans.push(Self { faults, ..self.clone() });
        }
        plans.extend(smaller(self.size).map(|size| Self { size, ..self.clone() }));
        plans
    }

    /// What goes wrong with the nth request for the file.
    pub fn fault(&self, number: usize) -> Fault {
        if let Some(fault) = self.faults.get(number) {
            return *fault;
        }
        // What comes in crumbs would come to its end after everybody's patience.
        let crumb = |after: u32| if after == 0 { 0 } else { after.max(self.size / 10) };
        match self.faults.last().filter(|_| self.for_ever) {
            Some(Fault::Cut { after, how }) => Fault::Cut { after: crumb(*after), how: *how },
            Some(Fault::Silence { after: Some(after) }) => Fault::Silence { after: Some(crumb(*after)) },
            Some(fault) => *fault,
            None => Fault::None,
        }
    }

    /// Whether a patient program gets the file in the end: one that does not take a part for the whole or a refusal for
    /// the last word where it is none, and begins anew where nothing else helps.
    pub fn can_be_served(&self) -> bool {
        let lies = |digest: &Digest| digest.truth != Truth::Right && digest.when != When::FirstOnly;
        let compressed = matches!(self.coding, Coding::Gzip | Coding::XGzip | Coding::Deflate);
        let packed = self.kind == FileKind::Packed && self.coding != Coding::Deflate;
        !(self.for_ever && self.faults.iter().any(|fault| *fault != Fault::None))
            && self.faults.iter().all(|fault| fault.passes())
            && self.framing != Framing::TwoLengths
            && (!compressed || packed)
            && !matches!(self.coding, Coding::GzipLie | Coding::BrLie)
            && !self.digests.iter().any(lies)
    }
}

impl Fault {
    /// Whether it says nothing about the next request.
    fn passes(self) -> bool {
        match self {
            // Answers that fit no request without conditions may be taken for the last word.
            Self::Instead(instead) => match instead {
                Instead::Accepted { .. } | Instead::NoAnswer | Instead::HeadOnly => true,
                Instead::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500 | 502..=504),
                _ => false,
            },
            _ => true,
        }
    }
}

/// A place that takes one file.
#[derive(Debug, Clone, PartialEq)]
pub struct StorePlan {
    pub size: u32,
    /// What the signed URL looks like, and so how the bytes come.
    pub way: Way,
    /// The service in front of it; `None`: the user has the URL, and Ferry goes there at once.
    pub service: Option<ServicePlan>,
    /// What it says when it has everything.
    pub word: LastWord,
    /// What it makes of the bytes, where it says enough for that to be seen.
    pub damage: Damage,
    /// What goes wrong with the nth request.
    pub faults: Vec<StoreFault>,
    pub for_ever: bool,
    pub meddling: Vec<Meddle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    GooglePut,
    GoogleResumable,
    AmazonPut,
    AzurePut,
    /// A bare token: the form of the service's own sample.
    Form,
    /// The service gives fields for a form.
    PolicyForm,
    /// The URL is a session already.
    Session,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePlan {
    /// So often it says that it is waiting.
    pub waits: u8,
    pub end: ServiceEnd,
    pub size: SizeTold,
    /// So often it refuses to sign.
    pub refusals: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceEnd {
    Success,
    Failed,
    /// Waits for ever.
    Never,
    /// Its own trouble for ever.
    Trouble,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeTold {
    Right,
    AsText,
    Missing,
    Wrong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWord {
    pub status: u16,
    pub digests: Vec<StoreDigest>,
    /// `x-goog-stored-content-length`.
    pub length: LengthTold,
    pub envelope: Envelope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreDigest {
    pub header: StoreHeader,
    pub right: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreHeader {
    GoogCrc32c,
    GoogMd5,
    /// In the entity tag. It is an MD5 at some stores, and only looks like one at others.
    EtagMd5,
    ContentMd5,
    AmzCrc32,
    AmzCrc32c,
    AmzCrc64,
    AmzSha1,
    AmzSha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthTold {
    Not,
    Right,
    Wrong,
}

/// What stands in the body of the last word. In the last three nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    None,
    Fine,
    NoSuccess,
    Failed,
    Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    None,
    /// One byte is another.
    Flip,
    /// The end is missing.
    Short(u32),
    /// What surrounds the file in a form is kept with it.
    Envelope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    None,
    /// The connection breaks after so many bytes of the body; a session keeps them.
    Cut {
        after: u32,
    },
    /// Everything is kept, and the answer never comes.
    LostAnswer,
    /// An answer before the body has come, then the connection closes.
    Early {
        after: u32,
        status: u16,
    },
    Status {
        code: u16,
        says: Says,
        wait: Pause,
    },
    Silence {
        after: u32,
    },
    /// A session keeps no more than this of what came.
    Keep {
        bytes: u32,
    },
    /// A session that nobody knows any more.
    Gone {
        status: u16,
    },
    /// How far a session is, in a spelling of its own.
    OddRange(OddRange),
    /// A session says that it has everything, after the first of several chunks.
    FalseEnd,
    NoAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OddRange {
    NoUnit,
    NotFromZero,
    BeyondTotal,
    Nonsense,
    Absent,
}

/// The body of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Nothing,
    SignatureDoesNotMatch,
    InvalidPolicyDocument,
    ExpiredToken,
    RequestTimeout,
    EntityTooLarge,
    SlowDown,
    Json,
    /// Text, as long as it is listened to.
    Endless,
}

/// Below this a program may have handed all bytes on before an early answer reaches it, and then cannot know.
pub const EARLY_IS_SEEN_FROM: u32 = 8 << 20;

impl StorePlan {
    /// A good store, which named cases begin from.
    pub fn good(size: u32, way: Way) -> Self {
        let service = ServicePlan { waits: 0, end: ServiceEnd::Success, size: SizeTold::Right, refusals: 0 };
        let word =
            LastWord { status: 200, digests: Vec::new(), length: LengthTold::Not, envelope: Envelope::None };
        Self {
            size,
            way,
            service: Some(service),
            word,
            damage: Damage::None,
            faults: Vec::new(),
            for_ever: false,
            meddling: Vec::new(),
        }
    }

    /// The plan as it is written down in a test: what is as in a good one is left out.
    pub fn written(&self) -> String {
        let good = Self::good(self.size, self.way);
        let mut differs = Vec::new();
        macro_rules! note {
            ($($field:ident),*) => {$(
                if self.$field != good.$field {
                    differs.push(format!("{}: {:?}", stringify!($field), self.$field));
                }
            )*};
        }
        note!(service, word, damage, faults, for_ever, meddling);
        format!(
            "StorePlan {{ {}, ..StorePlan::good({}, Way::{:?}) }}",
            differs.join(", "),
            self.size,
            self.way
        )
    }

    /// Plans in which one thing is as in a good one, or smaller.
    pub fn simpler(&self) -> Vec<Self> {
        let good = Self::good(self.size, self.way);
        let mut plans = Vec::new();
        macro_rules! take {
            ($($field:ident),*) => {$(
                if self.$field != good.$field {
                    plans.push(Self { $field: good.$field.clone(), ..self.clone() });
                }
            )*};
        }
        take!(meddling, faults, damage, word, service, for_ever);
        plans.extend(without_one(&self.faults).map(|faults| Self { faults, ..self.clone() }));
        plans.extend(without_one(&self.meddling).map(|meddling| Self { meddling, ..self.clone() }));
        for digests in without_one(&self.word.digests) {
            plans.push(Self { word: LastWord { digests, ..self.word.clone() }, ..self.clone() });
        }
        for at in (0..self.faults.len()).filter(|at| self.faults[*at] != StoreFault::None) {
            let mut faults = self.faults.clone();
            faults[at] = StoreFault::None;
            plans.push(Self { faults, ..self.clone() });
        }
        plans.extend(smaller(self.size).map(|size| Self { size, ..self.clone() }));
        plans
    }

    /// What goes wrong with the nth request.
    pub fn fault(&self, number: usize) -> StoreFault {
        // What is kept in crumbs would come to its end after everybody's patience.
        let crumb = |bytes: u32| if bytes == 0 { 0 } else { bytes.max(self.size / 10) };
        let last = self.faults.last().filter(|_| self.for_ever).map(|fault| match fault {
            StoreFault::Cut { after } => StoreFault::Cut { after: crumb(*after) },
            StoreFault::Keep { bytes } => StoreFault::Keep { bytes: crumb(*bytes) },
            StoreFault::Silence { after } => StoreFault::Silence { after: crumb(*after) },
            fault => *fault,
        });
        let fault = self.faults.get(number).copied().or(last).unwrap_or(StoreFault::None);
        match fault {
            StoreFault::Early { status: 200..300, .. } if self.size < EARLY_IS_SEEN_FROM => StoreFault::None,
            fault => fault,
        }
    }

    /// The damage, if something that is said shows it.
    pub fn seen_damage(&self) -> Damage {
        let told = self.service.is_some_and(|service| {
            service.end == ServiceEnd::Success && matches!(service.size, SizeTold::Right | SizeTold::AsText)
        });
        match self.damage {
            Damage::Flip if self.names_digest() && self.size > 0 => Damage::Flip,
            Damage::Short(by) if (self.names_length() || told) && by <= self.size && by > 0 => {
                Damage::Short(by)
            }
            Damage::Envelope if self.names_length() || told => Damage::Envelope,
            _ => Damage::None,
        }
    }

    /// Whether a digest under this name is the file's. In a session one of a message is of the answer, or of a chunk.
    pub fn is_of_the_file(&self, header: StoreHeader) -> bool {
        match header {
            StoreHeader::EtagMd5 => false,
            StoreHeader::ContentMd5 => !matches!(self.way, Way::GoogleResumable | Way::Session),
            _ => true,
        }
    }

    /// Whether the store's own word shows every byte of what it keeps.
    pub fn names_digest(&self) -> bool {
        self.word.digests.iter().any(|digest| digest.right && self.is_of_the_file(digest.header))
    }

    /// Whether the store's own word shows how much it keeps.
    pub fn names_length(&self) -> bool {
        self.names_digest() || self.word.length == LengthTold::Right
    }

    /// Whether a patient program gets the file there in the end.
    pub fn can_be_served(&self) -> bool {
        self.seen_damage() == Damage::None
            && !(self.for_ever && self.faults.iter().any(|fault| *fault != StoreFault::None))
            && self.word.digests.iter().all(|digest| digest.right)
            && self.word.length != LengthTold::Wrong
            && matches!(self.word.envelope, Envelope::None | Envelope::Fine)
            && self
                .service
                .is_none_or(|service| service.end == ServiceEnd::Success && service.size != SizeTold::Wrong)
            && self.faults.iter().all(|fault| match fault {
                StoreFault::Status { code, says, .. } => {
                    matches!(code, 408 | 429 | 500 | 502..=504)
                        && matches!(says, Says::Nothing | Says::RequestTimeout | Says::SlowDown | Says::Json)
                }
                StoreFault::Early { status, .. } => *status >= 500,
                // Elsewhere than in a session this is a refusal.
                StoreFault::Gone { .. } => false,
                _ => true,
            })
    }
}

// ---- made smaller ----

/// The list without its first, without its second …
fn without_one<T: Clone>(list: &[T]) -> impl Iterator<Item = Vec<T>> + use<'_, T> {
    // The list without its only one is tried by itself.
    (0..list.len()).filter(|_| list.len() > 1).map(|gone| {
        let kept = list.iter().enumerate().filter(|(at, _)| *at != gone);
        kept.map(|(_, one)| one.clone()).collect()
    })
}

/// Sizes below this one.
fn smaller(size: u32) -> impl Iterator<Item = u32> {
    [1_000, size / 2].into_iter().filter(move |smaller| *smaller < size && size > 1_000)
}
