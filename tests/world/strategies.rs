//! Servers and stores by chance. The first of several alternatives is the good one.

use proptest::prelude::*;
use proptest::sample::select;

use super::plan::{
    Body, Change, Coding, Cut, Damage, Dated, Digest, DigestHeader, EARLY_IS_SEEN_FROM, Envelope, Fault,
    FileKind, Framing, Honour, Hops, Instead, LastWord, LengthTold, Meddle, Meddling, OddRange, PartFault,
    Pause, Ranges, Says, ServerPlan, ServiceEnd, ServicePlan, SizeTold, StoreDigest, StoreFault, StoreHeader,
    StorePlan, Tag, Truth, Unasked, Unsatisfied, Way, When,
};

fn size() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => 0..3_u32,
        10 => 3..2_000_u32,
        4 => 60_000..70_000_u32,
        4 => 131_070..131_075_u32,
        6 => 100_000..300_000_u32,
        1 => 524_000..1_300_000_u32,
    ]
}

/// A place in a body: near its begin, or anywhere.
fn place() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 2 => 1..4_u32, 4 => 1..2_000_u32, 6 => 1..300_000_u32, 1 => 1..6_000_000_u32]
}

fn wait() -> impl Strategy<Value = Pause> {
    prop_oneof![
        6 => Just(Pause::None),
        1 => Just(Pause::Zero),
        2 => Just(Pause::One),
        1 => Just(Pause::Long),
        1 => Just(Pause::PastDate),
        1 => Just(Pause::Nonsense),
    ]
}

fn text() -> impl Strategy<Value = Body> {
    prop_oneof![
        3 => Just(Body::Empty),
        3 => Just(Body::Text),
        3 => Just(Body::Json),
        2 => Just(Body::Xml),
        2 => Just(Body::Html),
        1 => Just(Body::Endless),
    ]
}

fn meddling() -> impl Strategy<Value = Vec<Meddle>> {
    let what = prop_oneof![
        6 => Just(Meddling::Pause),
        1 => Just(Meddling::Restart),
        1 => Just(Meddling::Kill),
    ];
    let one = (place(), what).prop_map(|(after, what)| Meddle { after, what });
    prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(one, 1..3)]
}

fn instead() -> impl Strategy<Value = Instead> {
    let codes = select(vec![
        400_u16, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413, 418, 421, 425, 429, 429, 429, 451, 500,
        500, 501, 502, 503, 503, 503, 504, 507, 511, 520, 529, 599, 300, 305, 306, 310, 600, 999, 101,
    ]);
    let unsatisfied =
        select(vec![Unsatisfied::Total, Unsatisfied::Bare, Unsatisfied::Untold, Unsatisfied::WrongTotal]);
    let unasked =
        select(vec![Unasked::First, Unasked::Second, Unasked::UnknownTotal, Unasked::NoContentRange]);
    prop_oneof![
        3 => (wait(), text()).prop_map(|(wait, body)| Instead::Accepted { wait, body }),
        1 => Just(Instead::NoContent),
        1 => Just(Instead::ResetContent),
        2 => Just(Instead::NotModified),
        10 => (codes, wait(), text()).prop_map(|(code, wait, body)| Instead::Status { code, wait, body }),
        2 => unsatisfied.prop_map(Instead::Unsatisfied),
        1 => unasked.prop_map(Instead::UnaskedPart),
        1 => Just(Instead::Nowhere),
        1 => Just(Instead::Loop),
        1 => Just(Instead::Page),
        1 => Just(Instead::Envelope),
        1 => Just(Instead::NotHttp),
        1 => Just(Instead::NoAnswer),
        1 => Just(Instead::HugeHead),
        1 => Just(Instead::HeadOnly),
    ]
}

fn part_fault() -> impl Strategy<Value = PartFault> {
    prop_oneof![
        (1..5_000_u32).prop_map(PartFault::Later),
        Just(PartFault::FromStart),
        (1..5_000_u32).prop_map(PartFault::OtherTotal),
        (1..5_000_u32).prop_map(PartFault::Surplus),
        (1..5_000_u32).prop_map(PartFault::Missing),
        Just(PartFault::Multipart),
        Just(PartFault::NoContentRange),
        Just(PartFault::UnknownTotal),
        Just(PartFault::OtherUnit),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let cut = prop_oneof![2 => Just(Cut::Fin), 1 => Just(Cut::Reset)];
    // Lengths that no disk holds, too: what is only said must cost no memory.
    let missing = prop_oneof![3 => 1..5_000_u64, 1 => select(vec![1_u64 << 50, 1 << 62, u64::MAX >> 1])];
    prop_oneof![
        2 => Just(Fault::None),
        8 => (place(), cut).prop_map(|(after, how)| Fault::Cut { after, how }),
        1 => missing.prop_map(|missing| Fault::TooShort { missing }),
        1 => (1..5_000_u32, place()).prop_map(|(by, after)| Fault::Less { by, after }),
        // Each costs the stall limit.
        1 => prop_oneof![Just(None), place().prop_map(Some)].prop_map(|after| Fault::Silence { after }),
        5 => instead().prop_map(Fault::Instead),
        4 => part_fault().prop_map(Fault::Part),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    let header = select(vec![
        DigestHeader::ContentMd5,
        DigestHeader::ContentSha256,
        DigestHeader::ReprSha256,
        DigestHeader::ReprSha512,
        DigestHeader::LegacySha256,
        DigestHeader::LegacyMd5,
        DigestHeader::GoogCrc32c,
        DigestHeader::GoogMd5,
        DigestHeader::AmzCrc32,
        DigestHeader::AmzCrc32c,
        DigestHeader::AmzCrc64,
        DigestHeader::AmzSha1,
        DigestHeader::AmzSha256,
        DigestHeader::AzureMd5,
        DigestHeader::LinkedSha256,
    ]);
    let truth = prop_oneof![5 => Just(Truth::Right), 1 => Just(Truth::Wrong), 1 => Just(Truth::OfNext)];
    let when = prop_oneof![
        4 => Just(When::Always),
        4 => Just(When::FirstOnly),
        2 => Just(When::LaterOnly),
        2 => Just(When::Trailer),
        1 => Just(When::OnTheWay),
    ];
    (header, truth, when).prop_map(|(header, truth, when)| Digest { header, truth, when })
}

fn ranges() -> impl Strategy<Value = Ranges> {
    let honour = prop_oneof![
        5 => Just(Honour::IfRange),
        3 => Just(Honour::Blindly),
        1 => Just(Honour::Never),
        1 => Just(Honour::OnlyDates),
        1 => Just(Honour::OnlyPlain),
    ];
    let cap = prop_oneof![6 => Just(None), 1 => (1_000..40_000_u32).prop_map(Some)];
    (prop_oneof![3 => Just(true), 1 => Just(false)], honour, cap).prop_map(|(told, honour, cap)| Ranges {
        told,
        honour,
        cap,
    })
}

/// Any server.
pub fn servers() -> impl Strategy<Value = ServerPlan> {
    let kind = prop_oneof![
        5 => Just(FileKind::Plain),
        1 => Just(FileKind::Untyped),
        1 => Just(FileKind::Text),
        2 => Just(FileKind::Packed),
        1 => Just(FileKind::Attachment),
    ];
    let change = prop_oneof![
        5 => Just(Change::Never),
        3 => (1..4_u8).prop_map(Change::At),
        1 => Just(Change::Always),
        1 => Just(Change::Turns),
    ];
    let tag = prop_oneof![
        6 => Just(Tag::Strong),
        3 => Just(Tag::None),
        1 => Just(Tag::Weak),
        1 => Just(Tag::Unquoted),
        1 => Just(Tag::FirstOnly),
        2 => Just(Tag::NotInParts),
    ];
    let date = prop_oneof![
        4 => Just(Dated::Old),
        3 => Just(Dated::None),
        1 => Just(Dated::Fresh),
        1 => Just(Dated::Young),
        1 => Just(Dated::WithoutDate),
        1 => Just(Dated::FirstOnly),
        1 => Just(Dated::NotInParts),
    ];
    let framing = prop_oneof![
        10 => Just(Framing::Length),
        3 => Just(Framing::Chunked),
        2 => Just(Framing::Close),
        1 => (0..3_000_u32).prop_map(Framing::ChunkedAndLength),
        1 => Just(Framing::TwoLengths),
    ];
    let coding = prop_oneof![
        14 => Just(Coding::None),
        1 => Just(Coding::Identity),
        1 => Just(Coding::Empty),
        1 => Just(Coding::AwsChunked),
        1 => Just(Coding::Gzip),
        1 => Just(Coding::XGzip),
        1 => Just(Coding::Deflate),
        1 => Just(Coding::GzipLie),
        1 => Just(Coding::BrLie),
    ];
    let mirrors = (2..4_u8, any::<bool>(), any::<bool>())
        .prop_map(|(count, share_tags, differ)| Hops::Mirrors { count, share_tags, differ });
    let redirect = select(vec![301_u16, 302, 303, 307, 308]);
    let hops = prop_oneof![
        8 => Just(Hops::None),
        1 => redirect.prop_map(Hops::Redirect),
        1 => Just(Hops::Numbered),
        2 => mirrors,
    ];
    let growth = prop_oneof![2 => Just(0_u32), 1 => 1..5_000_u32];
    let digests = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(digest(), 1..3)];
    let faults = prop_oneof![1 => Just(Vec::new()), 6 => prop::collection::vec(fault(), 1..6)];
    let throttled = prop_oneof![150 => Just(None), 1 => (5_000_000..8_000_000_u32).prop_map(Some)];
    let ceiling = prop_oneof![12 => Just(None), 1 => (1..4_u8).prop_map(Some)];
    // Two versions that share all that is said of them but a date too young to mean anything. By chance alone that is rare.
    let twins = prop_oneof![40 => Just(None), 1 => select(vec![Dated::Fresh, Dated::Young]).prop_map(Some)];
    // Tags that mean nothing at another place, or beside another date.
    let odd_tags = prop_oneof![
        24 => Just(None),
        1 => select(vec![
            (Tag::Counter, Dated::None),
            (Tag::Counter, Dated::Old),
            (Tag::OfDate, Dated::Shared),
            (Tag::None, Dated::Shared),
            (Tag::Constant, Dated::Old),
        ])
        .prop_map(Some),
    ];
    (
        (kind, size(), growth, change, tag, date),
        (ranges(), framing, coding, digests, hops),
        (prop::bool::weighted(0.05), ceiling, throttled, faults, prop::bool::weighted(0.06), meddling()),
        (twins, odd_tags),
    )
        .prop_map(
            |(
                (kind, size, growth, change, tag, date),
                (ranges, framing, coding, digests, hops),
                rest,
                (twins, odd_tags),
            )| {
                let (wants_cookie, ceiling, throttled, faults, for_ever, meddling) = rest;
                // Below some megabytes another connection is not worth it.
                let size = throttled.unwrap_or(size);
                let throttled = throttled.is_some();
                // Thousands of parts of a large file would come to an end after everybody's patience.
                let ranges = Ranges { cap: ranges.cap.filter(|_| !throttled), ..ranges };
                let plan = ServerPlan {
                    kind,
                    size,
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
                    throttled,
                    faults,
                    for_ever,
                    meddling,
                };
                match (twins, odd_tags) {
                    (Some(date), _) => with_twins(plan, date),
                    (None, Some((tag, date))) => with_odd_tags(plan, tag, date),
                    (None, None) => plan,
                }
            },
        )
}

/// The same server with a file that becomes another of the same size right after it was cut.
fn with_twins(plan: ServerPlan, date: Dated) -> ServerPlan {
    let mut faults = plan.faults;
    faults.insert(0, Fault::Cut { after: plan.size / 2, how: Cut::Fin });
    ServerPlan { growth: 0, change: Change::At(1), tag: Tag::None, date, digests: Vec::new(), faults, ..plan }
}

/// The same server, cut half way, with a file that is another by then: at another place, or of another date.
fn with_odd_tags(plan: ServerPlan, tag: Tag, date: Dated) -> ServerPlan {
    let hops = match plan.hops {
        _ if tag == Tag::Constant => Hops::None,
        // Each mirror is one place, where a version has its own tag.
        Hops::Mirrors { count, .. } => Hops::Mirrors { count, share_tags: true, differ: true },
        _ => Hops::Numbered,
    };
    let is_mirrored = matches!(hops, Hops::Mirrors { .. });
    let change = if is_mirrored { Change::Never } else { Change::At(1) };
    let mut faults = plan.faults;
    faults.insert(0, Fault::Cut { after: plan.size / 2, how: Cut::Fin });
    if is_mirrored {
        // Only a place that is lost makes Ferry go to another.
        let gone = Instead::Status { code: 410, wait: Pause::None, body: Body::Empty };
        faults.insert(1, Fault::Instead(gone));
    }
    let ranges = Ranges { honour: Honour::IfRange, ..plan.ranges };
    ServerPlan { growth: 0, change, tag, date, hops, ranges, digests: Vec::new(), faults, ..plan }
}

fn store_fault() -> impl Strategy<Value = StoreFault> {
    let codes = select(vec![
        400_u16, 401, 403, 404, 405, 408, 409, 410, 411, 412, 413, 415, 429, 429, 500, 500, 501, 502, 503,
        503, 504, 304, 302, 307, 308,
    ]);
    let says = prop_oneof![
        3 => Just(Says::Nothing),
        1 => Just(Says::SignatureDoesNotMatch),
        1 => Just(Says::InvalidPolicyDocument),
        1 => Just(Says::ExpiredToken),
        1 => Just(Says::RequestTimeout),
        1 => Just(Says::EntityTooLarge),
        1 => Just(Says::SlowDown),
        1 => Just(Says::Json),
        1 => Just(Says::Endless),
    ];
    let odd = select(vec![
        OddRange::NoUnit,
        OddRange::NotFromZero,
        OddRange::BeyondTotal,
        OddRange::Nonsense,
        OddRange::Absent,
    ]);
    let early = prop_oneof![3 => Just(200_u16), 1 => Just(201), 1 => Just(400), 1 => Just(403), 1 => Just(413), 1 => Just(503)];
    prop_oneof![
        3 => Just(StoreFault::None),
        4 => place().prop_map(|after| StoreFault::Cut { after }),
        3 => Just(StoreFault::LostAnswer),
        3 => (place(), early).prop_map(|(after, status)| StoreFault::Early { after, status }),
        5 => (codes, says, wait()).prop_map(|(code, says, wait)| StoreFault::Status { code, says, wait }),
        1 => place().prop_map(|after| StoreFault::Silence { after }),
        3 => place().prop_map(|bytes| StoreFault::Keep { bytes }),
        2 => select(vec![404_u16, 410]).prop_map(|status| StoreFault::Gone { status }),
        2 => odd.prop_map(StoreFault::OddRange),
        3 => Just(StoreFault::FalseEnd),
        1 => Just(StoreFault::NoAnswer),
    ]
}

fn last_word() -> impl Strategy<Value = LastWord> {
    let header = select(vec![
        StoreHeader::GoogCrc32c,
        StoreHeader::GoogMd5,
        StoreHeader::EtagMd5,
        StoreHeader::ContentMd5,
        StoreHeader::AmzCrc32,
        StoreHeader::AmzCrc32c,
        StoreHeader::AmzCrc64,
        StoreHeader::AmzSha1,
        StoreHeader::AmzSha256,
    ]);
    let digest =
        (header, prop::bool::weighted(0.8)).prop_map(|(header, right)| StoreDigest { header, right });
    let digests = prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(digest, 1..3)];
    let length =
        prop_oneof![6 => Just(LengthTold::Not), 2 => Just(LengthTold::Right), 1 => Just(LengthTold::Wrong)];
    let envelope = prop_oneof![
        12 => Just(Envelope::None),
        2 => Just(Envelope::Fine),
        1 => Just(Envelope::NoSuccess),
        1 => Just(Envelope::Failed),
        1 => Just(Envelope::Code),
    ];
    let status = prop_oneof![6 => Just(200_u16), 2 => Just(201), 1 => Just(204)];
    (status, digests, length, envelope).prop_map(|(status, digests, length, envelope)| LastWord {
        // A 204 has no body for an envelope.
        status: if envelope == Envelope::None { status } else { 200 },
        digests,
        length,
        envelope,
    })
}

/// Any store.
pub fn stores() -> impl Strategy<Value = StorePlan> {
    let way = prop_oneof![
        2 => Just(Way::GooglePut),
        5 => Just(Way::GoogleResumable),
        2 => Just(Way::AmazonPut),
        1 => Just(Way::AzurePut),
        2 => Just(Way::Form),
        1 => Just(Way::PolicyForm),
        1 => Just(Way::Session),
    ];
    let end = prop_oneof![
        12 => Just(ServiceEnd::Success),
        1 => Just(ServiceEnd::Failed),
        1 => Just(ServiceEnd::Never),
        1 => Just(ServiceEnd::Trouble),
    ];
    let told = prop_oneof![
        6 => Just(SizeTold::Right),
        1 => Just(SizeTold::AsText),
        1 => Just(SizeTold::Missing),
        1 => Just(SizeTold::Wrong),
    ];
    let refusals = prop_oneof![8 => Just(0_u8), 1 => 1..3_u8];
    let service = (0..4_u8, end, told, refusals).prop_map(|(waits, end, size, refusals)| ServicePlan {
        waits,
        end,
        size,
        refusals,
    });
    let service = prop_oneof![2 => service.prop_map(Some), 1 => Just(None)];
    let damage = prop_oneof![
        8 => Just(Damage::None),
        1 => Just(Damage::Flip),
        1 => (1..5_000_u32).prop_map(Damage::Short),
        1 => Just(Damage::Envelope),
    ];
    let faults = prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(store_fault(), 1..5)];
    // Several chunks, and more than what a connection takes without being read, need megabytes.
    let size = prop_oneof![120 => size(), 1 => EARLY_IS_SEEN_FROM..EARLY_IS_SEEN_FROM + (4 << 20)];
    (size, way, service, last_word(), damage, faults, prop::bool::weighted(0.06), meddling()).prop_map(
        |(size, way, service, word, damage, faults, for_ever, meddling)| {
            // Only a service gives fields.
            let way = if way == Way::PolicyForm && service.is_none() { Way::Form } else { way };
            StorePlan { size, way, service, word, damage, faults, for_ever, meddling }
        },
    )
}
