//! The oracle: one sentence, judged from what was recorded on the wire and what lies on the disk.
//!
//! *What stands under a final name is, byte for byte, one whole version that the server had; a proof that is named is
//! true of those bytes; an upload that is called completed is in the store, byte for byte; everything ends, or says what
//! it waits for; nothing is under a final name when it failed.*

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ferry_engine::{Code, State, Transfer, WaitReason};

use super::digests::digest;
use super::plan::{Envelope, FileKind, LengthTold};
use super::server::{Given, PAGE, Server};
use super::store::{Store, algorithm, object_of};
use super::wire::Ear;

/// How a case ended for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Completed(String),
    Failed(Code),
    Waits(WaitReason),
    /// Neither an end nor a reason to wait.
    Hangs,
}

/// A breach of the one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The part of the sentence.
    pub kind: &'static str,
    /// What was found.
    pub what: String,
}

fn breach(kind: &'static str, what: impl Into<String>) -> Result<(), Breach> {
    Err(Breach { kind, what: what.into() })
}

/// What every row must keep to.
pub fn judge_row(row: &Transfer, outcome: &Outcome) -> Result<(), Breach> {
    if *outcome == Outcome::Hangs {
        return breach(
            "no end",
            format!("still {:?} {:?} at {} of {:?}", row.state, row.stage, row.bytes, row.total),
        );
    }
    if let State::Failed(failure) = &row.state {
        if failure.code == Code::Internal {
            return breach("an error of Ferry's own", failure.message());
        }
        if failure.message().is_empty() || failure.advice.to_string().is_empty() {
            return breach("an error without words", format!("{failure:?}"));
        }
    }
    if row.total.is_some_and(|total| row.bytes > total) {
        return breach("more than all", format!("{} of {:?}", row.bytes, row.total));
    }
    Ok(())
}

/// A download, with the final names that begin with its own.
pub fn judge_download(
    server: &Server,
    row: &Transfer,
    outcome: &Outcome,
    folder: &Path,
    finals: &[String],
) -> Result<(), Breach> {
    judge_row(row, outcome)?;
    let Outcome::Completed(verified) = outcome else {
        if let Some(name) = finals.first() {
            let size = std::fs::metadata(folder.join(name)).map_or(0, |facts| facts.len());
            return breach("a final name without an end", format!("{name}, {size} bytes, but {outcome:?}"));
        }
        return Ok(());
    };
    let [name] = finals else {
        return breach("completed without its one file", format!("{finals:?}"));
    };
    if row.path.as_deref().map(Path::new) != Some(&folder.join(name)) {
        return breach("completed elsewhere", format!("{name}, but the row says {:?}", row.path));
    }
    let found = std::fs::read(folder.join(name)).expect("a file that was just listed");
    let is_called_a_page = Path::new(name).extension().is_some_and(|ending| ending == "html");
    if found == PAGE.as_bytes() && server.plan.kind == FileKind::Text && is_called_a_page {
        // A text may well be shown as a page: it was saved as what it is, and not under the name of the text.
        return Ok(());
    }
    // Several may be alike: those that are empty.
    let numbers = server.wholes(&found);
    if numbers.is_empty() {
        return breach("not one whole version", describe(&found, server));
    }
    let is_of_it = |given: &Given| given.version.is_some_and(|number| numbers.contains(&number));
    let given: Vec<Given> = server.given().into_iter().filter(is_of_it).collect();
    if given.is_empty() && !found.is_empty() {
        return breach("not one whole version", format!("{numbers:?} was never given"));
    }
    if given.is_empty() {
        // The file is empty, and so was an answer that was none: nobody could tell.
        return Ok(());
    }
    proof_is_true(verified, &found, &given)?;
    let last = given.last().cloned();
    // A digest that stood over the file's first byte, whichever answer that came from, decides.
    let first: Vec<&Given> = given.iter().filter(|given| given.start == 0 && given.sent > 0).collect();
    let contradicts = |answer: &&Given| {
        // What stands behind the last byte is heard by who listens until there: for certain only where nothing came after.
        let is_heard = server.plan.meddling.is_empty() && last.as_ref() == Some(*answer);
        let trailing = answer.trailing.iter().filter(|_| is_heard);
        let claims: Vec<_> = answer.claims.iter().chain(trailing).collect();
        let right =
            |name: &str| claims.iter().any(|(known, value)| *known == name && digest(name, &found) == *value);
        claims.iter().map(|(name, _)| *name).find(|name| !right(name))
    };
    let promised: Vec<&Given> = given.iter().filter(|given| given.status >= 300 && given.sent == 0).collect();
    let doors = promised.iter().map(contradicts).collect::<Option<Vec<_>>>();
    let is_unpacked = server.compresses() && server.plan.kind != FileKind::Packed;
    let first = first.iter().map(contradicts).collect::<Option<Vec<_>>>();
    match first.filter(|names| !names.is_empty()).or(doors) {
        Some(names) if !names.is_empty() && !is_unpacked => breach(
            "against the server's digest",
            format!("every answer named another {}; verified: {verified}", names[0]),
        ),
        _ => Ok(()),
    }
}

fn proof_is_true(verified: &str, found: &[u8], given: &[Given]) -> Result<(), Breach> {
    let size = found.len() as u64;
    match verified {
        "none" => Ok(()),
        "length" if given.iter().any(|given| given.told == Some(size) || given.ended) => Ok(()),
        "length" => breach("a proof that is none", format!("nobody told {size} bytes")),
        algorithm => {
            let value = digest(algorithm, found);
            if given
                .iter()
                .flat_map(|given| given.claims.iter().chain(&given.trailing))
                .any(|claim| *claim == (ours(algorithm), value.clone()))
            {
                return Ok(());
            }
            breach("a proof that is none", format!("nobody named this {algorithm}"))
        }
    }
}

/// The static name of an algorithm.
fn ours(name: &str) -> &'static str {
    ["md5", "sha1", "sha256", "sha512", "crc32", "crc32c", "crc64nvme"]
        .into_iter()
        .find(|known| *known == name)
        .expect("a digest that some server of this test names")
}

/// What a wrong file is made of, by the longest stretches of known versions.
fn describe(found: &[u8], server: &Server) -> String {
    let mut said = format!("{} bytes:", found.len());
    let versions = server.versions();
    let mut at = 0;
    for _ in 0..6 {
        let longest = versions
            .iter()
            .map(|(number, version)| {
                let there = version.coded.get(at..).unwrap_or_default();
                let same = there.iter().zip(&found[at..]).take_while(|(there, here)| there == here).count();
                (same, *number)
            })
            .max();
        match longest {
            Some((same, number)) if same > 0 => {
                let _ = write!(said, " {at}..{} of version {number}", at + same);
                at += same;
            }
            _ => break,
        }
    }
    let sizes: Vec<String> =
        versions.iter().map(|(number, version)| format!("{number}: {}", version.coded.len())).collect();
    if at < found.len() {
        let rest: String = String::from_utf8_lossy(&found[at..found.len().min(at + 60)]).into_owned();
        let _ = write!(said, " then {rest:?}");
    }
    format!("{said} (versions {})", sizes.join(", "))
}

/// An upload.
///
/// What was said and not heard excuses nothing but itself: an answer that got lost on the line, that Ferry had stopped waiting
/// for (it has closed the connection), or that a life of Ferry's heard which then ended by a kill. A store that damages what
/// arrives is not found out by a program that has heard none of the words that show it, and that the service tells the right
/// size. Nor is a session that says "done" and has lost what it took off the line in its last chunk, when the answer to that
/// chunk got lost, too, and nothing is named: the store does not tell that lie (`Session::may_be_whole`).
pub fn judge_upload(store: &Store, row: &Transfer, outcome: &Outcome) -> Result<(), Breach> {
    judge_row(row, outcome)?;
    let Outcome::Completed(verified) = outcome else { return Ok(()) };
    let number = match &store.plan.service {
        None => 0,
        Some(_) => match row.asset_id.as_deref().and_then(object_of) {
            Some((_, object)) => object,
            None => return breach("completed without an asset", format!("{:?}", row.asset_id)),
        },
    };
    let object = store.object(number);
    let Some(held) = &object.held else {
        return breach(
            "not in the store",
            format!("nothing of {} bytes; verified: {verified}", store.file.len()),
        );
    };
    let size = store.file.len() as u64;
    if object.arrived.as_ref() != Some(&*store.file) {
        return breach("not in the store", format!("other bytes were sent; verified: {verified}"));
    }
    let life = store.last_life();
    let heard = |ear: &Arc<Ear>| ear.heard_in(life);
    let heard_word = object.words.iter().any(heard);
    let told_another = object.told.iter().find(|(told, ear)| *told != size && heard(ear));
    if let Some((told, _)) = told_another {
        return breach("the service said no", format!("its metadata says {told} bytes"));
    }
    if object.failed.iter().any(heard) {
        return breach("the service said no", "its metadata says FAILED");
    }
    let shows =
        if held.len() == store.file.len() { store.plan.names_digest() } else { store.plan.names_length() };
    if **held != **store.file && heard_word && shows {
        let what = format!("{} bytes are there, {size} here; verified: {verified}", held.len());
        return breach("not in the store", what);
    }
    let word = &store.plan.word;
    let said = |name: &str| {
        !object.words.is_empty()
            && word.digests.iter().any(|named| named.right && algorithm(named.header) == name)
    };
    let is_true = match verified.as_str() {
        "none" => true,
        "length" => {
            let by_store = word.length == LengthTold::Right && !object.words.is_empty();
            by_store || object.told.iter().any(|(told, _)| *told == size)
        }
        name => said(name),
    };
    if !is_true {
        return breach("a proof that is none", format!("verified: {verified}, which nobody told"));
    }
    // Whoever heard the store's last word heard what was wrong with it.
    let wrong = word.digests.iter().find(|named| {
        !named.right && store.plan.is_of_the_file(named.header) && !said(algorithm(named.header))
    });
    if heard_word {
        if let Some(named) = wrong {
            return breach(
                "against the store's digest",
                format!("{:?} is wrong; verified: {verified}", named.header),
            );
        }
        if word.length == LengthTold::Wrong {
            return breach("against the store's length", format!("verified: {verified}"));
        }
        if !matches!(word.envelope, Envelope::None | Envelope::Fine) {
            return breach("the service said no", format!("{:?}", word.envelope));
        }
    }
    Ok(())
}
