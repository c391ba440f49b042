//! Servers and stores that were too much for Ferry once, as small as they got.

use super::batch::Plan;
use super::oracle::Outcome;
use super::plan::{
    Body, Change, Coding, Cut, Damage, Dated, Digest, DigestHeader, Envelope, Fault, FileKind, Framing,
    Honour, Hops, Instead, LastWord, LengthTold, Meddle, Meddling, OddRange, PartFault, Pause, Ranges, Says,
    ServerPlan, StoreDigest, StoreFault, StoreHeader, StorePlan, Tag, Truth, Unasked, Way, When,
};

/// The one sentence holds.
fn holds(plan: &Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut verdicts, dead) = super::in_a_folder(runtime.handle(), std::slice::from_ref(plan), 0);
    let verdict = verdicts.remove(0);
    let trace = verdict.trace.join("\n");
    assert!(dead.is_none(), "{dead:?}\n{}\n{trace}", plan.written());
    assert!(verdict.breach.is_none(), "{:?}\n{}\n{trace}", verdict.breach, plan.written());
    verdict.outcome
}

/// The file does not come, and the user is told.
fn refuses(plan: &ServerPlan) {
    let outcome = holds(&Plan::Server(plan.clone()));
    assert!(!matches!(outcome, Outcome::Completed(_)), "{outcome:?} from {}", plan.written());
}

/// The file comes.
fn comes(plan: &ServerPlan) {
    let outcome = holds(&Plan::Server(plan.clone()));
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?} from {}", plan.written());
}

/// The upload is not called completed.
fn is_not_taken(plan: &StorePlan) {
    let outcome = holds(&Plan::Store(plan.clone()));
    assert!(!matches!(outcome, Outcome::Completed(_)), "{outcome:?} from {}", plan.written());
}

/// The upload arrives.
fn arrives(plan: &StorePlan) {
    let outcome = holds(&Plan::Store(plan.clone()));
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?} from {}", plan.written());
}

fn cut(after: u32) -> Fault {
    Fault::Cut { after, how: Cut::Fin }
}

fn digest(header: DigestHeader, truth: Truth, when: When) -> Digest {
    Digest { header, truth, when }
}

fn word(header: StoreHeader, right: bool) -> StoreDigest {
    StoreDigest { header, right }
}

// ---- downloads ----

#[test]
fn an_answer_that_is_not_ready_is_never_the_file() {
    for body in [Body::Empty, Body::Text, Body::Json, Body::Endless] {
        let not_ready = Fault::Instead(Instead::Accepted { wait: Pause::One, body });
        comes(&ServerPlan { faults: vec![not_ready, not_ready], ..ServerPlan::good(1_000) });
    }
}

#[test]
fn an_answer_that_is_not_ready_is_never_joined_to_a_part() {
    for body in [Body::Empty, Body::Xml, Body::Endless] {
        let not_ready = Fault::Instead(Instead::Accepted { wait: Pause::None, body });
        comes(&ServerPlan { faults: vec![cut(400), not_ready], ..ServerPlan::good(1_000) });
    }
}

#[test]
fn no_content_is_no_file() {
    for nothing in [Instead::NoContent, Instead::ResetContent] {
        let faults = vec![Fault::Instead(nothing)];
        refuses(&ServerPlan { faults, for_ever: true, ..ServerPlan::good(1_000) });
    }
}

#[test]
fn chunks_count_and_not_a_length_beside_them() {
    for lie in [0, 302] {
        let framing = Framing::ChunkedAndLength(lie);
        holds(&Plan::Server(ServerPlan { framing, ..ServerPlan::good(60_000) }));
        holds(&Plan::Server(ServerPlan { framing, faults: vec![cut(20_000)], ..ServerPlan::good(60_000) }));
    }
}

#[test]
fn a_part_that_is_not_shown_to_be_the_same_is_not_joined() {
    for change in [Change::Turns, Change::At(1), Change::Always] {
        let ranges = Ranges { told: true, honour: Honour::Blindly, cap: None };
        let server = ServerPlan {
            change,
            tag: Tag::NotInParts,
            date: Dated::None,
            ranges,
            ..ServerPlan::good(100_000)
        };
        holds(&Plan::Server(ServerPlan { faults: vec![cut(60_000)], ..server.clone() }));
        let meddling = vec![Meddle { after: 60_000, what: Meddling::Kill }];
        holds(&Plan::Server(ServerPlan { meddling, ..server }));
    }
}

#[test]
fn every_digest_of_the_first_answer_decides() {
    let headers = [
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
    ];
    for header in headers {
        let digests = vec![digest(header, Truth::Wrong, When::Always)];
        refuses(&ServerPlan { digests, ..ServerPlan::good(1_000) });
        let digests = vec![digest(header, Truth::Wrong, When::FirstOnly)];
        holds(&Plan::Server(ServerPlan { digests, faults: vec![cut(400)], ..ServerPlan::good(1_000) }));
    }
}

#[test]
fn a_weaker_digest_counts_beside_a_stronger_one() {
    for weaker in [DigestHeader::ContentMd5, DigestHeader::AmzCrc32c, DigestHeader::AmzCrc64] {
        let right = digest(DigestHeader::ReprSha256, Truth::Right, When::Always);
        let digests = vec![right, digest(weaker, Truth::Wrong, When::Always)];
        refuses(&ServerPlan { digests, ..ServerPlan::good(1_000) });
    }
}

#[test]
fn digests_on_the_way_and_behind_the_last_byte_decide() {
    for header in [DigestHeader::LinkedSha256, DigestHeader::ReprSha256, DigestHeader::LegacySha256] {
        let named = |truth| ServerPlan {
            hops: Hops::Redirect(302),
            digests: vec![digest(header, truth, When::OnTheWay)],
            ..ServerPlan::good(1_000)
        };
        refuses(&named(Truth::Wrong));
        comes(&named(Truth::Right));
        comes(&ServerPlan { faults: vec![cut(400)], ..named(Truth::Right) });
    }
    for header in [DigestHeader::ContentMd5, DigestHeader::ContentSha256, DigestHeader::AmzSha256] {
        let named = |truth| ServerPlan {
            framing: Framing::Chunked,
            digests: vec![digest(header, truth, When::Trailer)],
            ..ServerPlan::good(1_000)
        };
        refuses(&named(Truth::Wrong));
        comes(&named(Truth::Right));
    }
}

#[test]
fn what_is_longer_than_was_promised_is_not_cut_to_it() {
    let lies = vec![Fault::Less { by: 300, after: 60_000 }];
    for framing in [Framing::Chunked, Framing::Close, Framing::Length] {
        for honour in [Honour::Never, Honour::IfRange, Honour::Blindly] {
            let ranges = Ranges { told: honour != Honour::Never, honour, cap: None };
            let server = ServerPlan { framing, ranges, faults: lies.clone(), ..ServerPlan::good(100_000) };
            holds(&Plan::Server(server.clone()));
            for what in [Meddling::Pause, Meddling::Kill] {
                let meddling = vec![Meddle { after: 160_000, what }];
                holds(&Plan::Server(ServerPlan { meddling, ..server.clone() }));
            }
            let faults = vec![lies[0], Fault::Part(PartFault::UnknownTotal)];
            holds(&Plan::Server(ServerPlan { faults, ..server }));
        }
    }
}

/// Each time that the file is there it is not what was named, and each time the line breaks on the way.
#[test]
fn a_line_that_breaks_often_does_not_bring_a_damaged_file_for_ever() {
    refuses(&ServerPlan {
        digests: vec![digest(DigestHeader::ReprSha256, Truth::Wrong, When::Always)],
        faults: vec![cut(20_000)],
        for_ever: true,
        ..ServerPlan::good(131_071)
    });
}

#[test]
fn the_length_of_another_version_proves_nothing() {
    let ranges = Ranges { told: false, honour: Honour::Blindly, cap: None };
    holds(&Plan::Server(ServerPlan {
        change: Change::Always,
        tag: Tag::NotInParts,
        date: Dated::FirstOnly,
        ranges,
        framing: Framing::Chunked,
        faults: vec![cut(1_000_000)],
        ..ServerPlan::good(118_075)
    }));
}

#[test]
fn no_byte_beyond_the_part_that_was_named() {
    for fault in
        [PartFault::Surplus(500), PartFault::Missing(500), PartFault::Later(10), PartFault::OtherTotal(10)]
    {
        holds(&Plan::Server(ServerPlan {
            faults: vec![cut(400), Fault::Part(fault)],
            ..ServerPlan::good(5_000)
        }));
    }
}

#[test]
fn a_part_that_nobody_asked_for_is_not_the_whole() {
    for unasked in [Unasked::First, Unasked::Second, Unasked::UnknownTotal, Unasked::NoContentRange] {
        let part = Fault::Instead(Instead::UnaskedPart(unasked));
        holds(&Plan::Server(ServerPlan { faults: vec![part], ..ServerPlan::good(1_000) }));
        refuses(&ServerPlan { faults: vec![part], for_ever: true, ..ServerPlan::good(1_000) });
    }
}

#[test]
fn a_date_that_two_versions_may_share_joins_nothing() {
    for date in [Dated::Fresh, Dated::Young] {
        for honour in [Honour::IfRange, Honour::Blindly] {
            let ranges = Ranges { told: true, honour, cap: None };
            let server =
                ServerPlan { change: Change::At(1), tag: Tag::None, date, ..ServerPlan::good(100_000) };
            comes(&ServerPlan { ranges, faults: vec![cut(60_000)], ..server });
        }
    }
}

#[test]
fn a_page_is_never_saved_under_the_name_of_a_text() {
    let page = Fault::Instead(Instead::Page);
    let text = ServerPlan { kind: FileKind::Text, ..ServerPlan::good(100_000) };
    comes(&ServerPlan { faults: vec![page], ..text.clone() });
    holds(&Plan::Server(ServerPlan { faults: vec![cut(60_000), page], ..text }));
}

#[test]
fn what_has_no_end_is_not_kept_in_memory() {
    let body = Body::Endless;
    for instead in [
        Instead::Accepted { wait: Pause::None, body },
        Instead::Status { code: 404, wait: Pause::None, body },
        Instead::Status { code: 503, wait: Pause::None, body },
    ] {
        holds(&Plan::Server(ServerPlan { faults: vec![Fault::Instead(instead)], ..ServerPlan::good(1_000) }));
    }
    let refusal = StoreFault::Status { code: 400, says: Says::Endless, wait: Pause::None };
    is_not_taken(&StorePlan { faults: vec![refusal], ..StorePlan::good(1_000, Way::GooglePut) });
    let held = super::memory::peak();
    assert!(held < super::MOST_MEMORY, "{held} bytes");
}

#[test]
fn what_is_packed_already_is_saved_as_it_came() {
    for coding in [Coding::Gzip, Coding::XGzip] {
        comes(&ServerPlan { kind: FileKind::Packed, coding, ..ServerPlan::good(1_000) });
        refuses(&ServerPlan { kind: FileKind::Text, coding, ..ServerPlan::good(1_000) });
    }
}

#[test]
fn a_coding_that_is_none_is_none() {
    for coding in [Coding::Identity, Coding::Empty, Coding::AwsChunked] {
        comes(&ServerPlan { coding, ..ServerPlan::good(1_000) });
    }
}

#[test]
fn a_resume_is_asked_once_more_without_conditions() {
    for honour in [Honour::OnlyDates, Honour::OnlyPlain] {
        let ranges = Ranges { told: true, honour, cap: None };
        comes(&ServerPlan { ranges, faults: vec![cut(60_000); 8], ..ServerPlan::good(100_000) });
    }
    let faults = vec![cut(400), Fault::Instead(Instead::NotModified)];
    comes(&ServerPlan { faults, ..ServerPlan::good(1_000) });
}

#[test]
fn mirrors_with_tags_of_their_own_bring_the_file() {
    let hops = Hops::Mirrors { count: 3, share_tags: false, differ: false };
    comes(&ServerPlan { hops, faults: vec![cut(10_000); 8], ..ServerPlan::good(100_000) });
}

#[test]
fn a_tag_means_nothing_at_another_place_or_beside_another_date() {
    let gone = Fault::Instead(Instead::Status { code: 410, wait: Pause::None, body: Body::Empty });
    let numbered = |tag, date| ServerPlan {
        hops: Hops::Numbered,
        change: Change::At(1),
        tag,
        date,
        faults: vec![cut(150_000)],
        ..ServerPlan::good(300_000)
    };
    comes(&numbered(Tag::Counter, Dated::None));
    comes(&numbered(Tag::OfDate, Dated::Shared));
    comes(&numbered(Tag::None, Dated::Shared));
    let hops = Hops::Mirrors { count: 2, share_tags: true, differ: true };
    for tag in [Tag::Counter, Tag::OfDate] {
        let faults = vec![cut(150_000), gone];
        comes(&ServerPlan { hops, tag, date: Dated::Shared, faults, ..ServerPlan::good(300_000) });
    }
    let tag = Tag::Constant;
    comes(&ServerPlan {
        tag,
        change: Change::At(1),
        faults: vec![cut(150_000)],
        ..ServerPlan::good(300_000)
    });
}

#[test]
fn what_a_redirect_promised_holds_for_what_begins_anew() {
    let promise = |header, truth| vec![digest(header, truth, When::OnTheWay)];
    refuses(&ServerPlan {
        tag: Tag::Unquoted,
        date: Dated::None,
        ranges: Ranges { told: false, honour: Honour::Never, cap: None },
        digests: promise(DigestHeader::LegacyMd5, Truth::Wrong),
        hops: Hops::Mirrors { count: 2, share_tags: true, differ: true },
        faults: vec![cut(14_988)],
        ..ServerPlan::good(131_074)
    });
    refuses(&ServerPlan {
        tag: Tag::None,
        ranges: Ranges { told: true, honour: Honour::Never, cap: None },
        digests: promise(DigestHeader::ReprSha512, Truth::OfNext),
        hops: Hops::Redirect(307),
        faults: vec![cut(44_323), Fault::Less { by: 4_073, after: 128_268 }, cut(1_102)],
        ..ServerPlan::good(200_204)
    });
}

#[test]
fn a_cookie_is_given_back() {
    comes(&ServerPlan { wants_cookie: true, ..ServerPlan::good(1_000) });
}

#[test]
fn parts_that_are_shorter_than_asked_are_no_failures() {
    let ranges = Ranges { told: true, honour: Honour::IfRange, cap: Some(1_000) };
    comes(&ServerPlan { ranges, faults: vec![cut(400)], ..ServerPlan::good(30_000) });
}

// ---- uploads ----

#[test]
fn an_envelope_that_says_failed_is_no_success() {
    for envelope in [Envelope::NoSuccess, Envelope::Failed, Envelope::Code] {
        for way in [Way::GooglePut, Way::Form, Way::GoogleResumable] {
            let store = StorePlan::good(1_000, way);
            let word = LastWord { envelope, ..store.word.clone() };
            is_not_taken(&StorePlan { word: word.clone(), ..store.clone() });
            is_not_taken(&StorePlan { word, service: None, ..store });
        }
    }
}

#[test]
fn every_digest_that_a_store_names_is_compared() {
    let headers = [
        StoreHeader::GoogCrc32c,
        StoreHeader::GoogMd5,
        StoreHeader::ContentMd5,
        StoreHeader::AmzCrc32,
        StoreHeader::AmzCrc32c,
        StoreHeader::AmzCrc64,
        StoreHeader::AmzSha1,
        StoreHeader::AmzSha256,
    ];
    for header in headers {
        let store = StorePlan::good(1_000, Way::GooglePut);
        let alone = LastWord { digests: vec![word(header, false)], ..store.word.clone() };
        is_not_taken(&StorePlan { word: alone, service: None, ..store.clone() });
        let other =
            if header == StoreHeader::AmzSha256 { StoreHeader::GoogCrc32c } else { StoreHeader::AmzSha256 };
        let beside = LastWord { digests: vec![word(other, true), word(header, false)], ..store.word.clone() };
        is_not_taken(&StorePlan { word: beside, ..store.clone() });
        let of_damage = LastWord { digests: vec![word(header, true)], ..store.word.clone() };
        is_not_taken(&StorePlan { word: of_damage, damage: Damage::Flip, ..store });
    }
}

#[test]
fn a_stored_length_that_is_another_is_no_success() {
    for way in [Way::GooglePut, Way::AmazonPut, Way::Form, Way::GoogleResumable] {
        let store = StorePlan { service: None, ..StorePlan::good(1_000, way) };
        let word = LastWord { length: LengthTold::Wrong, ..store.word.clone() };
        is_not_taken(&StorePlan { word, ..store });
    }
}

#[test]
fn a_form_that_is_kept_with_its_file_is_seen_by_what_the_store_names() {
    let store = StorePlan { service: None, ..StorePlan::good(1_000, Way::Form) };
    let word = LastWord { digests: vec![word(StoreHeader::AmzSha1, true)], ..store.word.clone() };
    holds(&Plan::Store(StorePlan { word, damage: Damage::Envelope, ..store }));
}

#[test]
fn a_store_that_answers_before_the_bytes_have_come_has_not_got_them() {
    let early = StoreFault::Early { after: 64 * 1024, status: 200 };
    for way in [Way::GooglePut, Way::GoogleResumable] {
        let faults = if way == Way::GooglePut { vec![early] } else { vec![StoreFault::None, early] };
        holds(&Plan::Store(StorePlan { faults, ..StorePlan::good(9 << 20, way) }));
    }
}

#[test]
fn a_session_that_says_that_it_has_all_must_have_all() {
    let cut = StoreFault::Cut { after: 400_000 };
    for faults in
        [vec![StoreFault::None, StoreFault::FalseEnd], vec![StoreFault::None, cut, StoreFault::FalseEnd]]
    {
        holds(&Plan::Store(StorePlan { faults, ..StorePlan::good(9 << 20, Way::GoogleResumable) }));
    }
}

#[test]
fn a_session_that_calls_itself_done_when_it_is_asked_has_what_was_sent_or_is_not_believed() {
    let refused = StoreFault::Status { code: 503, says: Says::Nothing, wait: Pause::None };
    let early = StoreFault::Early { after: 3, status: 503 };
    let service = StorePlan::good(0, Way::Form).service;
    for (service, refusal) in [(service, refused), (None, refused), (service, early), (None, early)] {
        let faults = vec![StoreFault::None, refusal, StoreFault::FalseEnd];
        arrives(&StorePlan { service, faults, ..StorePlan::good(1_000, Way::GoogleResumable) });
        // Somebody has used it before: only the service can show then that the file is there.
        let faults = vec![StoreFault::FalseEnd];
        let plan = StorePlan { service, faults, ..StorePlan::good(1_000, Way::Session) };
        if service.is_some() { arrives(&plan) } else { is_not_taken(&plan) }
    }
    // A life that was killed does not know whether all was handed over.
    let meddling = vec![Meddle { after: 500, what: Meddling::Kill }];
    let faults = vec![StoreFault::None, StoreFault::None, StoreFault::None, StoreFault::FalseEnd];
    holds(&Plan::Store(StorePlan {
        service: None,
        faults,
        meddling,
        ..StorePlan::good(1_000, Way::GoogleResumable)
    }));
}

#[test]
fn a_session_that_is_gone_is_opened_anew() {
    for service in [StorePlan::good(0, Way::Form).service, None] {
        let faults = vec![StoreFault::None, StoreFault::Cut { after: 400 }, StoreFault::Gone { status: 410 }];
        arrives(&StorePlan { service, faults, ..StorePlan::good(1_000, Way::GoogleResumable) });
    }
}

#[test]
fn odd_words_of_a_session_are_asked_again() {
    for odd in
        [OddRange::NotFromZero, OddRange::Nonsense, OddRange::Absent, OddRange::NoUnit, OddRange::BeyondTotal]
    {
        let faults = vec![StoreFault::None, StoreFault::Cut { after: 400 }, StoreFault::OddRange(odd)];
        holds(&Plan::Store(StorePlan { faults, ..StorePlan::good(1_000, Way::GoogleResumable) }));
    }
}

#[test]
fn trouble_of_a_store_is_outlived() {
    let trouble = StoreFault::Status { code: 503, says: Says::SlowDown, wait: Pause::One };
    for way in
        [Way::GooglePut, Way::AmazonPut, Way::AzurePut, Way::Form, Way::PolicyForm, Way::GoogleResumable]
    {
        let faults = vec![trouble, StoreFault::LostAnswer, trouble];
        arrives(&StorePlan { faults, ..StorePlan::good(1_000, way) });
    }
}
